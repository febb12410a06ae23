"""From a file of MACE to a potential in terms of equipot."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from ase.data import chemical_symbols
from pydantic import ValidationError
from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import MACEConfig
from equipot.conversion.assembly import assembled
from equipot.conversion.converted import (
    Converted,
    Original,
    Source,
    hashes,
    rows_by_atomic_number,
)
from equipot.conversion.errors import ConversionError
from equipot.conversion.module_account import ModuleAccount, Part
from equipot.conversion.records import Record
from equipot.conversion.sources.mace.e3nn_maps import equal_channels, linear
from equipot.conversion.sources.mace.interaction import (
    KINDS,
    Context,
    Layer,
    read_layer,
)
from equipot.conversion.sources.mace.radial import Radial, read_radial, read_repulsion
from equipot.conversion.sources.mace.readout import (
    Head,
    Readouts,
    find_head,
    of_head,
    read_readouts,
    reference_energies,
)
from equipot.conversion.sources.mace.without_effect import WITHOUT_EFFECT
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive

MODELS: Final = ("MACE", "ScaleShiftMACE")
"""Classes of models that are converted."""
MAX_LAYERS: Final = 100
"""Layers of a network."""


class Network(NamedTuple):
    """Embedding and layers."""

    embedding: Tensor
    """Table of the elements, ascending."""
    layers: tuple[Layer, ...]
    lmax: int
    """Highest degree of harmonics and messages."""

    @property
    def channels(self) -> int:
        """Of features and messages."""
        return self.embedding.shape[1]


def matches(path: Path) -> bool:
    """Whether a file holds a module of the package ``mace``."""
    if not is_torch_archive(path):
        return False
    root = read_torch_archive(path, numbers=False).root
    return isinstance(root, Record) and root.name.split(".")[0] == "mace"


def read(path: Path, head: str | None) -> Converted:
    """Read a model of MACE.

    Args:
        path: The file.
        head: Name of the head to convert; None for the only one.

    Raises:
        ConversionError: If it is not accounted for in full.
    """
    root = read_torch_archive(path).root
    if not isinstance(root, Record):
        raise ConversionError(
            f"{path} holds a {type(root).__name__}, not a whole model: state "
            "dictionaries and checkpoints of training do not say which model they are "
            "of; save the model itself"
        )
    account = ModuleAccount(root, WITHOUT_EFFECT)
    model = account.part("", *MODELS)
    account.tensors.without_effect("*.output_mask", "says which outputs are not zero")
    chosen = find_head(model.flags.take("heads", ["Default"]), head)
    numbers = model.integers("atomic_numbers")
    rows = rows_by_atomic_number(numbers)
    radial = _radial(model, [numbers[row] for row in rows])
    network = _network(model, radial, rows)
    readouts = _readouts(model, network, chosen)
    scale, shift = _scale_and_shift(model, chosen)
    repulsion, remarks = _repulsion(model, radial, scale, numbers)
    energies = reference_energies(
        model.part("atomic_energies_fn", "AtomicEnergiesBlock"), numbers, chosen
    )
    lines = account.finish()
    config = _config(network, radial, readouts, repulsion=bool(repulsion))
    weights = {
        "backbone.embedding.weight": network.embedding,
        **{f"backbone.radial_inputs.{k}": v for k, v in radial.weights.items()},
        **_layer_weights(network.layers),
        **readouts.weights,
        **repulsion,
    }
    origin = ModelOrigin(
        package="mace-torch",
        architecture=model.kind,
        files=hashes(path),
        dtype=_dtype(root),
        head=chosen.name if chosen.count > 1 else None,
        without_effect=lines,
        remarks=(*readouts.remarks, *remarks),
    )
    return assembled(
        config,
        weights,
        origin,
        {z: energy + shift for z, energy in energies.items()},
        scale=scale,
        neighbors=network.layers[0].neighbors,
    )


SOURCE = Source(
    name="mace",
    describes="MACE 0.2 and 0.3, .model",
    matches=matches,
    read=read,
    original=Original(
        module="mace",
        install="pip install mace-torch",
        script="""
