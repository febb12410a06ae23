"""Settings of SevenNet checkpoints: what is used, and what has no effect."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from equipot.conversion.accounting import Flags
from equipot.conversion.errors import ConversionError
from equipot.conversion.irreps import parse_irreps
from equipot.conversion.numbers import integer, positive
from equipot.conversion.towers import check_channels

STATE_OF_TRAINING: Final = (
    *("optimizer_state_dict", "scheduler_state_dict", "epoch", "hash", "time"),
    *("data_progress", "error_history", "ema"),
)
"""Parts of a checkpoint beside weights and settings."""
REPEATED: Final = {
    "chemical_species": "repeats _type_map",
    "_number_of_species": "repeats _type_map",
    "_chemical_species_by_atomic_number": "repeats _type_map",
    "avg_num_neigh": "the original evaluates the tensors named denominator",
    "conv_denominator": "the original evaluates the tensors named denominator",
    "shift": "the original evaluates the tensor",
    "scale": "the original evaluates the tensor",
    "use_species_wise_shift_scale": "the tensors show it",
    "use_modal_*": "the tensors show it, or there is one modality",
    "_modal_map": "there is one modality",
    "_number_of_modalities": "repeats _modal_map",
    "modal_list": "repeats _modal_map",
    "*_cp": "of a checkpoint that training started from",
    "readout_fcn_*": "the readout is linear",
    "use_flash_tp": "says which program computes tensor products",
    "use_oeq": "says which program computes tensor products",
    "cuequivariance_config": "says which program computes tensor products",
    "dtype": "the tensors show it",
}
"""Settings that change nothing, and why."""
TRAINING: Final = (
    *("train_*", "device", "optimizer", "scheduler", "loss", "optim_param"),
    *("scheduler_param", "loss_param", "continue", "random_seed", "epoch"),
    *("force_loss_weight", "stress_loss_weight", "use_testset", "_num_workers"),
    *("per_epoch", "_is_trace_stress", "is_train_stress", "error_record"),
    *("best_metric", "csv_log", "is_ddp", "local_rank", "rank", "world_size"),
    *("ddp_backend", "load_*set_path", "save_dataset_path", "dataset_type"),
    *("data_format", "data_format_args", "format_outputs_for_ase", "save_by_*"),
    *("data_divide_ratio", "batch_size", "preprocess_num_cores", "data_shuffle"),
    *("compute_statistics", "use_weight", "default_modal", "shuffle"),
)
"""Settings of the training."""
SECTIONS: Final = ("act_gate", "act_scalar", "cutoff_function", "radial_basis")
"""Settings that are dictionaries of settings of the network."""
POWER: Final = 6
"""Default order of the polynomial envelope."""
MODAL_MAPS: Final = {
    "use_modal_node_embedding": "onehot_to_feature_x",
    "use_modal_self_inter_intro": "self_interaction_1",
    "use_modal_self_inter_outro": "self_interaction_2",
    "use_modal_output_block": "reduce_input_to_hidden",
}
"""Linear maps that a modality may enter, by the settings that say so."""
SORTED_SINCE: Final = (0, 11)
"""First version of the package that orders radial weights by result."""


class Architecture(NamedTuple):
    """Hyperparameters that the settings of a file state."""

    version: str
    cutoff: float
    numbers: list[int]
    """Atomic numbers in the order of the file."""
    hidden: tuple[int, ...]
    """Channels of each degree."""
    lmax_filter: int
    """Highest degree of harmonics."""
    num_layers: int
    num_basis: int
    radial_hidden: tuple[int, ...]
    onset: float | None
    """Where the envelope XPLOR begins; None for the polynomial."""
    envelope_power: int
    self_connections: tuple[str, ...]
    """Of each layer, by the names of equipot."""
    solid: bool
    """Whether harmonics are those of vectors."""
    sorted_paths: bool
    """Whether radial weights are ordered by result."""
    biases: bool
    """Whether linear maps have biases."""
    modalities: tuple[str, ...]
    """Names of the levels of theory that the model was trained on; none if one."""
    modal_maps: frozenset[str]
    """Linear maps that the modality enters, among `MODAL_MAPS`."""

    @property
    def channels(self) -> list[tuple[int, ...]]:
        """Of the embedding, and after each layer."""
        inner = [self.hidden] * (self.num_layers - 1)
        return [self.hidden[:1], *inner, self.hidden[:1]]


def read(settings: Mapping[str, Any]) -> tuple[Architecture, tuple[str, ...]]:
    """Hyperparameters, and a line for each setting without effect.

    Args:
        settings: Of the file.

    Raises:
        ConversionError: If one is unknown, or the equations do not have its value.
    """
    flags = Flags(dict(_flat(settings)), "config")
    found = _architecture(flags)
    for name, reason in REPEATED.items():
        flags.without_effect(name, reason)
    for name in TRAINING:
        flags.without_effect(name, "describes the training")
    return found, flags.finish()


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, with those of the sections among them as names with a dot."""
    for name, value in settings.items():
        if name not in SECTIONS:
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            raise ConversionError(f"{name}: expected a dictionary of settings")


