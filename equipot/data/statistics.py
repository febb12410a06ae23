"""Statistics of a training set: scales, reference energies, distances."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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

UNBINDING = 100.0
"""Energy per atom in eV beyond isolated atoms that even colliding atoms do not have."""
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
    """Facts of a training set; `dataclasses.asdict` makes it JSON."""

    elements: tuple[int, ...]
    """Atomic numbers, ascending."""
    reference_energies: dict[int, float]
    """Energy of each element in eV that predictions start from."""
    reference_source: str
    """Where they come from: ``isolated_atoms``, ``given``, ``least_squares (rank 1 of
    4)`` or ``none``."""
    reference_rank: int
    """Independent compositions of a least-squares fit; the number of elements else."""
    energy_scale: float
    """Root mean square of force components in eV/Å; without forces the spread of the
    energy per atom in eV."""
    energy_shift: float
    """Mean over structures of the energy per atom, less references, in eV."""
    average_num_neighbors: float
    """Edges per atom within the cutoff."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements, such as ``"H-O"``; pairs are
    sorted by atomic number, and those never within the cutoff are left out."""
    cutoff: float
    """Radius in Å that neighbors were counted in."""
    num_structures: int
    """Structures, isolated atoms not counted."""
    num_atoms: int
    """Atoms of all structures."""
    num_edges: int
    """Directed edges of all structures."""
    element_counts: dict[str, int]
    """Atoms of each element."""
    label_counts: dict[str, int]
    """Structures with energy, with forces, with stress."""
    config_types: dict[str, int]
    """Structures of each group."""
    neighbor_ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Fewest and most neighbors within the cutoff that atoms of an element have."""
    density_range: tuple[float, float] | None = None
    """Lowest and highest number of atoms per Å^3 of structures that pairs within the
    cutoff connect in three directions, not of slabs in vacuum; None without any."""
    energy_range: tuple[float, float] | None = None
    """Lowest and highest energy in eV per atom, less references; None without one."""
    largest_force: float | None = None
    """Length of the longest force in eV/Å; None without forces."""
    warnings: tuple[str, ...] = ()
    """What a user has to know before relying on these numbers."""

    @property
    def has_training_set(self) -> bool:
        """Whether the training set is known; that of a converted model is not."""
        return self.num_structures > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Statistics":
        """Inverse of `dataclasses.asdict`, also after a way through JSON."""
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
        examples: Structures with labels; all graphs have one cutoff.
        reference_energies: Where the energies of the elements come from: a dictionary
            of symbols and eV, ``"isolated_atoms"``, ``"least_squares"``, ``"none"``, or
            ``"auto"``: isolated atoms if there are any, else least squares.
        isolated: Energy in eV of isolated atoms by atomic number.

    Returns:
        The statistics; their `warnings` tell of a reference fit without full rank.

    Raises:
        DataError: If there is no structure, an element has no reference energy, or
            structures would be bound to isolated atoms as nothing is.
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


def _without_energies(examples: Sequence[Example]) -> str | None:
    if any(not e.labels.energy.isnan() for e in examples):
        return None
    return (
        "no structure has an energy: those of the potential have an arbitrary zero for "
        "each composition and mean nothing but differences along the forces"
    )


def _real(value: Any) -> Any:
    """JSON of other programs has 3 for 3.0, and no array takes a huge integer."""
    return float(value) if type(value) is int else value


def _hessians(examples: Sequence[Example]) -> dict[str, int]:
    """Structures with a Hessian, if there are any: most sets have none."""
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
    """Whether pairs connect a structure with its images in three directions."""
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
    return float(forces.norm(dim=1).max()) if len(forces) else None


def _extremes(values: np.ndarray) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if len(values) else None


def _residual_energies(
    examples: Sequence[Example],
    elements: tuple[int, ...],
    references: ReferenceEnergies,
) -> np.ndarray:
    """Energy per atom less references, of structures that have an energy."""
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
    """What is wrong with isolated atoms that structures are bound to as nothing is."""
    if references.source not in ("isolated_atoms", "given"):
        return None
    if not any(references.energies.values()):
        return None  # a choice of zero, no energies of atoms
    for e in examples:
        numbers = e.graph.atomic_numbers
        if e.labels.energy.isnan() or not e.graph.num_edges:
            continue
        bound = binding_energy(
            numbers.tolist(), float(e.labels.energy), references.energies
        )
        if not MIN_ENERGY_PER_ATOM < bound < UNBINDING:
            return (
                f"{e.source}: with these reference energies ({references.source}) the "
                f"energy is {bound:.4g} eV per atom beyond isolated atoms; nothing is "
                f"below {MIN_ENERGY_PER_ATOM:g} (tungsten has -8.9) or above "
                f"{UNBINDING:g}: isolated atoms and structures are of different codes, "
                "pseudopotentials or units. Correct one of them, or set "
                "reference_energies to "
                '"least_squares"'
            )
    return None


def _scale(
    examples: Sequence[Example], residual: np.ndarray
) -> tuple[float, str | None]:
    """Scale of the energy, and a warning where the labels determine none."""
    forces = torch.cat([e.labels.forces for e in examples])
    forces = forces[~forces.isnan().any(dim=1)]
    if len(forces) and (rms := float(forces.square().mean().sqrt())) > 0:
        return rms, None
    if len(residual) > 1 and (spread := float(residual.std())) > 0:
        return spread, None
    return 1.0, "neither forces nor energies vary: the energy scale is 1 by default"
