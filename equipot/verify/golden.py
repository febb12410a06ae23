"""Golden outputs: predictions stored in a model file when it was saved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from equipot.data.samples import sample_from_json, sample_to_json
from equipot.data.statistics import Statistics
from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.models.build import as_reference
from equipot.models.potential import Potential
from equipot.models.prediction import Output
from equipot.neighbors import build_graph
from equipot.tensor_products.agreement import (
    FLOAT64_TOLERANCE,
    ROUNDING_FACTOR,
    Difference,
    difference,
    rounding_tolerance,
)
from equipot.verify.quantities import given
from equipot.verify.result import Check
from equipot.verify.structures import MAX_ATOMS, generate_structures

UNITS = {
    "energies": "eV",
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å^3",
    "direct Hessian": "eV/Å^2",
}
"""Golden quantities; energies are those of atoms, references included."""
LARGEST_TOLERANCE = 1e-2
"""Relative difference in float32 that no file can ask for: a model whose rounding
errors reach a tenth of it is of no use in float32."""
ENERGY_ROUNDING = 16 * torch.finfo(torch.float64).eps
"""Rounding of sums of reference energies, relative to the sum."""

MAX_DIMENSIONS = 3
"""Indices of a golden quantity: structures or atoms, and two of space."""

Values = dict[str, Tensor]
"""Values of some of `UNITS`, of all structures together."""


@dataclass(frozen=True)
class GoldenOutputs:
    """What the reference backend computes in float64 for some structures."""

    generated: tuple[Atoms, ...]
    """Structures beside those that the model carries; see `golden_structures`."""
    values: Values
    """On the CPU, in float64; ``direct Hessian`` only if there is a head for it."""
    rounding: dict[str, float]
    """Largest difference of float32 from float64, in the unit of each quantity."""

    def to_json(self) -> dict[str, Any]:
        """JSON; numbers are stored exactly, and null stands for one not finite."""
        return {
            "generated": [sample_to_json(atoms) for atoms in self.generated],
            "values": {name: _to_list(v) for name, v in self.values.items()},
            "rounding": {
                name: value if math.isfinite(value) else None
                for name, value in self.rounding.items()
            },
        }

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> "GoldenOutputs":
        """Inverse of `to_json`.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part is of a wrong type.
            ValueError: If a quantity is unknown, a shape is wrong, or a structure is
                damaged.
        """
        generated = tuple(sample_from_json(sample) for sample in section["generated"])
        values = {name: _to_tensor(v) for name, v in section["values"].items()}
        rounding = {
            name: math.nan if value is None else float(value)
            for name, value in section["rounding"].items()
        }
        for found in (values, rounding):
            if set(found) not in (set(UNITS), set(UNITS) - {"direct Hessian"}):
                raise ValueError(f"golden outputs of {sorted(found)}")
        if set(values) != set(rounding):
            raise ValueError("golden outputs and their rounding errors differ in kind")
        if any(value < 0 for value in rounding.values()):
            raise ValueError("a rounding error of golden outputs is negative")
        return cls(generated, values, rounding)


def golden_structures(samples: Sequence[Atoms], statistics: Statistics) -> list[Atoms]:
    """Structures that samples lack, so that every part of the model shows in a number.

    Args:
        samples: That the model carries.
        statistics: Of its training set.

    Returns:
        Small random structures with the elements that no sample has in a structure of
        several atoms, at least one that repeats in three directions, for the stress,
        and one that repeats in none.
    """
    seen = {int(z) for atoms in samples if len(atoms) > 1 for z in atoms.numbers}
    absent = [z for z in statistics.elements if z not in seen]
    chunks = [absent[n : n + MAX_ATOMS] for n in range(0, len(absent), MAX_ATOMS)]
    periodic = any(len(a) and a.pbc.all() for a in samples)
    free = any(len(a) > 1 and not a.pbc.any() for a in samples)
    if not chunks and not (periodic and free):
        chunks = [list(statistics.elements[:MAX_ATOMS])]
    generated = []
    for number, elements in enumerate(chunks):
        some = replace(statistics, elements=tuple(elements))
        crystal, cluster = generate_structures(some, seed=number)
        if absent or not periodic:
            generated.append(crystal)
        if number == 0 and not free:
            generated.append(cluster)
    return generated


def golden_outputs(
    potential: Potential, samples: Sequence[Atoms], statistics: Statistics
) -> GoldenOutputs:
    """Outputs that a file stores beside the potential.

    Args:
        potential: Stays as it is, in any mode.
        samples: That the file carries.
        statistics: Of the training set.

    Returns:
        What the reference backend computes in float64, where the potential is.
    """
    generated = golden_structures(samples, statistics)
    structures = [*samples, *generated]
    exact = _values(as_reference(potential, torch.float64), structures)
    rounded = _values(as_reference(potential, torch.float32), structures)
    return GoldenOutputs(
        tuple(generated),
        exact,
        {
            name: difference([(rounded[name], exact[name])], 0.0).max_abs
            for name in exact
        },
    )


def golden_checks(
    potential: Potential, samples: Sequence[Atoms], golden: GoldenOutputs
) -> list[Check]:
    """Compare a potential, as it was loaded, with what it computed when it was saved.

    Args:
        potential: Under any backend, in any arithmetic; it stays as it is.
        samples: That the file carries.
        golden: What it stores.

    Returns:
        A check for each quantity.

    Raises:
        ValueError: If the numbers are not of these structures and this potential.
    """
    structures = [*samples, *golden.generated]
    atoms = sum(map(len, structures))
    stored = len(golden.values["energies"])
    if not atoms or stored != atoms or len(golden.values["energy"]) != len(structures):
        raise ValueError(
            f"golden outputs are of {len(golden.values['energy'])} structures of "
            f"{stored} atoms, the file has {len(structures)} of {atoms}"
        )
    values = _values(potential, structures)
    if set(values) != set(golden.values):
        raise ValueError(
            f"golden outputs are of {', '.join(golden.values)}; the potential has "
            f"{', '.join(values)}"
        )
    scales = _scales(potential, structures, golden)
    return [
        Check(
            quantity=name,
            unit=UNITS[name],
            name="golden outputs",
            dtype=str(potential.dtype).removeprefix("torch."),
            difference=_difference(
                name, values[name], golden, scales[name], potential.dtype
            ),
            reason=_reason(potential.dtype),
        )
        for name in values
    ]


def _values(potential: Potential, structures: Sequence[Atoms]) -> Values:
    """All quantities of all structures, in one evaluation, on the CPU in float64."""
    graphs = [build_graph(atoms, potential.cutoff) for atoms in structures]
    graph = collate(graphs).to(potential.device)
    outputs: set[Output] = {"energy", "forces", "stress"}
    prediction = potential(graph, outputs, create_graph=False)
    stress = given(prediction.stress, "stress")
    values = {
        "energies": prediction.energies,
        "energy": prediction.energy,
        "forces": given(prediction.forces, "forces"),
        "stress": stress[graph.pbc.all(dim=1)],
    }
    if potential.direct_hessian is not None:
        values["direct Hessian"] = _direct_product(potential, graphs)
    return {name: value.detach().double().cpu() for name, value in values.items()}


def _direct_product(potential: Potential, graphs: Sequence[AtomicGraph]) -> Tensor:
    """What the direct head predicts for the smallest molecule, times a vector."""
    free = [g for g in graphs if g.num_edges and not bool(g.pbc.any())]
    graph = min(free or graphs, key=lambda g: g.num_atoms)
    vector = torch.arange(3.0 * graph.num_atoms, dtype=torch.float64).cos()
    blocks = potential.hessian_direct(graph.to(potential.device))
    return blocks.products(vector.view(1, -1, 3).to(potential.device))[0]


def _scales(
    potential: Potential, structures: Sequence[Atoms], golden: GoldenOutputs
) -> dict[str, float]:
    """Size of each quantity: of energies without the references of the elements."""
    unit = 1e-3 * abs(potential.scale)
    numbers = [int(z) for atoms in structures for z in atoms.numbers]
    references = torch.tensor(
        [potential.reference_energies[z] for z in numbers], dtype=torch.float64
    )
    bound = (golden.values["energies"] - references).abs()
    sizes = torch.tensor([len(atoms) for atoms in structures])
    per_structure = [float(part.sum()) for part in bound.split(sizes.tolist())]
    densities = [len(a) / float(a.cell.volume) for a in structures if a.pbc.all()]
    floors = {
        "energies": max(unit, float(bound.max())),
        "energy": max(unit, *per_structure),
        "forces": unit,
        "stress": unit * max(densities, default=0.0),
        "direct Hessian": unit,
    }
    for name in ("forces", "stress", "direct Hessian"):
        if name in golden.values and golden.values[name].numel():
            largest = float(golden.values[name].abs().max())
            floors[name] = max(floors[name], largest)
    return floors


def _difference(
    name: str, values: Tensor, golden: GoldenOutputs, scale: float, dtype: torch.dtype
) -> Difference:
    """Distance from the golden values, with the tolerance of an arithmetic."""
    stored = golden.values[name]
    if values.shape != stored.shape:
        raise ValueError(
            f"golden {name} have the shape {tuple(stored.shape)}, expected "
            f"{tuple(values.shape)}"
        )
    if dtype == torch.float64:
        tolerance = FLOAT64_TOLERANCE
    else:
        rounding = Difference(golden.rounding[name], scale, 0.0)
        tolerance = min(rounding_tolerance(rounding, dtype), LARGEST_TOLERANCE)
    if name in ("energy", "energies") and scale > 0:
        tolerance += ENERGY_ROUNDING * float(stored.abs().max()) / scale
    largest = difference([(values, stored)], tolerance).max_abs
    return Difference(largest, scale, tolerance)


def _reason(dtype: torch.dtype) -> str:
    if dtype == torch.float64:
        return (
            "rounding of 1e-16, which layers and derivatives let grow by less than "
            "1e5, and a margin"
        )
    return (
        f"{ROUNDING_FACTOR:g} times the rounding error of float32 that the reference "
        f"had when the model was saved, and {LARGEST_TOLERANCE:g} at most"
    )


def _to_list(values: Tensor) -> Any:
    """Nested lists; null for what is not finite."""
    return _without_constants(values.tolist())


def _without_constants(values: Any) -> Any:
    if isinstance(values, list):
        return [_without_constants(value) for value in values]
    return values if math.isfinite(values) else None


def _to_tensor(values: Any) -> Tensor:
    """Inverse of `_to_list`."""
    return torch.tensor(_with_nan(values), dtype=torch.float64)


def _with_nan(values: Any, depth: int = 0) -> Any:
    if isinstance(values, list):
        if depth >= MAX_DIMENSIONS:
            raise ValueError(f"golden outputs have at most {MAX_DIMENSIONS} indices")
        return [_with_nan(value, depth + 1) for value in values]
    if values is not None and type(values) not in (int, float):
        raise TypeError(f"expected a number, got {str(values)[:40]!r}")
    return math.nan if values is None else float(values)
