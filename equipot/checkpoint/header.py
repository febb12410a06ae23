"""Validation of the header of a model file before anything is built from it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from equipot.config.model import ModelConfig
from equipot.data.pairs import parse_pair
from equipot.data.reading.geometry import check_geometry
from equipot.data.samples import sample_from_json
from equipot.data.statistics import Statistics
from equipot.models.build import weight_shapes
from equipot.verify.golden import GoldenOutputs

MAX_SAMPLES = 16
MAX_SAMPLE_ATOMS = 2000
"""Maximum number of atoms in all samples, ten times the number written."""
MAX_ATOMS_PER_STRUCTURE = 10**5
"""Maximum number of atoms per structure of a training set."""
MAX_ERROR_LENGTH = 1000
"""Maximum number of characters of another library's error in a message."""
_STATISTICS = TypeAdapter(Statistics)


def check_statistics(values: Any) -> None:
    """Reject invalid statistics of a training set.

    Args:
        values: Section ``statistics`` of a header.

    Raises:
        ValueError: If a key is missing, has a wrong type, or an invalid value.
    """
    try:
        statistics = Statistics.from_dict(values)
        _STATISTICS.validate_json(json.dumps(vars(statistics)), strict=True)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"statistics: {short(error)}") from error
    elements = statistics.elements
    known = all(type(z) is int and 1 <= z <= 118 for z in elements)
    if not elements or not known or list(elements) != sorted(set(elements)):
        raise ValueError(
            "statistics: elements must be atomic numbers from 1 to 118, ascending, got "
            f"{str(elements)[:60]}"
        )
    if missing := set(elements) - set(statistics.reference_energies):
        raise ValueError(f"statistics: no reference energy of Z={sorted(missing)}")
    for name, number in _numbers(statistics).items():
        if not math.isfinite(number):
            raise ValueError(f"statistics: {name} is {number}")
    _check_positive(statistics)
    _check_ranges(statistics)


def _numbers(statistics: Statistics) -> dict[str, float]:
    """All numbers that may have any sign, by name."""
    references = statistics.reference_energies
    return {
        **{f"the reference energy of Z={z}": e for z, e in references.items()},
        "energy_shift": statistics.energy_shift,
        "energy_scale": statistics.energy_scale,
    }


def _check_positive(statistics: Statistics) -> None:
    positive = {
        "average_num_neighbors": statistics.average_num_neighbors,
        "cutoff": statistics.cutoff,
    }
    for pair, distance in statistics.minimum_distances.items():
        try:
            parse_pair(pair)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"statistics: minimum_distances has the pair {pair[:60]!r}"
            ) from error
        positive[f"the distance {pair}"] = distance
    for name, number in positive.items():
        if not 0 < number < math.inf:
            raise ValueError(f"statistics: {name} must be positive, got {number}")
    structures, atoms = statistics.num_structures, statistics.num_atoms
    if min(structures, atoms, statistics.num_edges) < 0 or (
        atoms > MAX_ATOMS_PER_STRUCTURE * max(structures, 1)
    ):
        raise ValueError(
            f"statistics: {structures} structures of {atoms} atoms and "
            f"{statistics.num_edges} edges are inconsistent"
        )


def _check_ranges(statistics: Statistics) -> None:
    """Reject empty or infinite ranges of a domain."""
    force = statistics.largest_force
    ranges = {
        **{f"neighbors of {z}": r for z, r in statistics.neighbor_ranges.items()},
        "density": statistics.density_range,
        "energy": statistics.energy_range,
        "force": None if force is None else (0.0, force),
    }
    for name, extremes in ranges.items():
        if extremes is None:
            continue
        low, high = extremes
        if not -math.inf < low <= high < math.inf:
            raise ValueError(f"statistics: the range of {name[:60]} is {low} to {high}")


def check_samples(values: Any) -> None:
    """Reject sample structures that are invalid, or too large for verification.

    Args:
        values: Section ``samples`` of a header.

    Raises:
        ValueError: If one is invalid.
    """
    if not isinstance(values, list) or len(values) > MAX_SAMPLES:
        raise ValueError(f"samples: expected a list of up to {MAX_SAMPLES} structures")
    total = 0
    for number, sample in enumerate(values):
        try:
            atoms = sample_from_json(sample)
            check_geometry(atoms, "")
        except Exception as error:  # ASE raises any type
            raise ValueError(f"sample {number}: {short(error)}") from error
        total += len(atoms)
    if total > MAX_SAMPLE_ATOMS:
        raise ValueError(f"samples: {total} atoms, expected up to {MAX_SAMPLE_ATOMS}")


def check_golden(section: Any) -> None:
    """Reject golden outputs with invalid values or structures.

    Args:
        section: Section ``golden`` of a header; None in files before format 4.

    Raises:
        ValueError: If they are invalid.
    """
    if section is None:
        return
    try:
        check_samples(section["generated"])
        GoldenOutputs.from_json(section)
        sealed = section["sealed"]
        texts = [text for item in sealed.items() for text in item]
    except Exception as error:  # ASE raises any type
        raise ValueError(f"golden outputs: {short(error)}") from error
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("golden outputs: sealed must map keys to hashes")


def check_units(section: Any) -> None:
    """Reject a section of units that does not map quantities to units.

    Args:
        section: Section ``units`` of a header.

    Raises:
        ValueError: If it does not.
    """
    texts = [*section, *section.values()] if isinstance(section, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("units: expected quantities and their units")


def check_weights(
    config: ModelConfig, statistics: Statistics, tensors: Mapping[str, Tensor]
) -> None:
    """Reject weights that do not match the architecture, before it is built.

    The file contains all weights, so memory is bounded by the size of the file.

    Args:
        config: Architecture.
        statistics: Statistics, for the elements.
        tensors: Weights of the file by name.

    Raises:
        ValueError: If one is missing, unknown, has another shape, or is not a finite
            real number.
    """
    check_depth(config, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"weight {name[:60]!r} has type {tensor.dtype}")
    declared = weight_shapes(config, statistics)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    for name in sorted(declared.keys() | found.keys()):
        if declared.get(name) != found.get(name):
            raise ValueError(
                f"weight {name[:60]!r} has shape {_shape(declared.get(name))} in the "
                f"architecture of the header and {_shape(found.get(name))} in the "
                "file"
            )
    check_finite(tensors)


def check_depth(config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Reject an architecture with more layers than tensors.

    Building it, even without memory, takes a time that grows with its layers.

    Raises:
        ValueError: If there are fewer tensors than layers.
    """
    depth = max(config.num_layers, config.readout_depth)
    if depth > len(tensors):
        raise ValueError(
            f"{depth} layers in the header, but the file has {len(tensors)} weight "
            "tensors; expected at least one for each layer"
        )


def _shape(size: torch.Size | None) -> str:
    return "none" if size is None else str(tuple(size))


def check_finite(tensors: Mapping[str, Tensor] | nn.Module) -> None:
    """Reject weights that are not finite.

    Raises:
        ValueError: If one is not finite; the message names its tensor.
    """
    if isinstance(tensors, nn.Module):
        tensors = tensors.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(
                f"weights in {name[:60]!r} are not finite in {tensor.dtype}; train "
                "again, or go back to an earlier model"
            )


def short(error: Exception) -> str:
    """Type and message of another library's error."""
    return f"{type(error).__name__}: {str(error)[:MAX_ERROR_LENGTH]}"
