"""Architecture and hyperparameters of a potential."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AliasChoices,
    Field,
    TypeAdapter,
    field_validator,
    model_validator,
)

from equipot.config.base import Config

Width = Annotated[int, Field(ge=1, le=100_000)]
"""Width of a layer (number of units)."""
Degree = Annotated[int, Field(ge=0, le=10)]
"""Degree of spherical harmonics, limited by the memory of their constants."""
Depth = Annotated[int, Field(ge=1, le=1000)]
"""Number of layers."""
Radius = Annotated[float, Field(gt=0, le=1000)]
"""Length in Å, less than that of a structure with a billion atoms."""
Widths = Annotated[tuple[Width, ...], Field(max_length=100)]
"""Hidden widths of an MLP."""
DegreeWidths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=11)]
"""Channels of each degree, from 0 on."""
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
CHANNELS: Final = AliasChoices("channels", "num_channels")
"""Names of the key ``channels``."""
NodeBackend = Literal["auto", "clebsch_gordan", "fused", "gaunt_fft", "spherical_grid"]
"""Names of `equipot.node_products.NODE_PRODUCTS`, and "auto"."""


SelfConnection = Literal["linear", "element"]
"""Linear map of features that are kept."""


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
    channels: Width | DegreeWidths = Field(64, validation_alias=CHANNELS)
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
    readout_depth: Depth = 1
    """Number of hidden layers of the readout of the last layer."""
    readout_gated: bool = False
    """Whether a logistic function of a second MLP multiplies that readout."""
    readout_activation: Literal["silu", "tanh", "abs"] = "silu"
    """Nonlinearity of the readout of the last layer. With "abs", second derivatives
    jump: for converted models, not for new ones."""
    readouts: Literal["all", "last"] = "all"
    """Whether energies are read from the scalars of all layers or of the last one."""
    backend: Backend = "auto"
    """Tensor-product backend. Does not change the model or its weights. "auto" measures
    once which is fastest on this machine; a run keeps its first choice."""
    zbl: bool | Literal["mace", "nequip"] = False
    """Add the Ziegler-Biersack-Littmark repulsion between nuclei at short range. "mace"
    is that of MACE models, whose third derivatives jump at the length of bonds;
    "nequip" is that of NequIP models, which acts on all neighbors."""
    direct_hessian: DirectHessianConfig | None = None
    """Head for direct Hessians, in addition to the energy; null for none."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point precision of the network; energies are summed in float64."""

    @model_validator(mode="before")
    @classmethod
    def _keys_of_this_architecture(cls, values: Any) -> Any:
        """Reject keys of other architectures, and name those that have them."""
        if not isinstance(values, Mapping):
            return values
        for key in values:
            if key in _keys(cls):
                continue
            if owners := [c for c in get_args(AnyModelConfig) if key in _keys(c)]:
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

    @property
    def num_scalars(self) -> int:
        """Number of channels of degree 0."""
        return self.channels if isinstance(self.channels, int) else self.channels[0]

    @field_validator("envelope_power")
    @classmethod
    def _smooth_at_zero(cls, power: int) -> int:
        if power < 4:
            raise ValueError(
                f"envelope_power must be at least 4, got {power}: otherwise third "
                "derivatives are discontinuous at zero distance"
            )
        return power


class NequIPConfig(ModelConfig):
    """NequIP: convolutions with gates; see `equipot.models.architectures.nequip`."""

    architecture: Literal["nequip"] = "nequip"
    channels: Width = Field(64, validation_alias=CHANNELS)
    """Number of channels (multiplicity) per degree l."""
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
    channels: Width = Field(64, validation_alias=CHANNELS)
    """Number of channels (multiplicity) per degree l."""
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
    node_backend: NodeBackend = "auto"
    """Node-product backend. Does not change the model or its weights. "auto" is "fused"
    where it is supported: weights per path, and compiled ops for the CPU. With weights
    per path, only "clebsch_gordan" and "fused" are supported."""

    @model_validator(mode="after")
    def _fits_together(self) -> "MACEConfig":
        """Reject keys that contradict each other."""
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
    channels: Width = Field(64, validation_alias=CHANNELS)
    """Number of channels (multiplicity) per degree l."""
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


