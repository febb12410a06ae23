"""Times, page faults and memory of calculators that evaluate structures in turn."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median
from typing import Any

import numpy as np
from ase import Atoms

from equipot.bench.calculator_process import CalculatorProcess, CalculatorProcessError
from equipot.bench.timing import MIN_ROUNDS, Timing, summarize


@dataclass(frozen=True)
class CallCost:
    """Cost of one call of a calculator."""

    calculator: str
    structure: str
    num_atoms: int
    wall: Timing
    """Wall-clock seconds, of all calls."""
    cpu: Timing
    """CPU seconds of all threads."""
    relative: Timing
    """Wall-clock time over that of the first calculator that could be measured: ratios
    of the medians of a round."""
    relative_cpu: Timing
    """The same of CPU times."""
    first_seconds: tuple[float, ...]
    """Wall-clock seconds of the first calls."""
    minor_faults: float
    """Mean number of page faults served without reading from a disk."""
    major_faults: float
    """Mean number of page faults that read from a disk."""
    loaded_bytes: int
    """Memory of the process before the structure was loaded."""
    peak_bytes: int
    """Peak memory of the process with this structure."""
    max_force_difference: float | None
    """Largest difference in eV/Å of a component of the forces from the first calculator
    that could be measured; None without forces."""


@dataclass(frozen=True)
class Failure:
    """A calculator that could not compute a structure."""

    calculator: str
    structure: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Results for all structures."""

    costs: tuple[CallCost, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 9
    """Samples of every calculator."""
    seconds: float = 3.0
    """For every calculator and structure; beyond it, `MIN_ROUNDS` are completed."""


def compare(
    processes: Sequence[CalculatorProcess],
    structures: Mapping[str, Atoms],
    what: Sequence[str],
    effort: Effort,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Measure calculators in turn on the same structures, the smallest first.

    In every round each calculator makes calls for a moment while the others wait, so
    that changes of the machine's speed affect all.

    Args:
        processes: Calculators, which are built already.
        structures: Structures by name.
        what: Names of properties, or ``md``, or ``hessian``.
        effort: How long to measure.
        progress: Called with the present activity.
    """
    alive = list(processes)
    costs: list[CallCost] = []
    failures: list[Failure] = []
    for name, atoms in sorted(structures.items(), key=lambda item: len(item[1])):
        runs = [_Run(process, name, atoms, what) for process in alive]
        for run in runs:
            progress(f"{name}: first calls of {run.label}")
            run.attempt(run.load)
        progress(f"{name}: {len(atoms)} atoms")
        _take_turns(runs, effort)
        done = [run for run in runs if run.failure is None]
        costs += [run.cost(done[0]) for run in done]
        failures += [run.failure for run in runs if run.failure is not None]
        alive = [run.process for run in runs if not run.ended]
    return Comparison(tuple(costs), tuple(failures))


class _Run:
    """One calculator with one structure."""

    def __init__(
        self,
        process: CalculatorProcess,
        structure: str,
        atoms: Atoms,
        what: Sequence[str],
    ) -> None:
        self.process = process
        self.label = process.spec.label
        self.structure = structure
        self.atoms = atoms
        self.what = what
        self.loaded: dict[str, Any] = {}
        self.calls: defaultdict[str, list[float]] = defaultdict(list)
        self.rounds: defaultdict[str, list[float]] = defaultdict(list)
        """Median seconds of each round."""
        self.peak_bytes = 0
        self.failure: Failure | None = None
        self.ended = False

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something unless this run has failed; record if it fails."""
        if self.failure is not None:
            return
        try:
            action()
        except CalculatorProcessError as error:
            self.failure = Failure(self.label, self.structure, str(error))
            self.ended = error.ended

    def load(self) -> None:
        self.loaded = self.process.load(self.atoms, self.what)
        if not np.isfinite(self.loaded.get("forces", 0.0)).all():
            reason = f"{self.label}: forces are not finite"
            self.failure = Failure(self.label, self.structure, reason)

    def sample(self, seconds: float) -> None:
        found = self.process.sample(seconds)
        self.peak_bytes = max(self.peak_bytes, found.pop("peak_bytes"))
        for name, values in found.items():
            self.calls[name] += values
            self.rounds[name].append(median(values))

    def cost(self, first: "_Run") -> CallCost:
        return CallCost(
            calculator=self.label,
            structure=self.structure,
            num_atoms=len(self.atoms),
            wall=summarize(self.calls["wall"]),
            cpu=summarize(self.calls["cpu"]),
            relative=self._relative(first, "wall"),
            relative_cpu=self._relative(first, "cpu"),
            first_seconds=tuple(self.loaded["first_seconds"]),
            minor_faults=fmean(self.calls["minor_faults"]),
            major_faults=fmean(self.calls["major_faults"]),
            loaded_bytes=self.loaded["loaded_bytes"],
            peak_bytes=self.peak_bytes,
            max_force_difference=_difference(self.loaded, first.loaded),
        )

    def _relative(self, first: "_Run", name: str) -> Timing:
        pairs = zip(self.rounds[name], first.rounds[name], strict=True)
        return summarize([own / other for own, other in pairs])


def _take_turns(runs: Sequence[_Run], effort: Effort) -> None:
    """Let all calculators make calls, round by round."""
    start = time.monotonic()
    end = start + effort.seconds * len(runs)
    for done in range(max(effort.rounds, MIN_ROUNDS)):
        if done >= MIN_ROUNDS and time.monotonic() > end:
            break
        for run in runs:
            run.attempt(partial(run.sample, effort.seconds / effort.rounds))


def _difference(own: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    if "forces" not in own or "forces" not in other:
        return None
    return float(abs(np.array(own["forces"]) - np.array(other["forces"])).max())
