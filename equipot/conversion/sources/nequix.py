"""Nequix: ``.nqx`` files, a line of JSON and the weights as arrays."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import NequixConfig
from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.array_stream import (
    ArrayStream,
    is_array_stream,
    read_array_stream,
)
from equipot.conversion.assembly import assembled, refuse_head
from equipot.conversion.converted import (
    Converted,
    Original,
    Source,
    hashes,
    rows_by_atomic_number,
)
from equipot.conversion.errors import ConversionError
from equipot.conversion.irreps import parse_irreps
from equipot.conversion.numbers import integer, number, positive
from equipot.conversion.towers import TowerOrder, check_channels
from equipot.nn import with_gates

TRAINING: Final = (
    *("state_path", "resume_from", "cache_dir", "finetune_from", "extra_*"),
    *("train_path", "valid_path", "val_path", "valid_frac", "val_every", "log_every"),
    *("avg_n_edges", "avg_n_nodes", "max_n_edges", "max_n_nodes", "n_graph"),
    *("optimizer", "learning_rate", "warmup_epochs", "warmup_factor"),
    *("grad_clip_norm", "weight_decay", "batch_size", "n_epochs", "ema_decay"),
    *("energy_weight", "force_weight", "stress_weight", "hessian_weight", "loss_type"),
    *("checkpoint_grad_energy", "mlp_init_scale", "readout_initialization"),
)
"""Settings of training."""
ORIGINAL = Original(
    module="nequix",
    install="pip install nequix",
    script="""
def calculator(path, head, dtype):
    from nequix.calculator import NequixCalculator

    if dtype != "float32":
        raise ValueError("nequix predicts in float32 only")
    return NequixCalculator(model_path=path, use_kernel=False)
