"""Linear maps, tensor products and MLPs of e3nn as they are in files of MACE.

Factors that e3nn applies to its weights are taken from the file, and folded into them.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.irreps import Irrep, parse_irreps
from equipot.conversion.module_account import Part
from equipot.conversion.records import Global, Record
from equipot.tensor_products.spec import Path

Matrices = dict[tuple[int, int], Tensor]
"""Matrices ``(channels_in, channels_out)`` by the places of two irreps."""

FUNCTIONS = {
    "torch.nn.functional.silu": "silu",
    "torch.tanh": "tanh",
    "torch.abs": "abs",
}
"""Nonlinearities by what files name."""


class Mapped(NamedTuple):
    """A linear map: what is between its irreps."""

    irreps_in: tuple[Irrep, ...]
    irreps_out: tuple[Irrep, ...]
    matrices: Matrices

    def by_degree(self) -> list[Tensor]:
        """Matrices of degrees 0, 1, ...; each must have exactly one."""
        places = [(n, n) for n in range(len(self.matrices))]
        if sorted(self.matrices) != places:
            raise ConversionError(
                f"a linear map connects the irreps {sorted(self.matrices)}, expected "
                f"one block for each degree: {places}"
            )
        return [self.matrices[place] for place in places]


class Convolution(NamedTuple):
    """Paths of a tensor product in the order of its weights."""

    paths: tuple[Path, ...]
    channels: int
    """Of its features."""
    places: tuple[int, ...]
    """Of the result of each path among the irreps of all results."""
    results: tuple[Irrep, ...]
    """Irreps of all results."""
    factors: tuple[float, ...]
    """Of each path, relative to ``TensorProductSpec.path_coefficients``."""


def natural_channels(value: Any, where: str) -> list[int]:
    """Channels of degrees 0, 1, ..., whose parity must be that of the harmonics.

    Args:
        value: Irreps of the file.
        where: That they are of, for messages.

    Raises:
        ConversionError: If a degree is missing, out of order, or of another parity.
    """
    irreps = parse_irreps(value)
    for degree, irrep in enumerate(irreps):
        if irrep.degree != degree or irrep.parity != (-1) ** degree:
            raise ConversionError(
                f"{where} has the irreps {_text(irreps)}: the equations have degrees "
                "0, 1, 2, ... of the parity of spherical harmonics, in this order"
            )
    return [irrep.channels for irrep in irreps]


def equal_channels(value: Any, where: str) -> tuple[int, int]:
    """Channels of each degree, and the highest degree.

    Raises:
        ConversionError: As `natural_channels`, or if degrees differ in channels.
    """
    channels = natural_channels(value, where)
    if len(set(channels)) != 1:
        raise ConversionError(
            f"{where} has {channels} channels of degrees 0, 1, ...: the equations have "
            "equally many of each"
        )
    return channels[0], len(channels) - 1


def linear(part: Part) -> Mapped:
    """Matrices of a ``Linear`` without biases, with the factors of its paths.

    Raises:
        ConversionError: If its parts contradict each other.
    """
    flags = part.flags
    flags.expect("internal_weights", True)
    flags.expect("shared_weights", True)
    flags.expect("bias_numel", 0)
    part.take("bias", (0,))
    irreps_in = parse_irreps(flags.take("irreps_in"))
    irreps_out = parse_irreps(flags.take("irreps_out"))
    blocks = []
    for n, fields in enumerate(_instructions(part, 4)):
        i_in, i_out, _, factor = fields
        place = _pair(i_in, irreps_in, i_out, irreps_out, part)
        shape = (irreps_in[place[0]].channels, irreps_out[place[1]].channels)
        blocks.append((place, shape, _factor(factor, part, n)))
    matrices = {
        place: block * factor
        for (place, _, factor), block in zip(blocks, _split(part, blocks), strict=True)
    }
    if len(matrices) != len(blocks):
        raise ConversionError(f"{part.path} has two blocks between the same irreps")
    return Mapped(irreps_in, irreps_out, matrices)


def element_linear(part: Part, num_elements: int) -> Mapped:
    """Matrices ``(elements, channels_in, channels_out)`` of a product with elements.

    Args:
        part: A ``FullyConnectedTensorProduct`` with the one-hot element.
        num_elements: Chemical elements.

    Raises:
        ConversionError: If its parts contradict each other.
    """
    flags = part.flags
    flags.expect("internal_weights", True)
    flags.expect("shared_weights", True)
    irreps_in = parse_irreps(flags.take("irreps_in1"))
    irreps_out = parse_irreps(flags.take("irreps_out"))
    if parse_irreps(flags.take("irreps_in2")) != (Irrep(num_elements, 0, 1),):
        raise ConversionError(f"{part.path} multiplies by something else than elements")
    blocks = []
    for n, fields in enumerate(_instructions(part, 7)):
        i_in, i_element, i_out, mode, has_weight, factor, _ = fields
        if (i_element, mode, has_weight) != (0, "uvw", True):
            raise ConversionError(f"path {n} of {part.path} is of an unknown kind")
        place = _pair(i_in, irreps_in, i_out, irreps_out, part)
        shape = (
            irreps_in[place[0]].channels,
            num_elements,
            irreps_out[place[1]].channels,
        )
        # a coupling of degrees l, 0, l is the unit matrix over this root
        root = math.sqrt(2 * irreps_out[place[1]].degree + 1)
        blocks.append((place, shape, _factor(factor, part, n) / root))
    matrices = {
        place: block.transpose(0, 1) * factor
        for (place, _, factor), block in zip(blocks, _split(part, blocks), strict=True)
    }
    if len(matrices) != len(blocks):
        raise ConversionError(f"{part.path} has two blocks between the same irreps")
    return Mapped(irreps_in, irreps_out, matrices)


def convolution(part: Part, lmax_filter: int) -> Convolution:
    """Paths of the tensor product of features and harmonics.

    Args:
        part: A ``TensorProduct`` whose weights come from outside.
        lmax_filter: Highest degree of the harmonics.

    Raises:
        ConversionError: If it is another product.
    """
    flags = part.flags
    flags.expect("internal_weights", False)
    flags.expect("shared_weights", False)
    part.take("weight", (0,))
    features, harmonics = flags.take("irreps_in1"), flags.take("irreps_in2")
    channels, lmax = equal_channels(features, f"{part.path}.irreps_in1")
    if equal_channels(harmonics, f"{part.path}.irreps_in2") != (1, lmax_filter):
        raise ConversionError(f"{part.path} is not with harmonics of all degrees")
    results = parse_irreps(flags.take("irreps_out"))
    paths, places, factors = [], [], []
    for n, fields in enumerate(_instructions(part, 7)):
        l_in, l_filter, i_out, mode, has_weight, factor, _ = fields
        within = l_in in range(lmax + 1) and l_filter in range(lmax_filter + 1)
        if (mode, has_weight) != ("uvu", True) or not within:
            raise ConversionError(f"path {n} of {part.path} is of an unknown kind")
        place = _place(i_out, results, part)
        path = Path(l_in, l_filter, results[place].degree)
        if results[place].parity != (-1) ** path.l_out or sum(path) % 2:
            raise ConversionError(f"path {n} of {part.path} is of another parity")
        if results[place].channels != channels or path in paths or place in places:
            raise ConversionError(f"path {n} of {part.path} shares its result")
        paths.append(path)
        places.append(place)
        root = math.sqrt(2 * path.l_out + 1)
        factors.append(_factor(factor, part, n) / root)
    return Convolution(tuple(paths), channels, tuple(places), results, tuple(factors))


def mlp(part: Part, num_inputs: int) -> list[Tensor]:
    """Matrices ``(in, out)`` of an MLP without biases, between plain SiLUs.

    Args:
        part: A ``FullyConnectedNet``.
        num_inputs: Width of its input.

    Raises:
        ConversionError: If a layer is not what the MLP says, or not with SiLU.
    """
    widths = part.flags.take("hs")
    if not isinstance(widths, list | tuple) or len(widths) < 2:
        raise ConversionError(f"{part.path} has no widths")
    if widths[0] != num_inputs:
        raise ConversionError(f"{part.path} has {widths[0]} inputs, not {num_inputs}")
    matrices = []
    gain = 1.0
    for n in range(len(widths) - 1):
        layer = part.part(f"layer{n}", "_Layer")
        layer.flags.expect("h_in", widths[n])
        layer.flags.expect("h_out", widths[n + 1])
        layer.flags.expect("var_in", (1, 1.0))
        layer.flags.expect("var_out", (1, 1.0))
        weight = layer.take("weight", (widths[n], widths[n + 1]))
        matrices.append(weight * gain / math.sqrt(widths[n]))
        if n < len(widths) - 2:
            name, gain = activation(layer.part("act", "normalize2mom"))
            if name != "silu":
                raise ConversionError(f"{layer.path} has {name}, expected silu")
        else:
            layer.flags.expect("act", None, default=None)
    return matrices


def activation(part: Part) -> tuple[str, float]:
    """Name of a nonlinearity of e3nn, and the gain that multiplies it.

    Args:
        part: A ``normalize2mom``.

    Raises:
        ConversionError: If it is not one of silu, tanh and abs.
    """
    function, gain = part.flags.take("f"), part.flags.take("cst")
    name = FUNCTIONS.get(function.name) if isinstance(function, Global) else None
    if name is None or not isinstance(gain, float) or not 0 < gain < 100:
        raise ConversionError(f"{part.path} is an unknown nonlinearity: {function!r}")
    is_one = part.flags.expect("_is_id", (True, False))
    return name, 1.0 if is_one else gain


def _instructions(part: Part, fields: int) -> list[tuple[Any, ...]]:
    """Paths of a map, each with a number of fields."""
    found = part.flags.take("instructions")
    if not isinstance(found, list | tuple):
        raise ConversionError(f"{part.path} has no instructions")
    paths = []
    for n, record in enumerate(found):
        args = record.args if isinstance(record, Record) else ()
        if len(args) == 1 and isinstance(args[0], tuple):
            args = args[0]
        if len(args) != fields:
            raise ConversionError(
                f"path {n} of {part.path} has {len(args)} fields, expected {fields}, "
                "as in e3nn 0.4.4"
            )
        paths.append(args)
    return paths


def _split(
    part: Part, blocks: Sequence[tuple[Any, tuple[int, ...], float]]
) -> list[Tensor]:
    """Weights of a map, in a row, as blocks."""
    sizes = [math.prod(shape) for _, shape, _ in blocks]
    part.flags.expect("weight_numel", sum(sizes))
    weight = part.take("weight", (sum(sizes),))
    return [
        values.reshape(shape)
        for values, (_, shape, _) in zip(weight.split(sizes), blocks, strict=True)
    ]


def _pair(
    i_in: Any,
    irreps_in: Sequence[Irrep],
    i_out: Any,
    irreps_out: Sequence[Irrep],
    part: Part,
) -> tuple[int, int]:
    """Places of two irreps, which must be the same representation."""
    place = _place(i_in, irreps_in, part), _place(i_out, irreps_out, part)
    if irreps_in[place[0]][1:] != irreps_out[place[1]][1:]:
        raise ConversionError(f"{part.path} connects irreps that differ")
    return place


def _place(value: Any, irreps: Sequence[Irrep], part: Part) -> int:
    if type(value) is not int or not 0 <= value < len(irreps):
        raise ConversionError(f"a path of {part.path} has an irrep that is not there")
    return value


def _factor(value: Any, part: Part, n: int) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if type(value) is not float or not math.isfinite(value) or value <= 0:
        raise ConversionError(f"path {n} of {part.path} has no positive factor")
    return value


def _text(irreps: Sequence[Irrep]) -> str:
    terms = (f"{c}x{d}{'e' if p == 1 else 'o'}" for c, d, p in irreps[:8])
    return "+".join(terms)
