"""Rate of extrapolation events of a potential, and its errors at these structures.

For each file of labeled structures: the fraction beyond the domain by any criterion and
by each, the extrapolation score, and the largest error of a force component inside and
outside.

    python scripts/measure_domain.py runs/demo/model.safetensors data/*_test_*.xyz
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from equipot.calculators import EquipotCalculator
from equipot.data.reading.labeled import read_structures
from equipot.neighbors import build_graph


@dataclass(frozen=True)
class Found:
    """Results for one structure."""

    kinds: frozenset[str]
    score: float
    error: float


def examine(calculator: EquipotCalculator, file: Path, most: int) -> list[Found]:
    """Extrapolation events, score and largest error of the structures of a file."""
    structures = [s for s in read_structures(file) if not s.isolated]
    domain = calculator.domains[0]
    found = []
    for structure in structures[:: 1 + (len(structures) - 1) // most]:
        atoms = structure.atoms
        forces = calculator.get_forces(atoms)
        graph = build_graph(atoms, calculator.potential.cutoff)
        prediction = calculator.potential(graph, {"energy", "features"})
        scores = domain.features.scores(
            atoms.numbers, prediction.features.double().numpy()
        )
        kinds = frozenset(e.kind for e in calculator.extrapolation_events)
        error = np.abs(forces - structure.labels.forces.numpy()).max()
        found.append(Found(kinds, float(scores.max()), float(error)))
    return found


def row(name: str, found: list[Found]) -> list[str]:
    """Row of the table."""
    scores = np.array([f.score for f in found])
    outside = np.array([bool(f.kinds) for f in found])
    errors = np.array([f.error for f in found])
    kinds = Counter(kind for f in found for kind in f.kinds)
    parts = ", ".join(f"{kind} {n / len(found):.1%}" for kind, n in kinds.items())
    return [
        name,
        str(len(found)),
        f"{np.median(scores):.2f}",
        f"{scores.max():.2f}",
        f"{outside.mean():.1%}",
        parts,
        f"{np.median(errors[~outside]):.2f}" if (~outside).any() else "",
        f"{np.median(errors[outside]):.2f}" if outside.any() else "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=300, help="structures of a file")
    arguments = parser.parse_args()
    calculator = EquipotCalculator(
        arguments.model, on_extrapolation="record", always=("forces",)
    )
    table = Table(title=f"Domain of {arguments.model.parent.name}")
    for column in ("set", "structures", "score, median", "max", "outside", "by"):
        table.add_column(column)
    table.add_column("error inside, eV/Å")
    table.add_column("outside")
    for file in arguments.files:
        table.add_row(*row(file.stem, examine(calculator, file, arguments.most)))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
