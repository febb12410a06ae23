"""Compared quantities: energy, forces, stress, and Hessian-vector products."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output
from equipot.verify.subject import abilities

UNITS = {
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å^3",
    "Hessian-vector": "eV/Å^2",
}
"""Quantities in the order in which they are reported."""


@dataclass(frozen=True)
class Probe:
    """One structure and the directions in which it is differentiated."""

    graph: AtomicGraph
    """Graph with edges somewhat beyond the cutoff, so that atoms can move."""
    directions: Float64[Tensor, "directions atoms 3"]
    """Displacement directions, normalized over all atoms."""

    @property
    def periodic(self) -> bool:
        """Whether there is a volume, and thus a stress."""
        return bool(self.graph.pbc.all())


Values = dict[str, list[Tensor]]
"""Values of each of `UNITS`, one tensor for each structure that has it."""


def evaluate(potential: EnergyModel, probes: Sequence[Probe]) -> Values:
    """Quantities of all structures.

    Args:
        potential: Potential; weights and mode are not modified.
        probes: Probes on the device of the potential.
    """
    values: Values = {name: [] for name in UNITS}
    for probe in probes:
        for name, value in _evaluate(potential, probe).items():
            values[name].append(value)
    return values


def smallest_scales(unit: float, probes: Sequence[Probe]) -> dict[str, float]:
    """Lower bounds of the scales of quantities, for forces that vanish by symmetry.

    Rounding errors are relative to these scales.

    Args:
        unit: Lower bound of the scale of forces in eV/Å, or energies in eV.
        probes: Probes, whose densities determine the scale of stress.
    """
    density = max(
        (
            len(p.graph.positions) / float(torch.linalg.det(p.graph.cell[0]).abs())
            for p in probes
            if p.periodic
        ),
        default=0.0,
    )
    return {
        "energy": unit,
        "forces": unit,
        "stress": unit * density,
        "Hessian-vector": unit,
    }


def given(value: Tensor | None, name: str) -> Tensor:
    """Return a requested output.

    Raises:
        ValueError: If it is missing.
    """
    if value is None:
        raise ValueError(f"the model returned no {name} although it was requested")
    return value


def _evaluate(potential: EnergyModel, probe: Probe) -> dict[str, Tensor]:
    positions = probe.graph.positions.detach().requires_grad_()
    graph = replace(probe.graph, positions=positions)
    outputs: set[Output] = {"energy", "forces"}
    if probe.periodic and "stress" in abilities(potential):
        outputs.add("stress")
    prediction = potential(graph, outputs, create_graph=True)
    forces = given(prediction.forces, "forces")
    products = [
        hessian_vector_product(forces, positions, direction)
        for direction in probe.directions
    ]
    values = {
        "energy": prediction.energy.detach(),
        "forces": forces.detach(),
        "Hessian-vector": torch.stack(products),
    }
    if "stress" in outputs:
        values["stress"] = given(prediction.stress, "stress").detach()
    return values