""",
)


class Architecture(NamedTuple):
    """Hyperparameters that the settings of a file state."""

    cutoff: float
    numbers: list[int]
    """Atomic numbers in the order of the file."""
    neighbors: float
    """Mean number of neighbors, whose root messages are divided by."""
    scale: float
    shift: float
    hidden: tuple[int, ...]
    """Channels of each degree."""
    lmax: int
    """Highest degree of harmonics."""
    num_layers: int
    num_basis: int
    radial_hidden: tuple[int, ...]
    envelope_power: int
    norm: bool
    indexed: bool
    """Whether each element has skip matrices of its own."""

    @property
    def channels(self) -> list[tuple[int, ...]]:
        """Of the elements, and after each layer."""
        inner = [self.hidden] * (self.num_layers - 1)
        return [(len(self.numbers),), *inner, self.hidden[:1]]


def read(path: Path, head: str | None) -> Converted:
    """Read a model of Nequix.

    Args:
        path: Its file.
        head: None: these models have one.

    Raises:
        ConversionError: If it holds anything that the equations do not account for.
    """
    refuse_head(head, "Nequix")
    stream = read_array_stream(path)
    flags = Flags(stream.header, "Nequix")
    found = _architecture(flags)
    lines = _scalars(stream)
    order = rows_by_atomic_number(found.numbers)
    tensors = _named(stream, found)
    energies = tensors.take("atom_energies", (len(order),))
    flags.without_effect(
        "atom_energies", "the original evaluates the array of the file"
    )
    flags.without_effect("kernel", "says which program computes tensor products")
    for name in TRAINING:
        flags.without_effect(name, "describes the training")
    weights = dict(_weights(tensors, found, order))
    config = NequixConfig(
        cutoff=found.cutoff,
        channels=found.hidden,
        lmax=len(found.hidden) - 1,
        lmax_filter=found.lmax,
        num_layers=found.num_layers,
        num_basis=found.num_basis,
        radial_hidden=found.radial_hidden,
        envelope_power=found.envelope_power,
        layer_norm=found.norm,
        skip="element" if found.indexed else "linear",
    )
    origin = ModelOrigin(
        package="nequix",
        architecture="Nequix",
        files=hashes(path),
        dtype=tensors.dtype,
        training=_training(stream.header),
        without_effect=(*tensors.finish(), *flags.finish(), *lines),
    )
    return assembled(
        config,
        weights,
        origin,
        dict(zip(found.numbers, (energies + found.shift).tolist(), strict=True)),
        scale=found.scale,
        neighbors=found.neighbors,
    )


SOURCE = Source(
    name="nequix",
    describes="Nequix, .nqx",
    matches=is_array_stream,
    read=read,
    original=ORIGINAL,
)


def _architecture(flags: Flags) -> Architecture:
    """Hyperparameters; refuses what the equations do not have."""
    numbers = flags.take("atomic_numbers")
    if not isinstance(numbers, list) or not all(type(z) is int for z in numbers):
        raise ConversionError("atomic_numbers: expected a list of atomic numbers")
    flags.expect("add_repulsion", False, default=False)
    lmax = integer(flags, "lmax", 0, 10)
    width = integer(flags, "radial_mlp_size", 1, 100_000)
    depth = integer(flags, "radial_mlp_layers", 0, 100)
    found = Architecture(
        cutoff=positive(flags, "cutoff"),
        numbers=numbers,
        neighbors=positive(flags, "avg_n_neighbors"),
        scale=positive(flags, "scale"),
        shift=number(flags, "shift"),
        hidden=_hidden(flags.take("hidden_irreps")),
        lmax=lmax,
        num_layers=integer(flags, "n_layers", 1, 1000),
        num_basis=integer(flags, "radial_basis_size", 1, 100_000),
        radial_hidden=(width,) * depth,
        # of lower order, third derivatives jump where two atoms are in one place
        envelope_power=integer(flags, "radial_polynomial_p", 4, 1000),
        # the package leaves settings out that have its defaults
        norm=flags.expect("layer_norm", (True, False), default=False),
        indexed=flags.expect("index_weights", (True, False), default=True),
    )
    if len(found.hidden) - 1 > lmax:
        raise ConversionError(
            f"hidden_irreps has degrees above lmax {lmax}, which the first layer "
            "cannot make"
        )
    return found


def _hidden(text: Any) -> tuple[int, ...]:
    """Channels of each degree of natural parity, from 0 on."""
    irreps = parse_irreps(text)
    natural = [(degree, (-1) ** degree) for degree in range(len(irreps))]
    if [(irrep.degree, irrep.parity) for irrep in irreps] != natural:
        raise ConversionError(
            f"hidden_irreps is {text!r:.60}: expected degrees 0, 1, ... of natural "
            "parity, such as 64x0e + 32x1o"
        )
    return check_channels([irrep.channels for irrep in irreps], "hidden_irreps")


def _scalars(stream: ArrayStream) -> tuple[str, ...]:
    """Line on the scalars after the arrays, which must be numbers of the settings."""
    if not stream.scalars:
        return ()
    repeated = torch.tensor(list(_numbers(stream.header)), dtype=torch.float64)
    scalars = torch.tensor(stream.scalars, dtype=torch.float64)
    if repeated.shape != scalars.shape or not torch.allclose(repeated, scalars):
        raise ConversionError(
            f"{len(scalars)} scalars follow the arrays, which are not the numbers of "
            "the settings"
        )
    return (f"{len(scalars)} scalars after the arrays: they repeat the settings",)


def _numbers(value: Any) -> Iterator[float]:
    """Numbers of JSON in sorted order of its keys."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _numbers(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, bool | int | float):
        yield float(value)


def _named(stream: ArrayStream, found: Architecture) -> SourceTensors:
    """Arrays by name, in the order of the file; further ones keep a number."""
    names = list(_names(found))
    more = range(len(names), len(stream.arrays))
    names += [f"array {n}" for n in more]
    return SourceTensors(dict(zip(names, stream.arrays, strict=False)))


