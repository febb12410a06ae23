"""CPU time of an MD step by part of the program, without that of the potential."""

import functools
import importlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ase import Atoms

from equipot.domain import Domain
from equipot.domain.features import FeatureDistribution
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Prediction

STIFFNESS = 5.0
"""Force constant of the springs in eV/Å^2."""
POTENTIAL = "potential"
REST = "driver"
CHECK_OF_EDGES = ("equipot.graph.atomic_graph:check_edges",)

PARTS: dict[str, tuple[str, ...]] = {
    POTENTIAL: ("benchmarks.step_parts:Springs.__call__",),
    "neighbor list": ("equipot.neighbors.canonical_list:CanonicalList.__call__",),
    "graph": (
        "equipot.calculators.ase:build_graph",
        "equipot.neighbors.graph_reuse:GraphReuse.__call__",
        *CHECK_OF_EDGES,
    ),
    "domain guard": (
        "equipot.calculators.guard:Guard.watch",
        "equipot.calculators.guard:Guard.act",
    ),
    "self check": ("equipot.calculators.self_check:SelfCheck.due",),
    "calculator": (
        "equipot.calculators.ase:EquipotCalculator.calculate",
        "equipot.calculators.ase:EquipotCalculator.get_property",
    ),
    "integrator": tuple(
        f"equipot.md.integrators:{name}.step"
        for name in ("VelocityVerlet", "Langevin", "Bussi", "NoseHooverChain")
    ),
    "alarms": (
        "equipot.md.alarms:Alarms.check",
        "equipot.md.alarms:LastFrames.keep",
        "equipot.md.last_frames:LastFrames.keep",
    ),
    "thermodynamics": (
        "equipot.md.driver:Simulation._measure",
        "equipot.md.thermodynamics:RunStatistics.add",
    ),
    "recorder": (
        "equipot.md.driver:Simulation._write_row",
        "equipot.md.driver:Simulation._write_frame",
        "equipot.md.driver:Simulation._checkpoint",
        "equipot.md.driver:Simulation._record_extrapolation",
    ),
}
"""Functions of each part; those that a version lacks are skipped."""


class Clock:
    """CPU time of nested calls, each without the calls within it."""

    def __init__(self) -> None:
        self.nanoseconds: dict[str, int] = {}
        self._inner = [0]

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Function whose time is added to a part."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0)
            begin = time.thread_time_ns()
            try:
                return function(*arguments, **named)
            finally:
                taken = time.thread_time_ns() - begin
                within = self._inner.pop()
                self._inner[-1] += taken
                own = self.nanoseconds.get(part, 0)
                self.nanoseconds[part] = own + taken - within

        return timed


def measure_parts(run: Callable[[Path], object], steps: int) -> dict[str, float]:
    """Microseconds of CPU time per step of each part, and of all but the potential.

    Reading the clock takes about two microseconds for each call of a part, so the total
    is measured in a run of its own, in which only the potential is timed, and the check
    of edges, which may be done within it.

    Args:
        run: Molecular dynamics, with a new folder for its files.
        steps: Number of its steps.
    """
    whole = _timed(run, steps, {POTENTIAL: PARTS[POTENTIAL], "check": CHECK_OF_EDGES})
    springs = whole.pop(POTENTIAL)
    parts = _timed(run, steps, PARTS)
    del parts[POTENTIAL]
    return parts | {"total": sum(whole.values()), "springs": springs}


def _timed(
    run: Callable[[Path], object], steps: int, parts: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Microseconds per step of each part, and of the rest."""
    clock = Clock()
    with ExitStack() as restored, TemporaryDirectory() as folder:
        for part, names in parts.items():
            for owner, attribute in filter(None, map(_owner, names)):
                timed = clock.wrap(part, getattr(owner, attribute))
                restored.enter_context(patch.object(owner, attribute, timed))
        clock.wrap(REST, run)(Path(folder))
    return {
        part: clock.nanoseconds.get(part, 0) / 1000 / steps for part in (*parts, REST)
    }


def _owner(name: str) -> tuple[Any, str] | None:
    """Module or class, and attribute, of a name; None if there is none."""
    module, path = name.split(":")
    try:
        owner = importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    *parents, attribute = path.split(".")
    for parent in parents:
        if (owner := getattr(owner, parent, None)) is None:
            return None
    return (owner, attribute) if hasattr(owner, attribute) else None


class Springs:
    """Springs to the initial positions, in place of the potential of a calculator.

    Args:
        atoms: Initial structure.
        cutoff: Cutoff of the edges in Å.
        channels: Number of features per atom.
    """

    num_layers = 1
    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(self, atoms: Atoms, cutoff: float, channels: int) -> None:
        self.cutoff = cutoff
        self._rest = torch.tensor(atoms.positions)
        self._features = torch.zeros(len(atoms), channels)

    def __call__(
        self, graph: AtomicGraph, outputs: Collection[str], *, create_graph: bool
    ) -> Prediction:
        """Energy and forces of the springs, a stress of zero, features of zero."""
        _ = graph.pairs  # all potentials need them
        moved = graph.positions - self._rest
        energies = 0.5 * STIFFNESS * moved.square().sum(dim=1)
        return Prediction(
            energy=energies.sum(dim=0, keepdim=True),
            energies=energies,
            forces=-STIFFNESS * moved if "forces" in outputs else None,
            stress=torch.zeros(1, 3, 3) if "stress" in outputs else None,
            features=self._features if "features" in outputs else None,
        )


def wide_domain(atoms: Atoms, cutoff: float, channels: int | None) -> Domain:
    """Domain with every check, outside which no structure is.

    Args:
        atoms: Structure, for its elements.
        cutoff: Cutoff radius in Å.
        channels: Number of features per atom; None for no check of features.
    """
    numbers = tuple(sorted(set(atoms.numbers.tolist())))
    symbols = sorted(set(atoms.get_chemical_symbols()))
    features = None
    if channels is not None:
        count = len(numbers)
        features = FeatureDistribution(
            numbers, np.zeros((count, channels)), np.eye(channels), np.ones(count)
        )
    return Domain(
        cutoff=cutoff,
        minimum_distances={f"{a}-{b}": 0.1 for a in symbols for b in symbols},
        neighbors=dict.fromkeys(symbols, (1, 1000)),
        density=(1e-3, 1.0),
        energy=(-1e6, 1e6),
        largest_force=1e6,
        features=features,
    )
