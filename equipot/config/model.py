"""Architecture and hyperparameters of a potential."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AliasChoices,
    Field,
    TypeAdapter,
    field_validator,
    model_validator,
)

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
NodeBackend = Literal["clebsch_gordan", "gaunt_fft", "spherical_grid"]
"""Names of `equipot.node_products.NODE_PRODUCTS`."""


class DirectHessianConfig(Config):
    """Head that predicts Hessians directly; see `equipot.heads.direct_hessian`."""

    cutoff: Radius = 12.0
    """Radius in Å within which pairs of atoms have a block of their own."""
    channels: Width = 32
    """Channels per degree in the head."""
    num_basis: Width = 16
    """Bessel functions of the distance of a pair."""
    hidden: Widths = (64, 64)
    """Hidden widths of the MLP of a pair."""
    sum_rule: Literal["on_site", "projection"] = "on_site"
    """How the acoustic sum rule is kept; "projection" is for molecules only."""
    detach: bool = False
    """Whether training the head leaves the backbone alone."""


class ModelConfig(Config):
    """What all architectures have in common; each has a section of its own below."""

    cutoff: Radius = Field(5.0, validation_alias=AliasChoices("cutoff", "r_max"))
    """Radius within which atoms exchange messages, in Å."""
    channels: Width = Field(
        64, validation_alias=AliasChoices("channels", "num_channels")
    )
    """Number of channels per degree (multiplicity)."""
    num_layers: Depth = 3
    """Message-passing steps."""
    num_basis: Width = 8
    """Bessel functions of the edge length."""
    envelope_power: Depth = 6
    """Order p of the polynomial envelope, at least 4: flat to order p - 1 at zero.
    At the cutoff Hessians are continuous for every p, third derivatives are not."""
    readout_hidden: Width = 32
    """Hidden width of the readout of the last layer."""
    backend: Backend = "auto"
    """Tensor-product backend. Does not change the model or its weights. "auto" measures
    once which is fastest on this machine; a run keeps the one that it began with."""
    zbl: bool = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, beside the energy; null for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point precision of the network; energies are summed in float64."""

    @model_validator(mode="before")
    @classmethod
    def _keys_of_this_architecture(cls, values: Any) -> Any:
        """Refuse keys of another architecture, and say which one has them."""
        if not isinstance(values, Mapping):
            return values
        for key in values:
            if key in _keys(cls):
                continue
            if owners := [c for c in ModelConfig.__subclasses__() if key in _keys(c)]:
                names = ", ".join(
                    c.model_fields["architecture"].default for c in owners
                )
                raise ValueError(
                    f"{key} is a key of architecture {names}, not of "
                    f"{cls.model_fields['architecture'].default}"
                )
        return values

    @field_validator("envelope_power")
    @classmethod
    def _smooth_at_zero(cls, power: int) -> int:
        if power < 4:
            raise ValueError(
                f"envelope_power must be at least 4, got {power}: third derivatives "
                "jump at zero distance otherwise"
            )
        return power


class NequIPConfig(ModelConfig):
    """NequIP: convolutions with gates; see `equipot.models.architectures.nequip`."""

    architecture: Literal["nequip"] = "nequip"
    lmax: Degree = Field(2, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree of node features."""
    lmax_filter: Degree | None = None
    """Highest degree of edge harmonics; the same as `lmax` if left out."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """Group that the model commutes with; "SO(3)" gives up reflections."""
    weighting: Literal["per_path", "per_degree"] = "per_path"
    """How radial weights enter the tensor product."""
    accumulate: Literal["sum"] = "sum"
    """How the paths of a product are combined."""


class MACEConfig(ModelConfig):
    """MACE: many-body messages; see `equipot.models.architectures.mace`."""

    architecture: Literal["mace"] = "mace"
    num_layers: Depth = 2
    """Message-passing steps."""
    lmax: Degree = Field(3, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree of edge harmonics and messages."""
    lmax_hidden: Degree | None = 1
    """Highest degree of features between layers; the same as `lmax` if null."""
    correlation: Annotated[int, Field(ge=1, le=4)] = 3
    """Highest number of neighbors in one message: factors of the node product."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    node_weighting: Literal["per_path", "per_degree"] = "per_path"
    """Whether weights of node products belong to couplings or to degrees."""
    node_backend: NodeBackend = "clebsch_gordan"
    """Node-product backend. Does not change the model or its weights. Products of
    weights per degree have all of them, those per path only "clebsch_gordan"."""


class TensorNetConfig(ModelConfig):
    """TensorNet: Cartesian matrices; see `equipot.models.architectures.tensornet`."""

    architecture: Literal["tensornet"] = "tensornet"
    num_basis: Width = 16
    """Bessel functions of the edge length."""
    backend: Literal["auto", "clebsch_gordan"] = "auto"
    """Without effect: the architecture has no tensor products."""


AnyModelConfig = NequIPConfig | MACEConfig | TensorNetConfig
"""Section of one of the architectures, told by its key ``architecture``."""
_ANY: Final[TypeAdapter[AnyModelConfig]] = TypeAdapter(
    Annotated[AnyModelConfig, Field(discriminator="architecture")]
)


def with_architecture(values: Any) -> Any:
    """Values with the architecture that is meant where they name none."""
    if isinstance(values, Mapping) and "architecture" not in values:
        return {"architecture": "nequip", **values}
    return values


def parse_model(values: Any) -> AnyModelConfig:
    """Section of the architecture that the values name, "nequip" if they name none.

    Raises:
        pydantic.ValidationError: If a key or a value is not one of the architecture.
    """
    return _ANY.validate_python(with_architecture(values))


def _keys(model: type[ModelConfig]) -> set[str]:
    """Keys of a section, and other names for them."""
    fields = model.model_fields.items()
    aliases = (getattr(f.validation_alias, "choices", ()) for _, f in fields)
    return {*model.model_fields, *(str(name) for names in aliases for name in names)}


def _name(model: type[ModelConfig]) -> str:
    """Architecture of a section."""
    return str(model.model_fields["architecture"].default)
