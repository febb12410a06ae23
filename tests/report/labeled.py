"""Labeled structures, and evaluations of them, that the tests of reports share."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.data.labels import Example, Labels
from equipot.evaluation.evaluate import evaluate
from equipot.evaluation.results import Evaluation
from equipot.neighbors import build_graph
from equipot.report.provenance import Provenance
from tests.potentials import random_potential, statistics_of

CUTOFF = 4.0
ALL = ("energy", "forces", "stress")
REFERENCES = {1: -13.6, 8: -2000.0, 14: -7800.0}


def water(seed: int = 0) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    return atoms


def silicon(seed: int = 0) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def labeled(
    atoms: Atoms,
    labels: Sequence[str] = ALL,
    *,
    config_type: str = "default",
    source: str = "test.xyz#0",
) -> Example:
    """Structure with random labels; a stress only where there is a volume."""
    random = np.random.default_rng(len(source) + sum(map(ord, source)))
    energy = sum(REFERENCES[z] for z in atoms.numbers.tolist()) + random.normal()
    stress = random.normal(size=(3, 3)) / 100
    values = {
        "energy": np.array([energy]),
        "forces": random.normal(size=(len(atoms), 3)),
        "stress": ((stress + stress.T) / 2)[None],
    }
    present = set(labels) if atoms.pbc.all() else set(labels) - {"stress"}
    tensors = {
        name: torch.from_numpy(
            value if name in present else np.full_like(value, np.nan)
        )
        for name, value in values.items()
    }
    graph = build_graph(atoms, CUTOFF)
    return Example(graph, Labels(**tensors), config_type, source)


def mixed(labels: Sequence[str] = ALL) -> list[Example]:
    """Molecules and crystals of two files and two groups."""
    molecules = [
        labeled(water(n), labels, config_type="water", source=f"data/a.xyz#{n}")
        for n in range(4)
    ]
    crystals = [
        labeled(silicon(n), labels, config_type="silicon", source=f"data/b.xyz#{n}")
        for n in range(3)
    ]
    return molecules + crystals


def evaluated(examples: Sequence[Example], **options: Any) -> Evaluation:
    """Evaluation of a potential with random weights."""
    potential = random_potential((1, 8, 14), num_layers=1, lmax=1)
    return evaluate(potential, examples, reference_energies=REFERENCES, **options)


def about(**changes: Any) -> Provenance:
    """Provenance of a model that nobody has trained."""
    statistics = dataclasses.asdict(statistics_of((1, 8, 14), CUTOFF))
    statistics["minimum_distances"] = {"H-O": 0.9, "H-H": 1.4, "Si-Si": 2.2}
    header = {
        "sha256": "0123456789abcdef",
        "format_version": 1,
        "equipot_version": "0.1.0",
        "model": {"cutoff": CUTOFF},
        "statistics": statistics,
    }
    values = {
        "model": "runs/first/model.safetensors",
        "header": header,
        "data": {"data/a.xyz": "fedcba"},
        "environment": {"Date": "2026-01-01", "equipot": "0.1.0"},
    }
    return Provenance(**{**values, **changes})
