"""Spread of the predictions of a committee for one structure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.calculators import EquipotCalculator
from equipot.models.committee import Committee
from equipot.workflows.second_derivatives import model_graph


@dataclass(frozen=True)
class CommitteeSpread:
    """Predictions of all members for one structure; standard deviations use n - 1."""

    structure: str
    """Description of the structure, such as ``relaxed structure``."""
    energies: Float[np.ndarray, " members"]
    """Total energies predicted by the members, in eV."""
    forces: Float[np.ndarray, " atoms"]
    """Standard deviation of the force on each atom in eV/Å, over all directions."""

    @property
    def energy(self) -> float:
        """Standard deviation of the energy in eV."""
        return float(self.energies.std(ddof=1))

    @property
    def energy_per_atom(self) -> float:
        """Standard deviation of the energy in eV per atom."""
        return self.energy / len(self.forces)

    @property
    def largest_force(self) -> float:
        """Largest standard deviation of the force on an atom, in eV/Å."""
        return float(self.forces.max())

    def sentence(self) -> str:
        """Summary in one sentence, for a terminal or a report."""
        return (
            f"committee of {len(self.energies)} at the {self.structure}: energy spread "
            f"{1e3 * self.energy_per_atom:.3g} meV/atom, largest force spread "
            f"{self.largest_force:.3g} eV/Å on atom {int(self.forces.argmax())}"
        )

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "structure": self.structure,
            "members": len(self.energies),
            "energies_ev": self.energies.tolist(),
            "energy_spread_ev": self.energy,
            "energy_spread_ev_per_atom": self.energy_per_atom,
            "largest_force_spread_ev_per_angstrom": self.largest_force,
            "largest_force_spread_at_atom": int(self.forces.argmax()),
        }


def committee_spread(
    calculator: EquipotCalculator, atoms: Atoms, structure: str
) -> CommitteeSpread | None:
    """Evaluate all members of a committee for a structure.

    Args:
        calculator: Calculator of one potential or of a committee.
        atoms: Structure to evaluate.
        structure: Description of the structure.

    Returns:
        Predictions of the members; None for a single potential.
    """
    committee = calculator.potential
    if not isinstance(committee, Committee):
        return None
    graph = model_graph(calculator, atoms)
    found = committee(graph, ("energy", "forces"), create_graph=False)
    forces = found.forces_spread
    if forces is None:
        raise ValueError("the committee returned no forces")
    return CommitteeSpread(
        structure=structure,
        energies=np.array([float(member.energy[0]) for member in found.members]),
        forces=forces.detach().double().cpu().numpy(),
    )


def difference_spread(first: CommitteeSpread, second: CommitteeSpread) -> float:
    """Standard deviation over members of an energy difference between two structures.

    Args:
        first: Predictions for the first structure.
        second: Predictions of the same members for the second structure.

    Returns:
        Standard deviation in eV.
    """
    return float((second.energies - first.energies).std(ddof=1))