def _architecture(flags: Flags) -> Architecture:
    """Hyperparameters; refuses what the equations do not have."""
    version = _version(flags.take("version"))
    for name, value in {
        "_model_type": "E3_equivariant_model", "is_parity": False,
        "readout_as_fcn": False, "act_radial": "silu",
    }.items():  # fmt: skip
        flags.expect(name, value)
    flags.expect("optimize_by_reduce", True, default=True)
    flags.expect("interaction_type", "nequip", default="nequip")
    for name in ("act_scalar", "act_gate"):
        flags.expect(f"{name}.e", "silu")
        flags.without_effect(f"{name}.o", "there are no odd features")
    num_layers = integer(flags, "num_convolution_layer", 1, 1000)
    lmax = integer(flags, "lmax", 0, 10)
    lmax_filter = _degree(flags, "lmax_edge", lmax)
    cutoff = positive(flags, "cutoff")
    onset, power = _envelope(flags, cutoff)
    flags.expect("radial_basis.radial_basis_name", "bessel")
    num_basis = 8
    if (name := "radial_basis.bessel_basis_num") in flags:
        num_basis = integer(flags, name, 1, 100_000)
    # the package took vectors for directions before this setting existed
    directions = flags.expect(
        "_normalize_sph", (True, False), default=version >= (0, 10)
    )
    found = Architecture(
        version=".".join(map(str, version)),
        cutoff=cutoff,
        numbers=_numbers(flags.take("_type_map")),
        hidden=_hidden(flags, num_layers, _degree(flags, "lmax_node", lmax)),
        lmax_filter=lmax_filter,
        num_layers=num_layers,
        num_basis=num_basis,
        radial_hidden=_widths(flags.take("weight_nn_hidden_neurons")),
        onset=onset,
        envelope_power=power,
        self_connections=_self_connections(flags, num_layers),
        solid=not directions,
        sorted_paths=version >= SORTED_SINCE,
        biases=flags.expect("use_bias_in_linear", (False, True)),
        modalities=(modalities := _modalities(flags)),
        modal_maps=_modal_maps(flags) if modalities else frozenset(),
    )
    if len(found.hidden) - 1 > lmax_filter:
        raise ConversionError(
            f"features have degrees above {lmax_filter}, the highest of the harmonics, "
            "which the first layer cannot make"
        )
    return found


def _version(text: Any) -> tuple[int, ...]:
    """Numbers of a version; a development version counts as the one before."""
    found = re.fullmatch(
        r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(\.dev\d*)?.{0,20}", str(text)
    )
    if found is None:
        raise ConversionError(f"version is {text!r:.60}: expected one such as 0.9.1")
    major, minor, patch = (int(part) for part in found.groups()[:3])
    if found[4] and patch == 0:
        return (major, minor - 1, 0)
    return (major, minor, patch)


def _degree(flags: Flags, name: str, lmax: int) -> int:
    """A highest degree; -1 and 0 stand for that of all."""
    if name not in flags:
        return lmax
    degree = integer(flags, name, -1, 10)
    return degree if degree > 0 else lmax


