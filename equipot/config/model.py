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
Order = Annotated[int, Field(ge=1, le=4)]
"""Number of factors of a product, limited by the number of its couplings."""
Interaction = Literal["plain", "residual", "density", "density_residual"]
"""Kinds of interactions of MACE: normalization and residual connection."""
NodeBackend = Literal["clebsch_gordan", "gaunt_fft", "spherical_grid"]
"""Names of `equipot.node_products.NODE_PRODUCTS`."""


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
    """Keys of all architectures; the keys of each architecture are listed below."""

    cutoff: Radius = Field(5.0, validation_alias=AliasChoices("cutoff", "r_max"))
    """Cutoff radius in Å."""
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
    readout_hidden: Width | None = 32
    """Hidden width of the readout of the last layer; null is a linear readout."""
    readout_activation: Literal["silu", "tanh", "abs"] = "silu"
    """Nonlinearity of the readout of the last layer. With "abs", second derivatives
    jump: for converted models, not for new ones."""
    readout_depth: Depth = 1
    """Number of hidden layers of the readout of the last layer."""
    readout_gated: bool = False
    """Whether a logistic function of a second MLP multiplies that readout."""
    readouts: Literal["all", "last"] = "all"
    """Whether energies are read from the scalars of all layers or of the last one."""
    backend: Backend = "auto"
    """Tensor-product backend. Does not change the model or its weights. "auto" measures
    once which is fastest on this machine; a run keeps its first choice."""
    zbl: bool | Literal["mace"] = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range. "mace"
    is that of MACE models, whose third derivatives jump at the length of bonds."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, in addition to the energy; null for none."""
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

    @model_validator(mode="after")
    def _gate_of_an_mlp(self) -> "ModelConfig":
        if self.readout_gated and self.readout_hidden is None:
            raise ValueError(
                "readout_gated needs an MLP: set readout_hidden to its width"
            )
        return self

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
    """Highest degree l of node features."""
    lmax_filter: Degree | None = None
    """Highest degree l of the spherical harmonics of edges (default: `lmax`)."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    symmetry: Literal["O(3)", "SO(3)"] = "O(3)"
    """Symmetry group; "SO(3)" is not equivariant under reflections."""
    weighting: Literal["per_path", "per_degree"] = "per_path"
    """Whether the radial weights of the tensor product are per path or per degree."""
    accumulate: Literal["sum"] = "sum"
    """Combination of the paths of a tensor product."""


class MACEConfig(ModelConfig):
    """MACE: many-body messages; see `equipot.models.architectures.mace`."""

    architecture: Literal["mace"] = "mace"
    num_layers: Depth = 2
    """Number of message-passing layers."""
    lmax: Degree = Field(3, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree l of the spherical harmonics of edges and of messages."""
    lmax_hidden: Degree | None = 1
    """Highest degree l of features between layers; null is `lmax`."""
    correlation: Order | Annotated[tuple[Order, ...], Field(max_length=1000)] = 3
    """Correlation order: number of factors of the node product; of all layers, or a
    list with that of each."""
    first_interaction: Interaction = "plain"
    """Interaction of the first layer. A residual one adds the features before the
    layer, mixed by a matrix of the element; another one mixes the messages by it. With
    "density", messages are divided by a learned density of neighbors; otherwise by the
    square root of their mean number."""
    other_interactions: Interaction = "residual"
    """Interaction of all layers after the first."""
    channels_sent_first: Width | None = None
    """Number of channels that an atom sends to its neighbors in the first layer; null
    is `channels`."""
    channels_sent: Width | None = None
    """The same in all layers after the first."""
    lmax_sent: Degree | None = None
    """Highest degree l that an atom sends to its neighbors; null is `lmax_hidden`."""
    shared_polynomials: bool = False
    """Whether the weights of node products are shared by all elements."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    radial_bias: bool = True
    """Whether hidden layers of the radial MLP have biases."""
    envelope_on: Literal["input", "output"] = "output"
    """Whether the envelope multiplies the radial functions or the last hidden layer of
    the radial MLP; "input" needs `radial_bias: false`."""
    radial_basis: Literal["bessel", "gaussian", "chebyshev"] = "bessel"
    """Radial functions; `num_basis` is their number. Chebyshev polynomials need a
    distance transform to the interval that they are bounded on."""
    stored_roots: bool = False
    """Whether the wave numbers of Bessel functions are stored with the weights, as in
    converted models. They are not trained."""
    distance_transform: Literal["none", "agnesi", "soft"] = "none"
    """Map of lengths, by the covalent radii of both atoms, before radial functions."""
    node_weighting: Literal["per_path", "per_degree"] = "per_path"
    """Whether the weights of node products are per coupling path or per degree."""
    node_backend: NodeBackend = "clebsch_gordan"
    """Node-product backend. Does not change the model or its weights. With
    weights per path, only "clebsch_gordan" is supported."""

    @model_validator(mode="after")
    def _fits_together(self) -> "MACEConfig":
        """Refuse keys that contradict each other."""
        if isinstance(self.correlation, tuple) and (
            len(self.correlation) != self.num_layers
        ):
            raise ValueError(
                f"correlation has {len(self.correlation)} values for {self.num_layers} "
                "layers: give one number, or one for each layer"
            )
        if self.envelope_on == "input" and self.radial_bias:
            raise ValueError(
                "with envelope_on: input, biases leave a step at the cutoff: set "
                "radial_bias: false"
            )
        if self.lmax_sent is not None and self.lmax_sent > self.degree_of_features:
            raise ValueError(
                f"lmax_sent is {self.lmax_sent}, but features have degrees up to "
                f"{self.degree_of_features}: lower it, or raise lmax_hidden"
            )
        if self.radial_basis != "bessel" and self.stored_roots:
            raise ValueError("stored_roots is about radial_basis: bessel")
        return self

    @property
    def degree_of_features(self) -> int:
        """Highest degree of features between layers."""
        return self.lmax if self.lmax_hidden is None else self.lmax_hidden

    @property
    def correlations(self) -> tuple[int, ...]:
        """Correlation order of each layer."""
        if isinstance(self.correlation, int):
            return (self.correlation,) * self.num_layers
        return self.correlation


class TensorNetConfig(ModelConfig):
    """TensorNet: Cartesian matrices; see `equipot.models.architectures.tensornet`."""

    architecture: Literal["tensornet"] = "tensornet"
    num_basis: Width = 16
    """Number of radial Bessel functions."""
    radial_basis: Literal["bessel", "smooth_bessel"] = "bessel"
    """Radial functions: spherical Bessel functions, or sums of them whose derivatives
    vanish at the cutoff, too."""
    envelope: Literal["polynomial", "cosine"] = "polynomial"
    """Envelope of messages. With "cosine", Hessians jump at the cutoff."""
    self_neighbor: bool = True
    """Whether an atom receives a message from itself at distance zero."""
    scalar_activation: bool = True
    """Whether the scalars that energies are read from pass an activation before."""
    backend: Literal["auto", "clebsch_gordan"] = "auto"
    """No effect, as the architecture has no tensor products."""


AnyModelConfig = NequIPConfig | MACEConfig | TensorNetConfig
"""Section of one architecture, selected by its key ``architecture``."""
_ANY: Final[TypeAdapter[AnyModelConfig]] = TypeAdapter(
    Annotated[AnyModelConfig, Field(discriminator="architecture")]
)


def with_architecture(values: Any) -> Any:
    """Values with the default architecture if they name none."""
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
