"""Settings of NequIP models: what is used, and what has no effect."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ase.data import atomic_numbers

from equipot.conversion.accounting import Flags
from equipot.conversion.errors import ConversionError
from equipot.conversion.numbers import integer, positive
from equipot.conversion.towers import check_channels

PRESETS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "S": (2, (128, 64)),
    "M": (4, (128, 64, 32)),
    "L": (6, (128, 64, 32, 32)),
    "XL": (6, (320, 96, 64, 32, 32)),
}
"""Layers and channels of each degree of the presets of the package."""
PRESET_EMBEDDING: Final = 32
"""Length of the vector of an element in all presets."""
DEFAULT: Final[tuple[int, tuple[int, ...]]] = (4, (32, 32))
"""The same without a preset."""
MODEL: Final = "nequip.model.NequIPGNNModel"
PRESET: Final = "nequip.model.PresetNequIPGNNModel"
TRAINING: Final = {
    "seed": "of the weights before training",
    "compile_mode": "says how the program is compiled",
    "do_derivatives": "which derivatives the original computes",
    "per_type_energy_scales": "the original evaluates the tensor",
    "per_type_energy_shifts": "the original evaluates the tensor",
    "model_dtype": "the tensors show it",
}
"""Settings that change nothing, and why."""


class Architecture(NamedTuple):
    """Hyperparameters that the settings of a file state."""

    cutoff: float
    numbers: list[int]
    """Atomic numbers in the order of the file."""
    hidden: tuple[int, ...]
    """Channels of each degree."""
    num_layers: int
    both: bool
    """Whether there are features of both parities."""
    embedding: int
    """Length of the vector of an element."""
    radial_hidden: tuple[int, ...]
    readout_hidden: tuple[int, ...]
    num_basis: int
    trained_basis: bool
    envelope_power: int
    neighbors: tuple[float, ...]
    """Mean number of neighbors, of all atoms or by element in the order of the file."""
    trained_scales: bool
    trained_shifts: bool
    repulsion: bool
    """Whether nuclei repel each other as ZBL has it."""


def read(settings: Mapping[str, Any]) -> tuple[Architecture, tuple[str, ...]]:
    """Hyperparameters, and a line for each setting without effect.

    Args:
        settings: Of the model.

    Raises:
        ConversionError: If one is unknown, or the equations do not have its value.
    """
    flags = Flags(settings, "model")
    found = _architecture(flags)
    for name, reason in TRAINING.items():
        flags.without_effect(name, reason)
    return found, flags.finish()


def _architecture(flags: Flags) -> Architecture:
    """Hyperparameters; refuses what the equations do not have."""
    preset = flags.expect("_target_", (MODEL, PRESET)) == PRESET
    for name, value in {
        "per_edge_type_cutoff": None, "categorical_graph_field_embed": None,
        "convnet_sc": True, "learnable_shift": False, "convnet_resnet": False,
        "convnet_nonlinearity_type": "gate",
    }.items():  # fmt: skip
        flags.expect(name, value, default=value)
    for name in ("convnet_nonlinearity_scalars", "convnet_nonlinearity_gates"):
        if name in flags:
            gate = Flags(_mapping(flags.take(name), name), name)
            gate.expect("e", "silu")
            gate.expect("o", "tanh")
            gate.finish()
    num_layers, hidden = _size(flags, preset=preset)
    symbols, numbers = _elements(flags.take("type_names"))
    power = integer(flags, "polynomial_cutoff_p", 4, 1000, default=6)
    width = integer(flags, "radial_mlp_width", 1, 100_000, default=128)
    depth = integer(flags, "radial_mlp_depth", 0, 100, default=1)
    embedding = flags.take(
        "type_embed_num_features", PRESET_EMBEDDING if preset else None
    )
    return Architecture(
        cutoff=positive(flags, "r_max"),
        numbers=numbers,
        hidden=hidden,
        num_layers=num_layers,
        both=flags.expect("parity", (True, False), default=not preset),
        embedding=hidden[0] if embedding is None else _count(embedding),
        radial_hidden=(width,) * depth,
        readout_hidden=_readout(flags, hidden[0]),
        num_basis=integer(flags, "num_bessels", 1, 100_000, default=8),
        trained_basis=flags.expect("bessel_trainable", (True, False), default=False),
        envelope_power=power,
        neighbors=_neighbors(flags.take("avg_num_neighbors"), symbols),
        trained_scales=_trained(flags, "per_type_energy_scales_trainable"),
        trained_shifts=_trained(flags, "per_type_energy_shifts_trainable"),
        repulsion=_repulsion(flags.take("pair_potential", None), symbols, power),
    )


def _size(flags: Flags, *, preset: bool) -> tuple[int, tuple[int, ...]]:
    """Number of layers, and channels of each degree."""
    layers, channels = DEFAULT
    if preset:
        name = flags.take("preset")
        if not isinstance(name, str) or name.upper() not in PRESETS:
            raise ConversionError(
                f"preset is {name!r:.60}: known are {', '.join(PRESETS)}"
            )
        layers, channels = PRESETS[name.upper()]
    layers = integer(flags, "num_layers", 1, 1000, default=layers)
    lmax = integer(flags, "l_max", 0, 10, default=len(channels) - 1)
    found = flags.take("num_features", channels if preset else 32)
    if type(found) is int:
        found = [found] * (lmax + 1)
    if (
        not isinstance(found, list | tuple)
        or len(found) != lmax + 1
        or not all(type(n) is int and 0 < n <= 100_000 for n in found)
    ):
        raise ConversionError(
            f"num_features is {found!r:.60}: expected a number of channels for each "
            f"degree to l_max {lmax}"
        )
    return layers, check_channels(found, "num_features")


def _elements(names: Any) -> tuple[list[str], list[int]]:
    """Symbols and atomic numbers of the types of atoms."""
    known = isinstance(names, list) and all(
        isinstance(name, str) and atomic_numbers.get(name, 0) > 0 for name in names
    )
    if not known:
        raise ConversionError(
            f"type_names is {str(names)[:60]}: expected symbols of elements; types "
            "with other names are not converted"
        )
    return list(names), [atomic_numbers[name] for name in names]


def _readout(flags: Flags, scalars: int) -> tuple[int, ...]:
    """Widths of the hidden layers of the readout."""
    depth = integer(flags, "readout_mlp_hidden_layers_depth", 0, 100, default=0)
    width = flags.take("readout_mlp_hidden_layers_width", None)
    if depth:
        flags.expect("readout_mlp_nonlinearity", "silu", default="silu")
    else:
        flags.without_effect("readout_mlp_nonlinearity", "the readout is linear")
    return (scalars if width is None else _count(width),) * depth


def _neighbors(values: Any, symbols: list[str]) -> tuple[float, ...]:
    """Mean numbers of neighbors."""
    if isinstance(values, Mapping):
        if set(values) != set(symbols):
            raise ConversionError(
                "avg_num_neighbors: expected a number for each of type_names"
            )
        flags = Flags(values, "avg_num_neighbors")
        return tuple(positive(flags, symbol) for symbol in symbols)
    return (
        positive(Flags({"avg_num_neighbors": values}, "model"), "avg_num_neighbors"),
    )


def _repulsion(values: Any, symbols: list[str], power: int) -> bool:
    """Whether there is the ZBL repulsion; refuses other pair potentials."""
    if values is None:
        return False
    flags = Flags(_mapping(values, "pair_potential"), "pair_potential")
    flags.expect("_target_", "nequip.nn.pair_potential.ZBL")
    flags.expect("units", "metal")
    flags.expect("chemical_species", symbols)
    flags.expect("polynomial_cutoff_p", power, default=6)
    flags.finish()
    return True


def _trained(flags: Flags, name: str) -> bool:
    return bool(flags.expect(name, (True, False), default=False))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value <= 100_000:
        raise ConversionError(f"{value!r:.60}: expected a number of channels")
    return value


def _mapping(values: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(k, str) for k in values):
        raise ConversionError(f"{name} of the file: expected a dictionary of names")
    return values