def _envelope(flags: Flags, cutoff: float) -> tuple[float | None, int]:
    """Onset of the envelope XPLOR, if it is this one, and order of the polynomial."""
    section = "cutoff_function"
    kinds = ("poly_cut", "XPLOR")
    if flags.expect(f"{section}.cutoff_function_name", kinds) == "XPLOR":
        onset = positive(flags, f"{section}.cutoff_on")
        if onset >= cutoff:
            raise ConversionError(f"cutoff_on is {onset:g}, beyond the cutoff")
        flags.without_effect(f"{section}.poly_cut_p_value", "of another envelope")
        return onset, POWER
    power = POWER
    if (name := f"{section}.poly_cut_p_value") in flags:
        # of lower order, third derivatives jump where two atoms are in one place
        power = integer(flags, name, 4, 1000)
    flags.without_effect(f"{section}.cutoff_on", "of another envelope")
    return None, power


def _numbers(type_map: Any) -> list[int]:
    """Atomic numbers in the order of the file."""
    if not isinstance(type_map, Mapping) or not all(
        type(value) is int for item in type_map.items() for value in item
    ):
        raise ConversionError("_type_map: expected an index for each atomic number")
    numbers = sorted(type_map, key=lambda z: type_map[z])
    if [type_map[z] for z in numbers] != list(range(len(numbers))):
        raise ConversionError("_type_map: expected the indices 0, 1, ... once each")
    return numbers


def _hidden(flags: Flags, num_layers: int, lmax: int) -> tuple[int, ...]:
    """Channels of each degree between the layers."""
    manual = flags.take("irreps_manual", False)
    if manual is False:
        channels = integer(flags, "channel", 1, 100_000)
        return (channels,) * (lmax + 1)
    flags.without_effect("channel", "irreps_manual has the numbers of channels")
    if not isinstance(manual, list) or len(manual) != num_layers + 1:
        raise ConversionError(
            f"irreps_manual: expected a list of {num_layers + 1}, one more than layers"
        )
    irreps = [_even(text) for text in manual]
    scalars, inner = irreps[-1], irreps[1:-1]
    hidden = inner[0] if inner else scalars
    if irreps != [hidden[:1], *[hidden] * len(inner), hidden[:1]]:
        raise ConversionError(
            "irreps_manual: expected scalars first and last, and the same numbers of "
            "channels between all layers"
        )
    if inner and len(hidden) != lmax + 1:
        raise ConversionError(
            f"irreps_manual has degrees to {len(hidden) - 1}, lmax is {lmax}: expected "
            "the same"
        )
    return check_channels(hidden, "irreps_manual")


def _even(text: Any) -> tuple[int, ...]:
    """Channels of degrees 0, 1, ..., all of even parity."""
    irreps = parse_irreps(text)
    if [(i.degree, i.parity) for i in irreps] != [(n, 1) for n in range(len(irreps))]:
        raise ConversionError(
            f"irreps_manual has {text!r:.60}: expected degrees 0, 1, ... of even parity"
        )
    return tuple(irrep.channels for irrep in irreps)


def _modalities(flags: Flags) -> tuple[str, ...]:
    """Names of the modalities in the order of their indices; none if there is one."""
    if not flags.expect("use_modality", (False, True), default=False):
        return ()
    found = flags.take("_modal_map")
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and type(n) is int for name, n in found.items()
    ):
        raise ConversionError("_modal_map: expected an index for each name")
    names = sorted(found, key=lambda name: found[name])
    if [found[name] for name in names] != list(range(len(names))) or len(names) < 2:
        raise ConversionError("_modal_map: expected the indices 0, 1, ... once each")
    return tuple(names)


def _modal_maps(flags: Flags) -> frozenset[str]:
    """Linear maps that the modality enters."""
    used = {
        module: flags.expect(name, (False, True), default=False)
        for name, module in MODAL_MAPS.items()
    }
    return frozenset(module for module, enters in used.items() if enters)


def _widths(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(
        type(width) is int and 0 < width <= 100_000 for width in values
    ):
        raise ConversionError("weight_nn_hidden_neurons: expected a list of widths")
    return tuple(values)


def _self_connections(flags: Flags, num_layers: int) -> tuple[str, ...]:
    kinds = flags.take("self_connection_type", "nequip")
    kinds = [kinds] * num_layers if isinstance(kinds, str) else kinds
    names = {"linear": "linear", "nequip": "element"}
    known = isinstance(kinds, list) and all(
        isinstance(kind, str) and kind in names for kind in kinds
    )
    if not known or len(kinds) != num_layers:
        raise ConversionError(
            f"self_connection_type is {kinds!r:.60}: expected linear or nequip, of all "
            "layers or of each"
        )
    return tuple(names[kind] for kind in kinds)
