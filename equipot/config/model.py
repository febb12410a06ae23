"""Architecture of a potential."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator

from equipot.config.base import Config

Width = Annotated[int, Field(ge=1, le=100_000)]
"""Width of a layer."""
Degree = Annotated[int, Field(ge=0, le=10)]
"""Degree of spherical harmonics, limited by the memory of their constants."""
Depth = Annotated[int, Field(ge=1, le=1000)]
"""Number of layers."""
Radius = Annotated[float, Field(gt=0, le=1000)]
"""Length in Å, less than that of a structure with a billion atoms."""
Widths = Annotated[tuple[Width, ...], Field(max_length=100)]
"""Hidden widths of an MLP."""
Backend = Literal[
    "auto",
    "clebsch_gordan",
    "cuequivariance",
    "fused",
    "gaunt_fft",
    "so2",
    "spherical_grid",
]
"""Names of `equipot.tensor_products.BACKENDS`, which is slow to import, and "auto"."""


class DirectHessianConfig(Config):
    """Head that predicts Hessians directly; see `equipot.heads.direct_hessian`."""

    cutoff: Radius = 12.0
    """Cutoff radius in Å of the off-diagonal blocks."""
    channels: Width = 32
    """Number of channels (multiplicity) per degree l in the head."""
    num_basis: Width = 16
    """Number of radial Bessel functions of a pair."""
    hidden: Widths = (64, 64)
    """Hidden widths of the MLP of a pair."""
    sum_rule: Literal["on_site", "projection"] = "on_site"
    """Enforcement of the acoustic sum rule; "projection" is for molecules only."""
    detach: bool = False
    """Whether gradients of the head are stopped at the backbone."""


class ModelConfig(Config):
    """Architecture of a potential, stored in the checkpoint with the weights."""

    cutoff: Radius = Field(5.0, validation_alias=AliasChoices("cutoff", "r_max"))
    """Cutoff radius in Å."""
    lmax: Degree = Field(2, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree l of node features."""
    lmax_filter: Degree | None = None
    """Highest degree l of the spherical harmonics of edges (default: `lmax`)."""
    channels: Width = Field(
        64, validation_alias=AliasChoices("channels", "num_channels")
    )
    """Number of channels (multiplicity) per degree l."""
    num_layers: Depth = 3
    """Number of message-passing layers."""
    num_basis: Width = 8
    """Number of radial Bessel functions."""
    envelope_power: Depth = 6
    """Order p of the polynomial envelope, at least 4: its derivatives up to order
    p - 1 vanish at zero. At the cutoff, Hessians are continuous for every p."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    readout_hidden: Width = 32
    """Hidden width of the readout of the last layer."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """Symmetry group; "SO(3)" is not equivariant under reflections."""
    weighting: Literal["per_path", "per_degree"] = "per_path"
    """Whether the radial weights of the tensor product are per path or per degree."""
    accumulate: Literal["sum"] = "sum"
    """Combination of the paths of a tensor product."""
    backend: Backend = "auto"
    """Tensor-product backend. Does not change the model or its weights. "auto" measures
    once which is fastest on this machine; a run keeps its first choice."""
    zbl: bool = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, in addition to the energy; null for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point precision of the network; energies are summed in float64."""

    @field_validator("envelope_power")
    @classmethod
    def _smooth_at_zero(cls, power: int) -> int:
        if power < 4:
            raise ValueError(
                f"envelope_power must be at least 4, got {power}: third derivatives "
                "jump at zero distance otherwise"
            )
        return power
