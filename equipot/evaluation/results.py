"""Results of an evaluation: predictions and labels for reports, tables and plots."""

from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Compared:
    """Labels and predictions of the same shape; labels are NaN if missing."""

    reference: Float[np.ndarray, "*shape"]
    """Labels."""
    predicted: Float[np.ndarray, "*shape"]
    """Predictions."""

    @property
    def error(self) -> Float[np.ndarray, "*shape"]:
        """Prediction minus label."""
        return self.predicted - self.reference


@dataclass(frozen=True)
class Spread:
    """Spread of the members of a committee: standard deviations (n - 1)."""

    members: int
    """Number of members."""
    energy: Float[np.ndarray, " structures"]
    """Standard deviation of the energy in eV."""
    forces: Float[np.ndarray, " atoms"]
    """Standard deviation of the force on each atom in eV/Å, over all directions."""


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a potential for labeled structures. Arrays are float64."""

    source: tuple[str, ...]
    """File and index of every structure, such as ``test.xyz#12``."""
    config_type: tuple[str, ...]
    """Group of every structure."""
    structure: Int[np.ndarray, " atoms"]
    """Structure index of every atom, ascending."""
    atomic_numbers: Int[np.ndarray, " atoms"]
    """Atomic numbers."""
    positions: Float[np.ndarray, "atoms 3"]
    """Cartesian coordinates in Å."""
    cell: Float[np.ndarray, "structures 3 3"]
    """Lattice vectors as rows in Å."""
    pbc: Bool[np.ndarray, "structures 3"]
    """Periodic directions."""
    energy: Compared
    """Total energies in eV, shape ``(structures,)``."""
    forces: Compared
    """Forces in eV/Å, shape ``(atoms, 3)``."""
    stress: Compared
    """Stresses in eV/Å^3, shape ``(structures, 3, 3)``."""
    baseline: Float[np.ndarray, " structures"]
    """Sum of reference energies of the atoms in eV, to which energies are relative."""
    closest: tuple[dict[str, float], ...]
    """Shortest distance in Å by pair of elements within the cutoff, per structure."""
    metrics: dict[str, Any]
    """Result of `ErrorAccumulator.compute`, with ``per_file`` for each property."""
    hessians: dict[str, dict[str, Any]] = field(default_factory=dict)
    """See `equipot.evaluation.hessians.hessian_errors`; empty without labels."""

    spread: Spread | None = None
    """Spread of the members, for a committee."""

    @property
    def num_structures(self) -> int:
        """Number of evaluated structures."""
        return len(self.source)

    @property
    def num_atoms(self) -> Int[np.ndarray, " structures"]:
        """Number of atoms of every structure."""
        return np.bincount(self.structure, minlength=self.num_structures)

    def atoms_of(self, structure: int) -> slice:
        """Slice of the atoms of one structure."""
        first, last = np.searchsorted(self.structure, [structure, structure + 1])
        return slice(int(first), int(last))

    @property
    def short_source(self) -> tuple[str, ...]:
        """Sources without the common folders of all files."""
        parents = [Path(file_of(source)).parent.parts for source in self.source]
        levels = zip(*parents, strict=False)
        shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
        return tuple(str(Path(*Path(s).parts[shared:])) for s in self.source)

    @property
    def energy_per_atom(self) -> Compared:
        """Energies relative to `baseline` in eV/atom."""
        atoms = np.maximum(self.num_atoms, 1)
        return Compared(
            (self.energy.reference - self.baseline) / atoms,
            (self.energy.predicted - self.baseline) / atoms,
        )

    @property
    def largest_force_error(self) -> Float[np.ndarray, " structures"]:
        """Largest force error (norm) of each structure in eV/Å; NaN without."""
        length = np.linalg.norm(self.forces.error, axis=1)
        labeled = np.isfinite(length)
        largest = np.full(self.num_structures, -np.inf)
        np.maximum.at(largest, self.structure[labeled], length[labeled])
        return np.where(np.isfinite(largest), largest, np.nan)


def file_of(source: str) -> str:
    """File of a structure: its source without the index."""
    return source.rpartition("#")[0] or source
