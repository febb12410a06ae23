"""Architecture of a potential."""

from typing import Literal

from pydantic import (
    AliasChoices,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from equipot.config.base import Config

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

    cutoff: PositiveFloat = 12.0
    """Radius in Å within which pairs of atoms have a block of their own."""
    channels: PositiveInt = 32
    """Copies of each degree in the head."""
    num_basis: PositiveInt = 16
    """Bessel functions of the distance of a pair."""
    hidden: tuple[PositiveInt, ...] = (64, 64)
    """Hidden widths of the MLP of a pair."""
    sum_rule: Literal["on_site", "projection"] = "on_site"
    """How the acoustic sum rule is kept; "projection" is for molecules only."""
    detach: bool = False
    """Whether training the head leaves the backbone alone."""


class ModelConfig(Config):
    """Architecture of a potential; with the weights, it is what a checkpoint stores."""

    cutoff: PositiveFloat = Field(5.0, validation_alias=AliasChoices("cutoff", "r_max"))
    """Radius within which atoms exchange messages, in Å."""
    lmax: NonNegativeInt = Field(2, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree of node features."""
    lmax_filter: NonNegativeInt | None = None
    """Highest degree of edge harmonics; the same as `lmax` if left out."""
    channels: PositiveInt = Field(
        64, validation_alias=AliasChoices("channels", "num_channels")
    )
    """Copies of each degree."""
    num_layers: PositiveInt = 3
    """Message-passing steps."""
    num_basis: PositiveInt = 8
    """Bessel functions of the edge length."""
    envelope_power: PositiveInt = 6
    """Order p of the polynomial envelope, at least 4; Hessians are continuous at the
    cutoff whatever it is, third derivatives are not."""
    radial_hidden: tuple[PositiveInt, ...] = (64, 64)
    """Hidden widths of the radial MLP."""
    readout_hidden: PositiveInt = 32
    """Hidden width of the readout of the last layer."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """Group that the model commutes with; "SO(3)" gives up reflections."""
    weighting: Literal["per_path", "per_degree"] = "per_path"
    """How radial weights enter the tensor product."""
    accumulate: Literal["sum"] = "sum"
    """How the paths of a product are combined."""
    backend: Backend = "clebsch_gordan"
    """Who computes the tensor product, which changes neither function nor weights;
    "auto" measures on this machine which is fastest."""
    zbl: bool = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, beside the energy; null for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Arithmetic of the network; sums of energies are always float64."""

    @field_validator("envelope_power")
    @classmethod
    def _smooth_forces(cls, power: int) -> int:
        if power < 4:
            raise ValueError(
                f"envelope_power must be at least 4, got {power}: Hessians jump at the "
                "cutoff otherwise"
            )
        return power
