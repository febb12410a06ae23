"""Readouts of MACE, reference energies, scale and shift, for one head."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.module_account import Part
from equipot.conversion.sources.mace.e3nn_maps import activation, linear


@dataclass(frozen=True)
class Head:
    """One of the heads of a file."""

    name: str
    index: int
    count: int
    """Heads of the file."""


@dataclass(frozen=True)
class Readouts:
    """Energies of atoms from scalars."""

    every_layer: bool
    hidden: int | None
    """Hidden width of the last one; None if it is linear."""
    weights: dict[str, Tensor]
    """By the names of `equipot.heads.EnergyHead`."""
    activation: Literal["silu", "tanh", "abs"] = "silu"
    remarks: tuple[str, ...] = field(default=())


def find_head(names: object, chosen: str | None) -> Head:
    """The head to convert.

    Args:
        names: What the file has as names of its heads.
        chosen: Name of one; None for the only one.

    Raises:
        ConversionError: If there is none of this name, or several and none is chosen.
    """
    if not isinstance(names, list | tuple) or not names:
        raise ConversionError("the file has no list of heads")
    if not all(isinstance(name, str) for name in names):
        raise ConversionError("a head of the file has no name")
    listed = ", ".join(str(name)[:60] for name in names[:20])
    if chosen is None and len(names) > 1:
        raise ConversionError(
            f"the model has the heads {listed}: choose one with --head"
        )
    if chosen is not None and chosen not in names:
        raise ConversionError(f"the model has no head {chosen!r}, only {listed}")
    name = names[0] if chosen is None else chosen
    return Head(name, names.index(name), len(names))


def of_head(values: Tensor, head: Head, name: str) -> float:
    """The number of a head.

    Raises:
        ConversionError: If there is not one for each head.
    """
    if values.numel() != head.count or values.ndim > 1:
        raise ConversionError(
            f"{name} has the shape {tuple(values.shape)} for {head.count} heads"
        )
    return float(values.reshape(-1)[head.index])


def reference_energies(part: Part, numbers: list[int], head: Head) -> dict[int, float]:
    """Energies of atoms in eV by atomic number from an ``AtomicEnergiesBlock``.

    Args:
        part: Of the file.
        numbers: Atomic numbers in the order of the file.
        head: To convert.

    Raises:
        ConversionError: If there is not one for each head and element.
    """
    energies = torch.atleast_2d(part.take("atomic_energies"))
    if tuple(energies.shape) != (head.count, len(numbers)):
        raise ConversionError(
            f"{part.path} holds {tuple(energies.shape)} energies for {head.count} "
            f"heads and {len(numbers)} elements"
        )
    return dict(zip(numbers, energies[head.index].tolist(), strict=True))


def read_readouts(
    parts: list[Part], num_layers: int, channels: int, head: Head
) -> Readouts:
    """Readouts of all layers, or of the last one.

    Args:
        parts: In the order of the file.
        num_layers: Of the network.
        channels: Scalars of each layer.
        head: To convert.

    Raises:
        ConversionError: If they are neither one for each layer nor one in all.
    """
    if len(parts) not in (1, num_layers):
        raise ConversionError(
            f"there are {len(parts)} readouts for {num_layers} layers"
        )
    *early, last = parts
    weights = {
        f"head.early.{n}.weight": _column(part, channels, head)[None]
        for n, part in enumerate(early)
    }
    every_layer = len(parts) == num_layers
    if last.kind == "LinearReadoutBlock":
        weights["head.last.weight"] = _column(last, channels, head)[None]
        return Readouts(every_layer, None, weights)
    first, kind, gain, second = _mlp(last, channels, head)
    if kind is None:
        weights["head.last.weight"] = (first @ second).T
        return Readouts(every_layer, None, weights)
    weights["head.last.0.weight"] = first.T.contiguous()
    weights["head.last.0.bias"] = first.new_zeros(first.shape[1])
    weights["head.last.2.weight"] = second.T * gain
    remarks: tuple[str, ...] = ()
    if kind == "abs":
        remarks = (
            "its readout has the nonlinearity abs: forces jump where it changes sign",
        )
    return Readouts(every_layer, first.shape[1], weights, kind, remarks)


def _mlp(
    part: Part, channels: int, head: Head
) -> tuple[Tensor, Literal["silu", "tanh", "abs"] | None, float, Tensor]:
    """Matrices ``(channels, hidden)`` and ``(hidden, 1)`` of the head, and between."""
    part.flags.expect("num_heads", head.count, default=1)
    first = _scalars(part.part("linear_1", "Linear"), channels)
    hidden = first.shape[1]
    second = _scalars(part.part("linear_2", "Linear"), hidden)
    if hidden % head.count or second.shape[1] != head.count:
        raise ConversionError(
            f"{part.path} has {hidden} hidden scalars and {second.shape[1]} results "
            f"for {head.count} heads"
        )
    width = hidden // head.count
    own = slice(head.index * width, (head.index + 1) * width)
    between = part.part("non_linearity", "Activation")
    kind: Literal["silu", "tanh", "abs"] | None = None
    gain = 1.0
    if between.has("acts.0"):
        name, gain = activation(between.part("acts.0", "normalize2mom"))
        kind = _literal(name)
    if between.has("acts.1"):
        raise ConversionError(f"{between.path} has several nonlinearities")
    return first[:, own], kind, gain, second[own, head.index, None]


def _literal(name: str) -> Literal["silu", "tanh", "abs"]:
    match name:
        case "silu" | "tanh" | "abs":
            return name
    raise ConversionError(f"the nonlinearity {name} is unknown")


def _column(part: Part, channels: int, head: Head) -> Tensor:
    """Weights ``(channels,)`` of the head of a linear readout."""
    if part.kind != "LinearReadoutBlock":
        raise ConversionError(f"{part.path} is of class {part.kind}, expected linear")
    matrix = _scalars(part.part("linear", "Linear"), channels)
    if matrix.shape[1] != head.count:
        raise ConversionError(
            f"{part.path} has {matrix.shape[1]} results for {head.count} heads"
        )
    return matrix[:, head.index]


def _scalars(part: Part, channels: int) -> Tensor:
    """The only matrix of a linear map, between scalars."""
    found = linear(part)
    if list(found.matrices) != [(0, 0)] or found.irreps_in[0] != (channels, 0, 1):
        raise ConversionError(f"{part.path} is not a map of {channels} scalars")
    return found.matrices[0, 0]
