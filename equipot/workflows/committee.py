"""How far the members of a committee are apart at a structure."""

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
    """Predictions of all members for one structure, and standard deviations (n - 1)."""

    structure: str
    """Which one it is, in words."""
    energies: Float[np.ndarray, " members"]
    """Of the members, in eV for all atoms."""
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
        """In eV/Å."""
        return float(self.forces.max())

    def sentence(self) -> str:
        """For a terminal or a page."""
        return (
            f"committee of {len(self.energies)} at the {self.structure}: spread of the "
            f"energy {1e3 * self.energy_per_atom:.3g} meV/atom, largest of a force "
            f"{self.largest_force:.3g} eV/Å, on atom {int(self.forces.argmax())}"
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
    """Ask all members of a committee about a structure.

    Args:
        calculator: Of one potential or several.
        atoms: The structure.
        structure: Which one it is, in words.

    Returns:
        What they say; None for a single potential.
    """
    committee = calculator.potential
    if not isinstance(committee, Committee):
        return None
    graph = model_graph(calculator, atoms)
    found = committee(graph, ("energy", "forces"), create_graph=False)
    forces = found.forces_spread
    if forces is None:
        raise ValueError("a committee was asked for forces and gave none")
    return CommitteeSpread(
        structure=structure,
        energies=np.array([float(member.energy[0]) for member in found.members]),
        forces=forces.detach().double().cpu().numpy(),
    )


def difference_spread(first: CommitteeSpread, second: CommitteeSpread) -> float:
    """Standard deviation in eV of what members say of the energy between structures.

    Args:
        first: From here.
        second: To there.
    """
    return float((second.energies - first.energies).std(ddof=1))
