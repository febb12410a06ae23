"""TensorNet of MatGL: settings in ``model.json``, tensors in ``state.pt``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from ase.data import atomic_numbers
from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import TensorNetConfig
from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.assembly import assembled, refuse_head
from equipot.conversion.converted import (
    Converted,
    Original,
    Source,
    hashes,
    rows_by_atomic_number,
)
from equipot.conversion.errors import ConversionError
from equipot.conversion.torch_archive import read_torch_archive
from equipot.storage.nesting import load_json

SETTINGS: Final = "model.json"
TENSORS: Final = "state.pt"
MAX_SETTINGS_BYTES = 2**22
"""Bytes of the settings, a thousand times those of published models."""
PARTS = 3
"""Isotropic, antisymmetric and symmetric part of a matrix."""
JUMP = (
    "the cosine envelope of the original: second derivatives jump where an edge "
    "crosses the cutoff, and so do Hessians"
)
ORIGINAL = Original(
    module="matgl",
    install="pip install 'matgl<3' torch_geometric",
    script="""
from pathlib import Path


def calculator(path, head, dtype):
    import matgl
    import torch
    from matgl.ext.ase import PESCalculator

    matgl.set_backend("PYG")
    folder = path if Path(path).is_dir() else Path(path).parent
    potential = matgl.load_model(str(folder))
    return PESCalculator(potential.to(getattr(torch, dtype)), stress_unit="eV/A3")
""",
)


def matches(path: Path) -> bool:
    """Whether a path is a folder of MatGL, or the settings or tensors in one."""
    folder = _folder(path)
    if not all((folder / name).is_file() for name in (SETTINGS, TENSORS)):
        return False
    settings = _read_settings(folder)
    return str(settings.get("@module", "")).startswith("matgl.")


def read(path: Path, head: str | None) -> Converted:
    """Read a potential of MatGL.

    Args:
        path: Folder of the model, or its settings or tensors.
        head: None: these models have one.

    Raises:
        ConversionError: If it is another model than TensorNet of the PyG backend, or
            holds anything that the equations do not account for.
    """
    refuse_head(head, "MatGL")
    folder = _folder(path)
    settings, lines = _accounted_settings(_read_settings(folder))
    root = read_torch_archive(folder / TENSORS).root
    if not isinstance(root, Mapping) or not all(
        isinstance(value, Tensor) for value in root.values()
    ):
        raise ConversionError(f"{folder / TENSORS}: expected a dictionary of tensors")
    tensors = SourceTensors({str(name): value for name, value in root.items()})
    numbers = [atomic_numbers[symbol] for symbol in settings["element_types"]]
    rows = rows_by_atomic_number(numbers)
    weights = dict(_weights(tensors, settings, rows))
    offsets, scale = _energies(tensors, float(settings["cutoff"]), len(numbers))
    config = TensorNetConfig(
        cutoff=settings["cutoff"],
        channels=settings["units"],
        num_layers=settings["nblocks"] + 1,
        num_basis=settings["max_n"],
        radial_basis="smooth_bessel",
        envelope="cosine",
        self_neighbor=False,
        scalar_activation=False,
        readouts="last",
        readout_hidden=settings["units"],
        readout_depth=3,
        readout_gated=True,
    )
    origin = ModelOrigin(
        package="matgl",
        architecture="TensorNet",
        files=_hashes(folder),
        dtype=_network_dtype(root),
        without_effect=(*tensors.finish(), *lines),
        remarks=(JUMP,),
    )
    return assembled(
        config,
        weights,
        origin,
        dict(zip(numbers, offsets, strict=True)),
        scale=scale,
        neighbors=1.0,  # no part of this architecture
    )


SOURCE = Source(
    name="matgl",
    describes="MatGL, TensorNet: folder with model.json and state.pt",
    matches=matches,
    read=read,
    original=ORIGINAL,
)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the two files that are read."""
    return {**hashes(folder / SETTINGS), **hashes(folder / TENSORS)}


def _network_dtype(tensors: Mapping[str, Tensor]) -> str:
    """Type of the weights; reference energies are in float64 anyway."""
    network = {n: tensor for n, tensor in tensors.items() if n.startswith("model.")}
    return SourceTensors(network).dtype


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if path.stat().st_size > MAX_SETTINGS_BYTES:
        raise ConversionError(
            f"{path}: expected up to {MAX_SETTINGS_BYTES} bytes of settings, got "
            f"{path.stat().st_size}"
        )
    try:
        settings = load_json(path.read_bytes())
    except (RecursionError, ValueError) as error:
        raise ConversionError(f"{path}: {error}") from error
    if not isinstance(settings, dict):
        raise ConversionError(f"{path}: expected an object of settings")
    return settings