class TowerConfig(ModelConfig):
    """Keys of architectures whose number of channels depends on the degree."""

    channels: Width | DegreeWidths = Field(64, validation_alias=CHANNELS)
    """Number of channels (multiplicity) of every degree l, or a list with that of each
    degree from 0 to `lmax`, which must not increase: [128, 64, 32]."""
    lmax: Degree = Field(2, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree l of node features."""
    lmax_filter: Degree | None = None
    """Highest degree l of the spherical harmonics of edges (default: `lmax`)."""
    radial_hidden: Widths = (64, 64)
    """Hidden widths of the radial MLP."""
    readout_hidden: Width | None = None
    """Hidden width of the readout of the last layer; null is a linear readout."""
    readouts: Literal["all", "last"] = "last"
    """Whether energies are read from the scalars of all layers or of the last one."""

    @property
    def channels_per_degree(self) -> tuple[int, ...]:
        """Number of channels of each degree from 0 to `lmax`."""
        if isinstance(self.channels, int):
            return (self.channels,) * (self.lmax + 1)
        return self.channels

    @model_validator(mode="after")
    def _a_number_for_each_degree(self) -> "TowerConfig":
        channels = self.channels_per_degree
        if len(channels) != self.lmax + 1:
            raise ValueError(
                f"channels has {len(channels)} numbers: with lmax {self.lmax}, "
                f"{self.lmax + 1} are expected, one for each degree from 0 on"
            )
        if list(channels) != sorted(channels, reverse=True):
            raise ValueError(
                f"channels must not increase with the degree, got {list(channels)}"
            )
        return self


class NequixConfig(TowerConfig):
    """Nequix: NequIP with a norm; see `equipot.models.architectures.nequix`."""

    architecture: Literal["nequix"] = "nequix"
    num_layers: Depth = 4
    """Number of message-passing layers."""
    lmax: Degree = Field(3, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree l of node features."""
    skip: SelfConnection = "linear"
    """Whether features that are kept are mixed by one matrix or by that of the chemical
    element."""
    layer_norm: bool = True
    """Whether features are divided by their root mean square in every layer."""


class SevenNetConfig(TowerConfig):
    """SevenNet: NequIP on SO(3); see `equipot.models.architectures.sevennet`."""

    architecture: Literal["sevennet"] = "sevennet"
    num_layers: Depth = 5
    """Number of message-passing layers."""
    symmetry: Literal["O(3)", "SO(3)"] = "SO(3)"
    """Symmetry group; "SO(3)" is not equivariant under reflections."""
    self_connection: SelfConnection | tuple[SelfConnection, ...] = "linear"
    """Whether features that are kept are mixed by one matrix or by that of the chemical
    element; a list has one for each layer."""
    bias: bool = False
    """Whether the linear maps of a layer, before and after the tensor product, add a
    vector to the scalars."""
    element_scale: bool = False
    """Whether energies of atoms are multiplied by a trained factor of their element."""
    harmonics: Literal["surface", "solid"] = "surface"
    """Harmonics of the direction of an edge, or of its vector in Å, which multiply
    the weights of harmonics of degree l by the power l of the length."""
    envelope: Literal["polynomial", "xplor"] = "polynomial"
    """Function that fades edges out. With "xplor", Hessians jump at both of its ends:
    for models that were trained with it."""
    envelope_onset: Radius | None = None
    """Radius in Å where the envelope "xplor" begins to fall."""

    @property
    def self_connections(self) -> tuple[SelfConnection, ...]:
        """Of each layer."""
        if isinstance(self.self_connection, str):
            return (self.self_connection,) * self.num_layers
        return self.self_connection

    @model_validator(mode="after")
    def _a_self_connection_for_each_layer(self) -> "SevenNetConfig":
        if len(self.self_connections) != self.num_layers:
            raise ValueError(
                f"self_connection has {len(self.self_connections)} entries for "
                f"{self.num_layers} layers"
            )
        return self

    @model_validator(mode="after")
    def _onset_of_xplor(self) -> "SevenNetConfig":
        onset = self.envelope_onset
        if (self.envelope == "xplor") != (onset is not None):
            raise ValueError(
                "envelope_onset belongs to envelope xplor: give both or neither"
            )
        if onset is not None and onset >= self.cutoff:
            raise ValueError(
                f"envelope_onset must be less than cutoff {self.cutoff:g}, got "
                f"{onset:g}"
            )
        return self


class OriginalNequIPConfig(TowerConfig):
    """NequIP as its package has it: `equipot.models.architectures.nequip_original`."""

    architecture: Literal["nequip_original"] = "nequip_original"
    channels: Width | DegreeWidths = Field(32, validation_alias=CHANNELS)
    """Number of channels (multiplicity) of every degree l, or a list with that of each
    degree from 0 to `lmax`, which must not increase: [128, 64, 32]."""
    num_layers: Depth = 4
    """Number of message-passing layers."""
    lmax: Degree = Field(1, validation_alias=AliasChoices("lmax", "l_max"))
    """Highest degree l of node features."""
    radial_hidden: Widths = (128,)
    """Hidden widths of the radial MLP."""
    both_parities: bool = False
    """Whether there are features of both parities under inversion, from the second
    layer on, or those of the parity (-1)^l of spherical harmonics only."""
    embedding_channels: Width | None = None
    """Length of the vector of an element; null is the number of scalars."""
    trained_basis: bool = False
    """Whether wave numbers of the radial functions are trained."""
    sender_factors: bool = False
    """Whether features that an atom sends are multiplied by a constant of its element,
    as in converted models with a number of neighbors for each element. These constants
    are not trained; they are 1 in new models."""
    element_scale: bool = False
    """Whether energies of atoms are multiplied by a trained factor of their element;
    this needs a linear readout."""

    @model_validator(mode="after")
    def _factors_of_energies(self) -> "OriginalNequIPConfig":
        if self.element_scale and self.readout_hidden is not None:
            raise ValueError(
                "element_scale multiplies the scalars before the readout, which is no "
                "factor of the energy with readout_hidden: leave one of them out"
            )
        return self


AnyModelConfig = (
    NequIPConfig
    | MACEConfig
    | TensorNetConfig
    | NequixConfig
    | SevenNetConfig
    | OriginalNequIPConfig
)
"""Section of one architecture, selected by its key ``architecture``."""
_ANY: Final[TypeAdapter[AnyModelConfig]] = TypeAdapter(
    Annotated[AnyModelConfig, Field(discriminator="architecture")]
)


def with_architecture(values: Any) -> Any:
    """Values with the default architecture if none is given."""
    if isinstance(values, Mapping) and "architecture" not in values:
        return {"architecture": "nequip", **values}
    return values


def parse_model(values: Any) -> AnyModelConfig:
    """Section of the given architecture (default: "nequip").

    Raises:
        pydantic.ValidationError: If a key or a value is invalid for the architecture.
    """
    return _ANY.validate_python(with_architecture(values))


def _keys(model: type[ModelConfig]) -> set[str]:
    """Keys of a section, with aliases."""
    fields = model.model_fields.items()
    aliases = (getattr(f.validation_alias, "choices", ()) for _, f in fields)
    return {*model.model_fields, *(str(name) for names in aliases for name in names)}


def _name(model: type[ModelConfig]) -> str:
    """Architecture of a section."""
    return str(model.model_fields["architecture"].default)
