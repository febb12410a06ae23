"""Processes with one calculator each, and what goes wrong in them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, final

from ase import Atoms

from equipot.bench.calculator_spec import CalculatorSpec

WORKER = Path(__file__).with_name("model_worker.py")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LAST_LINES = 8
"""Lines of standard error that an error message quotes."""


class CalculatorProcessError(ValueError):
    """A calculator raised an exception, or its process ended.

    Args:
        message: What happened.
        ended: Whether the process is gone.
    """

    def __init__(self, message: str, *, ended: bool) -> None:
        super().__init__(message)
        self.ended = ended


@final
class CalculatorProcess:
    """A process that runs `model_worker.py`.

    Args:
        spec: Calculator.
        threads: Number of threads.
        messages: File for all that the process prints.
    """

    def __init__(self, spec: CalculatorSpec, threads: int, messages: IO[bytes]) -> None:
        self.spec = spec
        self.threads = threads
        self._messages = messages
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        if spec.python != sys.executable:
            environment.pop("PYTHONPATH", None)  # its packages are for our Python
        self.process = subprocess.Popen(
            [spec.python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=environment,
            encoding="utf-8",
        )

    def build(self) -> dict[str, Any]:
        """Make the calculator.

        Returns:
            Seconds, and versions of Python and packages.

        Raises:
            CalculatorProcessError: If that fails.
        """
        spec = self.spec
        return self._answer(
            do="build",
            module=spec.module,
            factory=spec.factory,
            arguments=spec.arguments,
            path=spec.path,
            threads=self.threads,
        )

    def load(self, atoms: Atoms, what: Sequence[str]) -> dict[str, Any]:
        """Make the first calls for a structure.

        Args:
            atoms: Structure.
            what: Names of properties, or ``md``, or ``hessian``.

        Returns:
            Memory in bytes before, seconds of the calls, and forces in eV/Å.

        Raises:
            CalculatorProcessError: If that fails.
        """
        structure = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
            "info": {
                key: value
                for key, value in atoms.info.items()
                if isinstance(value, bool | int | float | str)
            },
        }
        return self._answer(do="load", structure=structure, what=list(what))

    def sample(self, seconds: float) -> dict[str, Any]:
        """Make calls for some seconds, at least one.

        Returns:
            Wall and CPU seconds and page faults of each call, and the peak memory in
            bytes since the structure was loaded.

        Raises:
            CalculatorProcessError: If a call fails.
        """
        return self._answer(do="sample", seconds=seconds)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self, **request: Any) -> dict[str, Any]:
        requests, replies = self.process.stdin, self.process.stdout
        if requests is None or replies is None:
            raise RuntimeError("the process has no pipes")
        try:
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            line = replies.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise CalculatorProcessError(self._how_it_ended(), ended=True)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            message = f"{self.spec.label}: {answer['error']}"
            raise CalculatorProcessError(message, ended=False)
        return answer

    def _how_it_ended(self) -> str:
        status = self.process.wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        if status == -9:
            how += ", often for lack of memory"
        text = f"{self.spec.label}: the process ended ({how})"
        lines = self.last_lines()
        return text + ("; its last lines:\n" + "\n".join(lines) if lines else "")

    def last_lines(self) -> list[str]:
        """The last lines that the process printed."""
        self._messages.seek(0)
        text = self._messages.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-LAST_LINES:]


@contextmanager
def calculator_processes(
    specs: Sequence[CalculatorSpec], threads: int
) -> Iterator[list[CalculatorProcess]]:
    """Start a process for each calculator; all end with the context.

    Args:
        specs: Calculators.
        threads: Number of threads of each.
    """
    with ExitStack() as stack:
        processes = []
        for spec in specs:
            messages = stack.enter_context(tempfile.TemporaryFile())
            process = CalculatorProcess(spec, threads, messages)
            stack.callback(process.close)
            processes.append(process)
        yield processes
