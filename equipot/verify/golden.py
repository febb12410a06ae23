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
"""Golden quantities; energies are per atom and include reference energies."""
MAX_TOLERANCE = 1e-2
"""Maximum relative tolerance in float32, independent of the file: a model with a tenth
of it as rounding error is not usable in float32."""
ENERGY_ROUNDING = 16 * torch.finfo(torch.float64).eps
"""Relative rounding error of sums of reference energies."""

MAX_DIMENSIONS = 3
"""Maximum number of axes: structures or atoms, and two spatial ones."""

Values = dict[str, Tensor]
"""Values of some of `UNITS`, concatenated over structures."""


@dataclass(frozen=True)
class GoldenOutputs:
    """Predictions of the reference backend in float64 for some structures."""

    generated: tuple[Atoms, ...]
    """Structures in addition to the samples of the model; see `golden_structures`."""
    values: Values
    """Values on the CPU, in float64; ``direct Hessian`` only with a direct head."""
    rounding: dict[str, float]
    """Largest difference between float32 and float64, in the unit of each quantity."""

    def to_json(self) -> dict[str, Any]:
        """JSON; floats are exact, null replaces values that are not finite."""
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
            KeyError: If a key is missing.
            TypeError: If a value has a wrong type.
            ValueError: If a quantity is unknown, a shape is wrong, or a structure is
                invalid.
        """
        generated = tuple(sample_from_json(sample) for sample in section["generated"])
        values = {name: _to_tensor(v) for name, v in section["values"].items()}
        rounding = {
            name: math.nan if value is None else float(value)
            for name, value in section["rounding"].items()
        }
        for found in (values, rounding):
            if set(found) not in (set(UNITS), set(UNITS) - {"direct Hessian"}):
                raise ValueError(f"unexpected golden outputs: {sorted(found)}")
        if set(values) != set(rounding):
            raise ValueError("golden outputs and rounding errors do not match")
        if any(value < 0 for value in rounding.values()):
            raise ValueError("a rounding error of the golden outputs is negative")
        return cls(generated, values, rounding)


def golden_structures(samples: Sequence[Atoms], statistics: Statistics) -> list[Atoms]:
    """Structures that complete the samples, so that all weights affect a prediction.

    Args:
        samples: Sample structures of the model.
        statistics: Statistics of its training set.

    Returns:
        Small random structures with the elements that no sample contains together with
        other atoms, including a 3D-periodic one, for the stress, and a non-periodic
        one.
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
    """Compute the golden outputs of a potential.

    Args:
        potential: Potential; not modified.
        samples: Sample structures of the file.
        statistics: Statistics of the training set.

    Returns:
        Predictions of the reference backend in float64 on the device of the potential.
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
    """Compare a loaded potential with its golden outputs.

    Args:
        potential: Potential with any backend and precision; not modified.
        samples: Sample structures of the file.
        golden: Golden outputs of the file.

    Returns:
        One check per quantity.

    Raises:
        ValueError: If the golden outputs do not match the structures or the potential.
    """
    structures = [*samples, *golden.generated]
    atoms = sum(map(len, structures))
    stored = len(golden.values["energies"])
    if not atoms or stored != atoms or len(golden.values["energy"]) != len(structures):
        raise ValueError(
            f"golden outputs have {len(golden.values['energy'])} structures with "
            f"{stored} atoms, the file has {len(structures)} with {atoms}"
        )
    values = _values(potential, structures)
    if set(values) != set(golden.values):
        raise ValueError(
            f"golden outputs contain {', '.join(golden.values)}; the potential has "
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
    """All quantities of all structures in one evaluation, on the CPU in float64."""
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
    """Direct Hessian of the smallest molecule, times a vector."""
    free = [g for g in graphs if g.num_edges and not bool(g.pbc.any())]
    graph = min(free or graphs, key=lambda g: g.num_atoms)
    vector = torch.arange(3.0 * graph.num_atoms, dtype=torch.float64).cos()
    blocks = potential.hessian_direct(graph.to(potential.device))
    return blocks.products(vector.view(1, -1, 3).to(potential.device))[0]


def _scales(
    potential: Potential, structures: Sequence[Atoms], golden: GoldenOutputs
) -> dict[str, float]:
    """Scale of each quantity; that of energies excludes reference energies."""
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
    """Difference from the golden values, with the tolerance for the precision."""
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
        tolerance = min(rounding_tolerance(rounding, dtype), MAX_TOLERANCE)
    if name in ("energy", "energies") and scale > 0:
        tolerance += ENERGY_ROUNDING * float(stored.abs().max()) / scale
    largest = difference([(values, stored)], tolerance).max_abs
    return Difference(largest, scale, tolerance)


def _reason(dtype: torch.dtype) -> str:
    if dtype == torch.float64:
        return (
            "rounding of 1e-16, amplified by less than 1e5 in layers and "
            "derivatives, and a margin"
        )
    return (
        f"{ROUNDING_FACTOR:g} times the rounding error of float32 with the reference "
        f"backend when the model was saved, and at most {MAX_TOLERANCE:g}"
    )


def _to_list(values: Tensor) -> Any:
    """Nested lists, with null for values that are not finite."""
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
            raise ValueError(f"golden outputs must have at most {MAX_DIMENSIONS} axes")
        return [_with_nan(value, depth + 1) for value in values]
    if values is not None and type(values) not in (int, float):
        raise TypeError(f"expected a number, got {str(values)[:40]!r}")
    return math.nan if values is None else float(values)
