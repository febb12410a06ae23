"""Statistics of a training set: scales, reference energies, distances."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Int
from torch import Tensor

from equipot.data.labels import Example
from equipot.data.pairs import pair_distances
from equipot.data.reading.errors import DataError
from equipot.data.references import (
    ReferenceChoice,
    ReferenceEnergies,
    composition_matrix,
    reference_energies_of,
)
from equipot.data.total_energies import MIN_ENERGY_PER_ATOM, binding_energy
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.neighbors import dimensionality

MAX_BINDING_ENERGY_PER_ATOM = 100.0
"""Maximum energy per atom in eV above isolated atoms, even of colliding atoms."""
UNKNOWN_TRAINING_SET = (
    "the training set of this converted model is not known, so there is no domain of "
    "validity: nothing warns of structures that it extrapolates to; convert it again "
    "with --domain STRUCTURES, structures like those that it was trained on"
)
"""Warning of statistics without a training set."""
FLOATS = (
    "energy_scale",
    "energy_shift",
    "average_num_neighbors",
    "cutoff",
    "largest_force",
)


@dataclass(frozen=True)
class Statistics:
    """Statistics of a training set; serialized to JSON by `dataclasses.asdict`."""

    elements: tuple[int, ...]
    """Atomic numbers, ascending."""
    reference_energies: dict[int, float]
    """Reference energy of each element in eV."""
    reference_source: str
    """Source of the reference energies: ``isolated_atoms``, ``given``,
    ``least_squares (rank 1 of 4)`` or ``none``."""
    reference_rank: int
    """Rank of a least-squares fit; otherwise the number of elements."""
    energy_scale: float
    """Root mean square of force components in eV/Å; without forces the standard
    deviation of the energy per atom in eV."""
    energy_shift: float
    """Mean over structures of the energy per atom minus reference energies, in eV."""
    average_num_neighbors: float
    """Mean number of edges per atom within the cutoff."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements, such as ``"H-O"``, sorted by
    atomic number; pairs beyond the cutoff are omitted."""
    cutoff: float
    """Cutoff radius in Å."""
    num_structures: int
    """Number of structures without isolated atoms."""
    num_atoms: int
    """Number of atoms of all structures."""
    num_edges: int
    """Number of directed edges of all structures."""
    element_counts: dict[str, int]
    """Number of atoms of each element."""
    label_counts: dict[str, int]
    """Number of structures with energy, with forces, and with stress."""
    config_types: dict[str, int]
    """Number of structures in each group."""
    neighbor_ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Minimum and maximum number of neighbors within the cutoff, by element."""
    density_range: tuple[float, float] | None = None
    """Minimum and maximum number of atoms per Å^3, over structures connected within the
    cutoff in three directions (not slabs in vacuum); None if there are none."""
    energy_range: tuple[float, float] | None = None
    """Minimum and maximum energy per atom minus reference energies in eV, or None."""
    largest_force: float | None = None
    """Magnitude of the largest force in eV/Å; None if there are none but zeros."""
    warnings: tuple[str, ...] = ()
    """Limitations of these numbers."""

    @property
    def has_training_set(self) -> bool:
        """Whether the training set is known; that of a converted model is not."""
        return self.num_structures > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Statistics":
        """Inverse of `dataclasses.asdict`, also after serialization to JSON."""
        known = {field.name for field in fields(cls)}
        numbers = {n: _real(value) for n, value in values.items() if n in FLOATS}
        converted = {
            **values,
            **numbers,
            "elements": tuple(values["elements"]),
            "reference_energies": {
                int(z): float(e) for z, e in values["reference_energies"].items()
            },
            "neighbor_ranges": {
                symbol: tuple(counts)
                for symbol, counts in values.get("neighbor_ranges", {}).items()
            },
            "warnings": tuple(values.get("warnings", ())),
        }
        for name in ("density_range", "energy_range"):
            if values.get(name) is not None:
                converted[name] = tuple(_real(value) for value in values[name])
        return cls(**{k: v for k, v in converted.items() if k in known})


