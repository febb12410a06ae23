"""Architecture of a potential."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator

from equipot.config.base import Config

Width = Annotated[int, Field(ge=1, le=100_000)]
"""Size of something that weights are multiplied with."""
Degree = Annotated[int, Field(ge=0, le=10)]
"""Degree of spherical harmonics: constants of higher ones fill the memory."""
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
    """Radius in Å within which pairs of atoms have a block of their own."""
    channels: Width = 32
    """Copies of each degree in the head."""
    num_basis: Width = 16
    """Bessel functions of the distance of a pair."""
    hidden: Widths = (64, 64)
    """Hidden widths of the MLP of a pair."""
    sum_rule: Literal["on_site", "projection"] = "on_site"
    """How the acoustic sum rule is kept; "projection" is for molecules only."""
    detach: bool = False
    """Whether training the head leaves the backbone alone."""


class ModelConfig(Config):
    """Architecture of a potential; with the weights, it is what a checkpoint stores."""

    cutoff: Radius = Field(5.0, validation_alias=AliasChoices("cutoff", "r_max"))
    """Radius within which atoms exchange messages, in Å."""
    lmax: Degree = Field(2, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree of node features."""
    lmax_filter: Degree | None = None
    """Highest degree of edge harmonics; the same as `lmax` if left out."""
    channels: Width = Field(
        64, validation_alias=AliasChoices("channels", "num_channels")
    )
    """Copies of each degree."""
    num_layers: Depth = 3
    """Message-passing steps."""
    num_basis: Width = 8
    """Bessel functions of the edge length."""
    envelope_power: Depth = 6
    """Order p of the polynomial envelope, at least 4: flat to order p - 1 at zero.
    At the cutoff Hessians are continuous for every p, third derivatives are not."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    readout_hidden: Width = 32
    """Hidden width of the readout of the last layer."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """Group that the model commutes with; "SO(3)" gives up reflections."""
    weighting: Literal["per_path", "per_degree"] = "per_path"
    """How radial weights enter the tensor product."""
    accumulate: Literal["sum"] = "sum"
    """How the paths of a product are combined."""
    backend: Backend = "auto"
    """Implementation of the tensor product, which changes neither function nor weights.
    "auto" measures once which is fastest on this machine; a run keeps the one that it
    began with."""
    zbl: bool = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, beside the energy; null for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Arithmetic of the network; sums of energies are always float64."""

    @field_validator("envelope_power")
    @classmethod
    def _smooth_at_zero(cls, power: int) -> int:
        if power < 4:
            raise ValueError(
                f"envelope_power must be at least 4, got {power}: third derivatives "
                "jump at zero distance otherwise"
            )
        return power