def calculator(path, head, dtype):
    from mace.calculators import MACECalculator

    options = {} if head is None else {"head": head}
    return MACECalculator(
        model_paths=path, device="cpu", default_dtype=dtype, **options
    )
""",
    ),
)
"""Files of mace-torch."""


def _dtype(root: Record) -> Literal["float32", "float64"]:
    """Floating-point type of the weights; tables beside them may be of another."""
    weight = root.get("node_embedding.linear.weight")
    return "float64" if weight.dtype == torch.float64 else "float32"


def _radial(model: Part, numbers: Sequence[int]) -> Radial:
    """Radial functions, and settings of the model about edges."""
    model.flags.expect("use_so3", False, default=False)
    radial = read_radial(
        model.part("radial_embedding", "RadialEmbeddingBlock"), list(numbers)
    )
    if model.number("r_max") != radial.cutoff:
        raise ConversionError(
            f"the cutoff is {model.number('r_max')} Å in the model and "
            f"{radial.cutoff} Å in its envelope"
        )
    applied = radial.envelope_on == "input"
    model.flags.expect("apply_cutoff", applied, default=applied)
    return radial


def _harmonics(model: Part) -> int:
    """Highest degree of the harmonics of edges."""
    part = model.part("spherical_harmonics", "SphericalHarmonics")
    part.flags.expect("normalize", True)
    part.flags.expect("normalization", "component")
    if equal_channels(part.flags.take("irreps_out"), part.path)[0] != 1:
        raise ConversionError(f"{part.path} has several harmonics of a degree")
    _, lmax = equal_channels(part.flags.take("irreps_out"), part.path)
    part.flags.expect("_lmax", lmax)
    part.flags.expect("_ls_list", list(range(lmax + 1)))
    part.flags.take("irreps_in")
    return lmax


def _network(model: Part, radial: Radial, rows: list[int]) -> Network:
    """All layers, and the embedding of the elements."""
    embedding = linear(
        model.part("node_embedding", "LinearNodeEmbeddingBlock").part(
            "linear", "Linear"
        )
    ).by_degree()
    if len(embedding) != 1 or embedding[0].shape[0] != len(rows):
        raise ConversionError("node_embedding is not a table of the elements")
    context = Context(
        channels=embedding[0].shape[1],
        rows=rows,
        lmax=_harmonics(model),
        num_basis=radial.num_basis,
        basis_factor=radial.basis_factor,
    )
    count = model.number("num_interactions")
    if not count.is_integer() or not 1 <= count <= MAX_LAYERS:
        raise ConversionError(f"num_interactions is {count}")
    layers: list[Layer] = []
    for n in range(int(count)):
        layer = read_layer(
            model.part(f"interactions.{n}", *KINDS),
            model.part(f"products.{n}", "EquivariantProductBasisBlock"),
            context,
            layers[-1].lmax_out if layers else 0,
            last=n == count - 1,
        )
        layers.append(layer)
    return Network(embedding[0][rows], tuple(layers), context.lmax)


def _readouts(model: Part, network: Network, head: Head) -> Readouts:
    """Readouts of all layers, or of the last one."""
    only_last = model.flags.expect(
        "use_last_readout_only", (True, False), default=False
    )
    count = 1 if only_last else len(network.layers)
    parts = [
        model.part(f"readouts.{n}", "LinearReadoutBlock", "NonLinearReadoutBlock")
        for n in range(count)
    ]
    return read_readouts(parts, len(network.layers), network.channels, head)


def _scale_and_shift(model: Part, head: Head) -> tuple[float, float]:
    """Scale and shift of the head in eV."""
    if model.kind == "MACE":
        return 1.0, 0.0
    part = model.part("scale_shift", "ScaleShiftBlock")
    scale = of_head(part.take("scale"), head, "scale")
    return scale, of_head(part.take("shift"), head, "shift")


def _repulsion(
    model: Part, radial: Radial, scale: float, numbers: Sequence[int]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights of the repulsion, if there is one, and what to know of it."""
    if not model.has("pair_repulsion_fn"):
        return {}, ()
    model.flags.expect("pair_repulsion", True)
    part = model.part("pair_repulsion_fn", "ZBLBasis")
    weights, radii = read_repulsion(part, scale, radial.envelope_power)
    remarks = [
        "its repulsion of nuclei ends at the sum of covalent radii, the length of "
        "bonds, with two continuous derivatives: third derivatives jump there"
    ]
    largest = max(numbers, key=lambda z: float(radii[z]))
    if 2 * float(radii[largest]) > radial.cutoff:
        remarks.append(
            f"its repulsion of two {chemical_symbols[largest]} atoms reaches farther "
            "than its cutoff, where energies jump"
        )
    return {f"repulsion.{k}": v for k, v in weights.items()}, tuple(remarks)