def compute_statistics(
    examples: Sequence[Example],
    *,
    reference_energies: ReferenceChoice = "auto",
    isolated: Mapping[int, float] | None = None,
) -> Statistics:
    """Statistics of a training set.

    Args:
        examples: Structures with labels; all graphs have the same cutoff.
        reference_energies: Source of the reference energies: a dictionary of symbols
            and eV, ``"isolated_atoms"``, ``"least_squares"``, ``"none"``, or
            ``"auto"``: isolated atoms if there are any, else least squares.
        isolated: Energies in eV of isolated atoms by atomic number.

    Returns:
        The statistics, with `warnings` about a rank-deficient reference fit.

    Raises:
        DataError: If there is no structure, an element has no reference energy, or
            binding energies relative to isolated atoms are impossible.
    """
    if not examples:
        raise DataError("there is no training structure")
    elements = tuple(
        torch.cat([e.graph.atomic_numbers for e in examples]).unique().tolist()
    )
    references = reference_energies_of(
        examples, elements, reference_energies, isolated or {}
    )
    impossible = _impossible_binding(examples, references)
    if impossible is not None and references.source == "isolated_atoms":
        raise DataError(impossible)
    residual = _residual_energies(examples, elements, references)
    scale, warning = _scale(examples, residual)
    edges = sum(_edges_within_cutoff(e.graph) for e in examples)
    atoms = sum(e.graph.num_atoms for e in examples)
    counts = Counter(torch.cat([e.graph.atomic_numbers for e in examples]).tolist())
    return Statistics(
        elements=elements,
        reference_energies=references.energies,
        reference_source=references.source,
        reference_rank=references.rank,
        energy_scale=scale,
        energy_shift=float(residual.mean()) if len(residual) else 0.0,
        average_num_neighbors=edges / atoms,
        minimum_distances=pair_distances([e.graph for e in examples]),
        cutoff=examples[0].graph.cutoff,
        num_structures=len(examples),
        num_atoms=atoms,
        num_edges=edges,
        element_counts={chemical_symbols[z]: counts[z] for z in elements},
        label_counts={
            name: sum(not getattr(e.labels, name).isnan().all() for e in examples)
            for name in ("energy", "forces", "stress")
        }
        | _hessians(examples),
        config_types=dict(Counter(e.config_type for e in examples)),
        neighbor_ranges=_neighbor_ranges([e.graph for e in examples]),
        density_range=_density_range([e.graph for e in examples]),
        energy_range=_extremes(residual),
        largest_force=_largest_force(examples),
        warnings=tuple(
            w
            for w in (
                *references.warnings,
                impossible,
                _without_energies(examples),
                warning,
            )
            if w is not None
        ),
    )


def domain_of_both(
    statistics: Statistics, other: Statistics, elements: Collection[int]
) -> Statistics:
    """Statistics whose ranges cover another training set as well.

    Counts stay those of the first set. Ranges of energies are relative to the reference
    energies of each set.

    Args:
        statistics: Of a training set.
        other: Of another one; it may have none.
        elements: Atomic numbers to keep.
    """
    symbols = {chemical_symbols[z] for z in elements}
    distances = dict(other.minimum_distances)
    for pair, distance in statistics.minimum_distances.items():
        distances[pair] = min(distance, distances.get(pair, distance))
    neighbors = dict(other.neighbor_ranges)
    for symbol, counts in statistics.neighbor_ranges.items():
        low, high = neighbors.get(symbol, counts)
        neighbors[symbol] = (min(low, counts[0]), max(high, counts[1]))
    forces = [
        f for f in (statistics.largest_force, other.largest_force) if f is not None
    ]
    return replace(
        statistics,
        minimum_distances={
            pair: d for pair, d in distances.items() if set(pair.split("-")) <= symbols
        },
        neighbor_ranges={s: c for s, c in neighbors.items() if s in symbols},
        density_range=_both(statistics.density_range, other.density_range),
        energy_range=_both(statistics.energy_range, other.energy_range),
        largest_force=max(forces, default=None),
    )