def _names(found: Architecture) -> Iterator[str]:
    """What the arrays of a file are, one after the other."""
    yield "atom_energies"
    for k, (before, after) in enumerate(pairwise(found.channels)):
        degrees = range(len(after))
        yield from (
            f"layers.{k}.radial.{n}" for n in range(len(found.radial_hidden) + 1)
        )
        yield from (f"layers.{k}.linear_1.{n}" for n in range(len(before)))
        yield from (f"layers.{k}.linear_2.{n}" for n in degrees)
        yield from (f"layers.{k}.skip.{n}" for n in degrees if n < len(before))
        if found.norm:
            yield from (f"layers.{k}.norm.{n}" for n in degrees)
    yield "readout"


def _weights(
    tensors: SourceTensors, found: Architecture, elements: Sequence[int]
) -> Iterator[tuple[str, Tensor]]:
    """Weights by the names of equipot.

    Args:
        tensors: Of the file.
        found: Hyperparameters.
        elements: Rows of tables of the file in the order of equipot.
    """
    for k, (before, after) in enumerate(pairwise(found.channels)):
        ours, theirs, update = f"backbone.layers.{k}", f"layers.{k}", with_gates(after)
        order = TowerOrder(before, found.lmax, len(after) - 1, "O(3)")
        yield from _radial(tensors, found, k, order)
        for n, width in enumerate(before):
            matrix = _matrix(tensors, f"{theirs}.linear_1.{n}", (width, width))
            yield f"{ours}.linear.weights.{n}", matrix if k else matrix[elements]
        for n, (rows, width) in enumerate(zip(order.num_rows(), update, strict=True)):
            matrix = _matrix(tensors, f"{theirs}.linear_2.{n}", (rows, width))
            yield f"{ours}.convolution.weights.{n}", order.rows(matrix, n)
        for n, (rows, width) in enumerate(zip(before, update, strict=False)):
            name = f"{theirs}.skip.{n}"
            if found.indexed:
                shape = (len(elements), rows, width)
                matrix = tensors.take(name, shape)[elements] / rows**0.5
            else:
                matrix = _matrix(tensors, name, (rows, width))
            # channels of the first layer are elements
            chosen = matrix if k else matrix[..., elements, :]
            yield f"{ours}.self_connection.weights.{n}", chosen
        if found.norm:
            for n, width in enumerate(update):
                factor = tensors.take(f"{theirs}.norm.{n}", (width,))
                yield f"{ours}.norm.factors.{n}", factor
    yield "head.last.weight", _matrix(tensors, "readout", (found.hidden[0], 1)).T


def _radial(
    tensors: SourceTensors, found: Architecture, layer: int, order: TowerOrder
) -> Iterator[tuple[str, Tensor]]:
    """Radial MLP of a layer, with the norm of the Bessel functions folded in."""
    widths = [found.num_basis, *found.radial_hidden, order.num_weights]
    last = len(widths) - 2
    for n, shape in enumerate(pairwise(widths)):
        matrix = tensors.take(f"layers.{layer}.radial.{n}", shape)
        if n == 0:  # 2 / cutoff in the original, the root of it in equipot
            matrix = matrix * (2 / found.cutoff) ** 0.5
        if n == last:
            matrix = order.columns(matrix)
        name = "output" if n == last else f"hidden.{n}"
        yield f"backbone.layers.{layer}.radial.{name}.weight", matrix.T


def _matrix(tensors: SourceTensors, name: str, shape: tuple[int, int]) -> Tensor:
    """A linear map of e3nn with its normalization."""
    return tensors.take(name, shape) / shape[0] ** 0.5


def _training(header: dict[str, Any]) -> dict[str, str]:
    """What users may want to know of the training."""
    names = ("train_path", "finetune_from", "loss_type", "optimizer", "n_epochs")
    return {name: str(header[name])[:1000] for name in names if name in header}
