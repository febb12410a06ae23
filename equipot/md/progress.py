"""Progress display of a run: a live line in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from equipot.md.summary import ns_per_day
from equipot.md.thermodynamics import Thermodynamics

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_UPDATES = 0.2


class Progress:
    """Display of speed, remaining time, temperature and energy during a run.

    Args:
        console: Console to write to.
        first: First step of this process.
        last: Last step of the run.
        timestep: Timestep in fs.
    """

    def __init__(
        self, console: Console, first: int, last: int, timestep: float
    ) -> None:
        self._console = console
        self._first, self._last, self._timestep = first, last, timestep
        self._live = (
            Live(console=console, transient=True, auto_refresh=False)
            if console.is_terminal
            else None
        )
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> "Progress":
        self._started = self._shown = time.monotonic()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def steps_per_second(self, step: int) -> float | None:
        """Mean speed of this process; None before its first step."""
        elapsed = time.monotonic() - self._started
        if step <= self._first or elapsed <= 0:
            return None
        return (step - self._first) / elapsed

    def update(self, row: Thermodynamics) -> None:
        """Show a row of the log, at most once per display interval.

        Args:
            row: Newest row of the log.
        """
        now = time.monotonic()
        pause = SECONDS_BETWEEN_UPDATES if self._live else SECONDS_BETWEEN_LINES
        if now - self._shown < pause:
            return
        self._shown = now
        line = self._line(row)
        if self._live is not None:
            self._live.update(Text(line), refresh=True)
        else:
            self._console.print(Text(line), soft_wrap=True)

    def _line(self, row: Thermodynamics) -> str:
        parts = [
            f"step {row.step}/{self._last}",
            f"{row.time_ps:.3f} ps",
            f"T {row.temperature_K:.1f} K",
            f"E {row.potential_energy_eV:.4f} eV",
        ]
        if row.pressure_GPa is not None:
            parts.append(f"P {row.pressure_GPa:.3f} GPa")
        speed = self.steps_per_second(row.step)
        if speed is not None:
            rate = ns_per_day(speed, self._timestep)
            parts.append(f"{speed:.1f} steps/s = {rate:.3g} ns/day")
            parts.append(f"{_duration((self._last - row.step) / speed)} left")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