def _both(
    a: tuple[float, float] | None, b: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Range that covers two."""
    known = [r for r in (a, b) if r is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _without_energies(examples: Sequence[Example]) -> str | None:
    if any(not e.labels.energy.isnan() for e in examples):
        return None
    return (
        "no structure has an energy: energies of the potential have an arbitrary zero "
        "for each composition; only their differences along the forces are meaningful"
    )


def _real(value: Any) -> Any:
    """Convert integers to float: JSON may have 3 for 3.0, and arrays may overflow."""
    return float(value) if type(value) is int else value


def _hessians(examples: Sequence[Example]) -> dict[str, int]:
    """Number of structures with a Hessian, if there are any: most sets have none."""
    count = sum(e.labels.hessian is not None for e in examples)
    return {"hessian": count} if count else {}


def _edges_within_cutoff(graph: AtomicGraph) -> int:
    return int(_neighbor_counts(graph).sum())


def _neighbor_counts(graph: AtomicGraph) -> Int[Tensor, " atoms"]:
    inside = edge_vectors(graph).norm(dim=1) < graph.cutoff
    return torch.bincount(graph.edge_index[1][inside], minlength=graph.num_atoms)


def _neighbor_ranges(graphs: Sequence[AtomicGraph]) -> dict[str, tuple[int, int]]:
    counts = torch.cat([_neighbor_counts(graph) for graph in graphs])
    numbers = torch.cat([graph.atomic_numbers for graph in graphs])
    return {
        chemical_symbols[z]: (int(of_z.min()), int(of_z.max()))
        for z in numbers.unique().tolist()
        for of_z in [counts[numbers == z]]
    }


def _density_range(graphs: Sequence[AtomicGraph]) -> tuple[float, float] | None:
    densities = [
        graph.num_atoms / float(torch.linalg.det(graph.cell[0].double()).abs())
        for graph in graphs
        if bool(graph.pbc.all()) and _is_bulk(graph)
    ]
    return _extremes(np.array(densities))


def _is_bulk(graph: AtomicGraph) -> bool:
    """Whether edges connect a structure with its images in three directions."""
    inside = edge_vectors(graph).norm(dim=1) < graph.cutoff
    return (
        dimensionality(
            graph.edge_index[:, inside].numpy(),
            graph.edge_shift[inside].numpy(),
            graph.num_atoms,
        )
        == 3
    )


def _largest_force(examples: Sequence[Example]) -> float | None:
    forces = torch.cat([e.labels.forces for e in examples])
    forces = forces[~forces.isnan().any(dim=1)]
    # zero forces of structures at rest are no limit
    return (float(forces.norm(dim=1).max()) or None) if len(forces) else None


def _extremes(values: np.ndarray) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if len(values) else None


def _residual_energies(
    examples: Sequence[Example],
    elements: tuple[int, ...],
    references: ReferenceEnergies,
) -> np.ndarray:
    """Energy per atom minus reference energies, of structures with an energy."""
    labeled = [e for e in examples if not e.labels.energy.isnan()]
    if not labeled:
        return np.zeros(0)
    counts = composition_matrix([e.graph.atomic_numbers for e in labeled], elements)
    energy = np.array([float(e.labels.energy) for e in labeled])
    offset = counts @ np.array([references.energies[z] for z in elements])
    return (energy - offset) / counts.sum(axis=1)


def _impossible_binding(
    examples: Sequence[Example], references: ReferenceEnergies
) -> str | None:
    """Message about impossible binding energies relative to isolated atoms, or None."""
    if references.source not in ("isolated_atoms", "given"):
        return None
    if not any(references.energies.values()):
        return None  # the zero is arbitrary
    for e in examples:
        numbers = e.graph.atomic_numbers
        if e.labels.energy.isnan() or not e.graph.num_edges:
            continue
        bound = binding_energy(
            numbers.tolist(), float(e.labels.energy), references.energies
        )
        if not MIN_ENERGY_PER_ATOM < bound < MAX_BINDING_ENERGY_PER_ATOM:
            return (
                f"{e.source}: with these reference energies ({references.source}) the "
                f"energy is {bound:.4g} eV per atom beyond isolated atoms, outside "
                f"{MIN_ENERGY_PER_ATOM:g} (tungsten has -8.9) to "
                f"{MAX_BINDING_ENERGY_PER_ATOM:g}: isolated atoms and structures "
                "have different codes, pseudopotentials or units. Correct one of them, "
                "or set reference_energies to "
                '"least_squares"'
            )
    return None


def _scale(
    examples: Sequence[Example], residual: np.ndarray
) -> tuple[float, str | None]:
    """Energy scale, and a warning if the labels do not determine one."""
    forces = torch.cat([e.labels.forces for e in examples])
    forces = forces[~forces.isnan().any(dim=1)]
    if len(forces) and (rms := float(forces.square().mean().sqrt())) > 0:
        return rms, None
    if len(residual) > 1 and (spread := float(residual.std())) > 0:
        return spread, None
    return 1.0, "neither forces nor energies vary: the energy scale is 1 by default"