def _accounted_settings(
    values: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Hyperparameters of the network, and a line for each setting without effect."""
    top = Flags(values, SETTINGS)
    top.expect("@class", "Potential")
    top.expect("@module", "matgl.apps._pes_pyg")
    top.without_effect("@model_version", "version of the format")
    top.without_effect("metadata", "description of the model")
    potential = Flags(_section(top.take("kwargs"), "kwargs"), "Potential")
    model = Flags(_section(potential.take("model"), "model"), "model")
    model.expect("@class", "TensorNet")
    # the older backend is another function: its layers gather features of the receiver
    model.expect("@module", "matgl.models._tensornet_pyg")
    model.without_effect("@model_version", "version of the format")
    hyper, network = _hyperparameters(_section(model.take("init_args"), "init_args"))
    for name in ("calc_magmom", "calc_repuls"):
        potential.expect(name, False, default=False)
    for name in ("data_mean", "data_std", "element_refs"):
        potential.without_effect(name, "printed with fewer digits than in state.pt")
    potential.without_effect("calc_*", "which derivatives the original computes")
    potential.without_effect("zbl_trainable", "there is no repulsion")
    potential.without_effect("debug_mode", "printing while the original runs")
    lines = (*top.finish(), *potential.finish(), *model.finish(), *network)
    return hyper, lines


def _hyperparameters(
    values: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    flags = Flags(values, "TensorNet")
    for name, value in {
        "ntypes_state": None, "dim_state_embedding": 0, "dim_state_feats": None,
        "include_state": False, "rbf_type": "SphericalBessel", "use_smooth": True,
        "activation_type": "swish", "equivariance_invariance_group": "O(3)",
        "readout_type": "weighted_atom", "task_type": "regression",
        "field": "node_feat", "is_intensive": False, "ntargets": 1,
    }.items():  # fmt: skip
        flags.expect(name, value)
    for name, reason in {
        "num_rbf": "number of Gaussians, which are not the basis of this model",
        "width": "width of Gaussians, which are not the basis of this model",
        "max_l": "only functions of degree 0 are used",
        "niters_set2set": "readout of intensive properties",
        "nlayers_set2set": "readout of intensive properties",
        "dtype": "type in which the original is built",
    }.items():
        flags.without_effect(name, reason)
    hyper = {
        "element_types": _symbols(flags.take("element_types")),
        "cutoff": _positive(flags.take("cutoff"), "cutoff", float),
        "units": _positive(flags.take("units"), "units", int),
        "nblocks": _positive(flags.take("nblocks"), "nblocks", int),
        "max_n": _positive(flags.take("max_n"), "max_n", int),
    }
    return hyper, flags.finish()


def _section(values: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConversionError(f"{name} of {SETTINGS}: expected an object of settings")
    return values


def _symbols(values: Any) -> list[str]:
    known = isinstance(values, list) and all(
        isinstance(value, str) and atomic_numbers.get(value, 0) > 0 for value in values
    )
    if not known:
        raise ConversionError(
            f"element_types of {SETTINGS}: expected symbols of elements, got "
            f"{str(values)[:60]}"
        )
    return list(values)


def _positive(value: Any, name: str, kind: type) -> Any:
    allowed = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed) or not value > 0:
        raise ConversionError(
            f"{name} of {SETTINGS}: expected a positive number, got {str(value)[:60]}"
        )
    return kind(value)


def _energies(
    tensors: SourceTensors, cutoff: float, num_elements: int
) -> tuple[list[float], float]:
    """Reference energies in eV in the order of the file, and the scale in eV."""
    basis_cutoff = tensors.take("model.bond_expansion.rbf.cutoff", ()).item()
    if basis_cutoff != cutoff:
        raise ConversionError(
            f"the radial functions end at {basis_cutoff} Å, the cutoff is {cutoff} Å: "
            "expected the same"
        )
    if mean := tensors.take("data_mean", ()).item():
        raise ConversionError(
            f"data_mean is {mean}: an energy per structure, whatever its size, has no "
            "place in a sum over atoms; expected 0"
        )
    one_hot = tensors.take_if_present("element_refs.onehot")
    identity = torch.eye(num_elements, dtype=torch.float64)
    if one_hot is not None and not torch.equal(one_hot, identity):
        raise ConversionError("element_refs.onehot: expected an identity matrix")
    offsets = tensors.take("element_refs.property_offset", (num_elements,))
    return offsets.tolist(), tensors.take("data_std", ()).item()


def _weights(
    tensors: SourceTensors, settings: Mapping[str, Any], rows: list[int]
) -> Iterator[tuple[str, Tensor]]:
    """Weights by the names of equipot."""
    channels, num_basis = settings["units"], settings["max_n"]
    yield from _embedding(tensors, channels, num_basis, rows)
    for n in range(settings["nblocks"]):
        yield from _interaction(tensors, n, channels, num_basis)
    yield from _copied(
        tensors, "model.out_norm", "backbone.invariants.0.norm", (PARTS * channels,)
    )
    yield from _copied(
        tensors,
        "model.linear",
        "backbone.invariants.0.linear",
        (channels, PARTS * channels),
    )
    for k in (0, 2, 4, 6):
        shape = (1 if k == 6 else channels, channels)
        for ours, theirs in (("value", "layers"), ("gate", "gates")):
            source = f"model.final_layer.gated.{theirs}.{k}"
            yield from _copied(tensors, source, f"head.last.{ours}.{k}", shape)


def _embedding(
    tensors: SourceTensors, channels: int, num_basis: int, rows: list[int]
) -> Iterator[tuple[str, Tensor]]:
    theirs, ours = "model.tensor_embedding", "backbone.embedding"
    elements = tensors.take(f"{theirs}.emb.weight", (len(rows), channels))
    yield f"{ours}.elements.weight", elements[rows]
    pairs = tensors.take(f"{theirs}.emb2.weight", (channels, 2 * channels))
    # the original begins with the sender, equipot with the receiver
    yield f"{ours}.pairs.weight", pairs.roll(channels, dims=1)
    yield f"{ours}.pairs.bias", tensors.take(f"{theirs}.emb2.bias", (channels,))
    names = [f"{theirs}.distance_proj{k + 1}" for k in range(PARTS)]
    yield (
        f"{ours}.radial.weight",
        torch.cat([tensors.take(f"{n}.weight", (channels, num_basis)) for n in names]),
    )
    yield (
        f"{ours}.radial.bias",
        torch.cat([tensors.take(f"{name}.bias", (channels,)) for name in names]),
    )
    yield from _copied(tensors, f"{theirs}.init_norm", f"{ours}.norm", (channels,))
    shape = (2 * channels, channels)
    yield from _copied(tensors, f"{theirs}.linears_scalar.0", f"{ours}.hidden", shape)
    yield from _by_part(
        tensors, f"{theirs}.linears_scalar.1", f"{ours}.factors", 2 * channels, channels
    )
    yield f"{ours}.mix.weight", _mixing(tensors, theirs, 0, channels)


def _interaction(
    tensors: SourceTensors, n: int, channels: int, num_basis: int
) -> Iterator[tuple[str, Tensor]]:
    theirs, ours = f"model.layers.{n}", f"backbone.interactions.{n}"
    widths = num_basis, channels, 2 * channels
    for k in range(2):
        shape = (widths[k + 1], widths[k])
        source = f"{theirs}.linears_scalar.{k}"
        yield from _copied(tensors, source, f"{ours}.radial.{2 * k}", shape)
    yield from _by_part(
        tensors,
        f"{theirs}.linears_scalar.2",
        f"{ours}.radial.4",
        2 * channels,
        channels,
    )
    yield f"{ours}.mix_in.weight", _mixing(tensors, theirs, 0, channels)
    yield f"{ours}.mix_out.weight", _mixing(tensors, theirs, PARTS, channels)


def _copied(
    tensors: SourceTensors, theirs: str, ours: str, shape: tuple[int, ...]
) -> Iterator[tuple[str, Tensor]]:
    """A linear map or a norm, as it is."""
    yield f"{ours}.weight", tensors.take(f"{theirs}.weight", shape)
    yield f"{ours}.bias", tensors.take(f"{theirs}.bias", shape[:1])


def _by_part(
    tensors: SourceTensors, theirs: str, ours: str, width: int, channels: int
) -> Iterator[tuple[str, Tensor]]:
    """A linear map whose outputs are ordered by part, then channel, here."""
    weight = tensors.take(f"{theirs}.weight", (PARTS * channels, width))
    bias = tensors.take(f"{theirs}.bias", (PARTS * channels,))
    yield (
        f"{ours}.weight",
        weight.reshape(channels, PARTS, width).transpose(0, 1).reshape(-1, width),
    )
    yield f"{ours}.bias", bias.reshape(channels, PARTS).T.reshape(-1)


def _mixing(tensors: SourceTensors, prefix: str, first: int, channels: int) -> Tensor:
    """Matrices between channels of the three parts; rows are inputs here."""
    return torch.stack(
        [
            tensors.take(f"{prefix}.linears_tensor.{k}.weight", (channels, channels)).T
            for k in range(first, first + PARTS)
        ]
    )
