"""`EquipotModel`: a potential as a model of torch-sim."""

from typing import Any

import ase
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from equipot import Potential
from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.neighbors import build_graph


class EquipotModel(ModelInterface):
    """Energy in eV, forces in eV/Å and stress in eV/Å^3 of batches of torch-sim.

    Args:
        potential: Used where and as it is.
        compute_stress: Whether to; structures without three periodic directions have
            none, and torch-sim asks before it runs them.
    """

    def __init__(self, potential: Potential, *, compute_stress: bool = True) -> None:
        super().__init__()
        self.potential = potential.eval()
        self._device = potential.device
        self._dtype = potential.dtype
        self._compute_forces = True
        self._compute_stress = compute_stress

    def forward(self, state: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Predict for all systems of a state, or of its dictionary."""
        if not isinstance(state, SimState):
            state = SimState(**state)
        outputs = {"energy", "forces"} | ({"stress"} if self.compute_stress else set())
        prediction = self.potential(
            _graph(state, self.potential.cutoff).to(self.device), outputs
        )
        results = {"energy": prediction.energy, "forces": prediction.forces}
        if self.compute_stress:
            results["stress"] = prediction.stress
        return {name: value.to(state.dtype) for name, value in results.items()}


def _graph(state: SimState, cutoff: float) -> AtomicGraph:
    """Graph of a state, whose cells hold lattice vectors as columns."""
    positions = state.positions.detach().double().cpu().numpy()
    numbers = state.atomic_numbers.cpu().numpy()
    owners = state.system_idx.cpu().numpy()
    cells = state.row_vector_cell.detach().double().cpu().numpy()
    return collate(
        [
            build_graph(
                ase.Atoms(
                    numbers[owners == n],
                    positions[owners == n],
                    cell=cell,
                    pbc=state.pbc,
                ),
                cutoff,
            )
            for n, cell in enumerate(cells)
        ]
    )