def _config(
    network: Network, radial: Radial, readouts: Readouts, *, repulsion: bool
) -> MACEConfig:
    """Section of the configuration of what was read."""
    first, *others = network.layers
    _only(others, "kind", "channels_sent", "lmax_sent")
    _only(network.layers, "shared_polynomials", "radial_hidden")
    _only(network.layers[:-1], "lmax_out")
    correlations = [layer.correlation for layer in network.layers]
    same = len(set(correlations)) == 1
    values: dict[str, Any] = {
        "cutoff": radial.cutoff,
        "channels": network.channels,
        "num_layers": len(network.layers),
        "num_basis": radial.num_basis,
        "envelope_power": radial.envelope_power,
        "readout_hidden": readouts.hidden,
        "readout_activation": readouts.activation,
        "readouts": "all" if readouts.every_layer else "last",
        "zbl": "mace" if repulsion else False,
        "lmax": network.lmax,
        "lmax_hidden": first.lmax_out,
        "correlation": correlations[0] if same else tuple(correlations),
        "first_interaction": first.kind,
        "channels_sent_first": _unless(first.channels_sent, network.channels),
        "shared_polynomials": first.shared_polynomials,
        "radial_hidden": first.radial_hidden,
        "radial_bias": False,
        "envelope_on": radial.envelope_on,
        "radial_basis": radial.basis,
        "stored_roots": radial.basis == "bessel",
        "distance_transform": radial.transform,
    }
    if others:
        values |= {
            "other_interactions": others[0].kind,
            "channels_sent": _unless(others[0].channels_sent, network.channels),
            "lmax_sent": _unless(others[0].lmax_sent, first.lmax_out),
        }
    try:
        return MACEConfig.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in found["loc"])
        raise ConversionError(f"{key}: {found['msg'][:300]}") from error


def _unless(value: int, default: int) -> int | None:
    """A value; None where it is the default."""
    return None if value == default else value


def _only(layers: Sequence[Layer], *names: str) -> None:
    """Refuse layers that differ in what a configuration has once for all of them."""
    for name in names:
        values = [getattr(layer, name) for layer in layers]
        if any(value != values[0] for value in values):
            raise ConversionError(
                f"layers differ in {name}: {values}; the equations have one for all "
                "layers after the first"
            )


def _layer_weights(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Weights of all layers, with the constants that messages are divided by."""
    weights = {}
    for n, layer in enumerate(layers):
        # equipot divides by the root of the first of these constants
        factor = math.sqrt(layers[0].neighbors) / layer.neighbors
        divided = layer.kind in ("plain", "residual")
        for name, weight in layer.weights.items():
            folded = divided and name.startswith("path_linear")
            weights[f"backbone.layers.{n}.{name}"] = weight * (
                factor if folded else 1.0
            )
    return weights
