"""One ASE calculator in a process of its own, driven by JSON lines.

`equipot.bench.calculator_process` starts this file with the Python of the calculator,
which needs numpy and ASE, but not equipot: nothing of equipot is imported here, and
Python 3.9 suffices. One request per line arrives at standard input:

    {"do": "build", "module": ..., "factory": ..., "arguments": {...},
     "path": [...], "threads": n}
    {"do": "load", "structure": {...}, "what": [...]}
    {"do": "sample", "seconds": s}

Each is answered by one line: results, or {"error": ...}. What the calculator prints
goes to standard error.
"""

import ctypes
import importlib
import json
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Iterable
from importlib import metadata
from typing import IO, Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

WARM_UP_CALLS = 3
"""Calls before the first sample: compilers specialize in the second and third."""
WARM_UP_SECONDS = 20.0
"""No call to warm up starts later than this."""
LONG_CALL_SECONDS = 0.2
"""A call that takes longer needs no call in advance of a sample."""
DISPLACEMENT = 0.01
"""Standard deviation in Å of the displacements that precede every call."""
NUM_DISPLACED = 3
"""Sets of displaced positions."""
TEMPERATURE, TIME_STEP = 300.0, 0.5
"""Of the dynamics, in K and fs."""


class Evaluation:
    """Properties of a structure whose atoms move before every call."""

    def __init__(self, calculator: Any, atoms: Atoms, names: list[str]) -> None:
        self.atoms = atoms
        self.atoms.calc = calculator
        functions: dict[str, Any] = {
            # the highest derivative first: most calculators then have the others
            "stress": atoms.get_stress,
            "forces": atoms.get_forces,
            "energy": atoms.get_potential_energy,
        }
        self.read = [read for name, read in functions.items() if name in names]
        rng = np.random.default_rng(0)
        self.positions = [
            atoms.positions + rng.normal(0, DISPLACEMENT, (len(atoms), 3))
            for _ in range(NUM_DISPLACED)
        ]
        self.calls = 0

    def reset(self) -> None:
        """Nothing: a call does not depend on those before."""

    def move(self) -> None:
        """Move the atoms, without allocation."""
        self.atoms.positions[:] = self.positions[self.calls % NUM_DISPLACED]
        self.calls += 1

    def __call__(self) -> None:
        """Compute and read the properties."""
        for read in self.read:
            read()


class Step:
    """A step of velocity Verlet dynamics, from the same start in every sample."""

    def __init__(self, calculator: Any, atoms: Atoms) -> None:
        self.atoms = atoms
        self.atoms.calc = calculator
        self.start = atoms.positions.copy()
        self.dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)

    def reset(self) -> None:
        """Start again."""
        self.atoms.positions[:] = self.start
        momenta = np.random.default_rng(0).normal(size=self.start.shape)
        masses = self.atoms.get_masses()[:, None]
        self.atoms.set_momenta(momenta * np.sqrt(masses * units.kB * TEMPERATURE))

    def move(self) -> None:
        """Nothing: the dynamics move the atoms."""

    def __call__(self) -> None:
        """Integrate one step."""
        self.dynamics.run(1)


class Hessian(Evaluation):
    """Second derivatives, by the method `get_hessian` of the calculator."""

    def __init__(self, calculator: Any, atoms: Atoms) -> None:
        super().__init__(calculator, atoms, [])
        if not hasattr(calculator, "get_hessian"):
            name = type(calculator).__name__
            raise TypeError(f"{name} has no method get_hessian(atoms)")
        self.read = [lambda: calculator.get_hessian(atoms)]


class Worker:
    """The calculator, and the call that is timed."""

    def build(
        self,
        module: str,
        factory: str,
        arguments: dict[str, Any],
        path: list[str],
        threads: int,
    ) -> dict[str, Any]:
        """Make the calculator."""
        sys.path[:0] = path
        start = time.perf_counter()
        function = getattr(importlib.import_module(module), factory)
        self.calculator = function(**arguments)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        seconds = time.perf_counter() - start
        return {
            "build_seconds": seconds,
            "python": platform.python_version(),
            "packages": loaded_packages(),
        }

    def load(self, structure: dict[str, Any], what: list[str]) -> dict[str, Any]:
        """Take a structure, and make the first calls."""
        info = structure.pop("info")
        atoms = Atoms(**structure, info=info)
        release_memory()
        answer = {"loaded_bytes": resident_bytes()}
        reset_peak()
        if what == ["md"]:
            self.call: Any = Step(self.calculator, atoms)
        elif what == ["hessian"]:
            self.call = Hessian(self.calculator, atoms)
        else:
            self.call = Evaluation(self.calculator, atoms, what)
            self.call()
            if "forces" in what:
                answer["forces"] = np.asarray(atoms.get_forces()).tolist()
        self.call.reset()
        seconds: list[float] = []
        while len(seconds) < WARM_UP_CALLS and sum(seconds) < WARM_UP_SECONDS:
            seconds.append(self.timed()[0])
        self.last = seconds[-1]
        return dict(answer, first_seconds=seconds)

    def sample(self, seconds: float) -> dict[str, Any]:
        """Times and page faults of calls, for some seconds but at least one call."""
        self.call.reset()
        if self.last < LONG_CALL_SECONDS:
            self.timed()
        calls: list[tuple[float, float, int, int]] = []
        start = time.perf_counter()
        while not calls or time.perf_counter() - start < seconds:
            calls.append(self.timed())
        self.last = calls[-1][0]
        names = ("wall", "cpu", "minor_faults", "major_faults")
        answer = dict(zip(names, map(list, zip(*calls))))  # noqa: B905 - Python 3.9
        return dict(answer, peak_bytes=peak_bytes())

    def timed(self) -> tuple[float, float, int, int]:
        """Wall and CPU seconds, minor and major page faults of one call."""
        self.call.move()
        before = resource.getrusage(resource.RUSAGE_SELF)
        cpu, wall = time.process_time(), time.perf_counter()
        self.call()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_SELF)
        return (
            wall,
            cpu,
            after.ru_minflt - before.ru_minflt,
            after.ru_majflt - before.ru_majflt,
        )


def loaded_packages() -> dict[str, str]:
    """Versions of the distributions of which a module is loaded."""
    if not hasattr(metadata, "packages_distributions"):  # before Python 3.10
        return {}
    loaded = {name.partition(".")[0] for name in sys.modules}
    names = {
        name
        for module, names in metadata.packages_distributions().items()
        for name in names
        if module in loaded
    }
    return {name: metadata.version(name) for name in sorted(names)}


def resident_bytes() -> int:
    """Memory of this process."""
    if not os.path.exists("/proc/self/statm"):
        return peak_bytes()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Peak memory of this process, since `reset_peak` where that is possible."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release_memory() -> None:
    """Return unused memory to the system, so that its use shows (glibc only)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def reset_peak() -> None:
    """Let the peak memory start at the present memory (Linux only)."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")


def serve(requests: Iterable[str], replies: IO[str]) -> None:
    """Answer requests until there are no more."""
    worker = Worker()
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def main() -> None:
    """Keep standard output for replies, and the folder of this file off the path."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
