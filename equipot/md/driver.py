"""Molecular dynamics with any ASE calculator and bit-for-bit restarts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from jaxtyping import Shaped
from rich.console import Console

from equipot.config.load import dump_config
from equipot.config.md import MDConfig
from equipot.domain import ExtrapolationEvent
from equipot.md.alarms import Alarms, MDStoppedError
from equipot.md.build import build_integrator, check_drift, start_velocities
from equipot.md.continuation import check_continuation, fingerprint_of_run
from equipot.md.last_frames import LastFrames
from equipot.md.progress import Progress
from equipot.md.ramp import (
    describe_ramp,
    target_pressure,
    target_temperature,
    targets,
)
from equipot.md.recorder import (
    TRAJECTORY_WRITERS,
    ExtrapolationLog,
    Recorder,
    ThermoLog,
    cut_back,
)
from equipot.md.summary import MDSummary, summarize
from equipot.md.thermodynamics import (
    COLUMNS,
    SPREAD_COLUMNS,
    RunStatistics,
    Thermodynamics,
    measure,
    temperature,
)
from equipot.md.velocities import drift_energy, movable
from equipot.models.committee import Committee
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.frame_file import write_frames
from equipot.storage.provenance import SECTION, Origin, note_start, stamp
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.storage.run_folder import CONFIG, lock_run_directory
from equipot.units import FS_PER_PS

KIND = "state of a molecular dynamics run"
VERSION = 5
ALARM_FRAMES = "alarm.extxyz"
SUMMARY = "summary.json"
INTERRUPTED = "interrupted; continue with --resume"
STEPS_BETWEEN_DRIFT_REMOVALS = 100
"""Steps between removals of the drift that accumulates in thermostats that rescale
velocities."""


@runtime_checkable
class ReportsExtrapolation(Protocol):
    """A calculator that reports extrapolation events."""

    extrapolation_events: Sequence[ExtrapolationEvent]
    """Events of the last calculation."""
    has_domain: bool
    """Whether structures are compared with a domain of validity."""


def run_md(
    atoms: Atoms,
    config: MDConfig,
    output: Path,
    *,
    resume: bool = False,
    fingerprint: str = "",
    origin: Origin | None = None,
    console: Console | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> MDSummary:
    """Run molecular dynamics.

    The calculator is reset after every checkpoint, so that an uninterrupted run and a
    run resumed from the checkpoint have calculators in the same state.

    Args:
        atoms: Structure with a calculator; positions, momenta and cell are changed.
        config: Settings of the run; `config.model`, `config.structure` and
            `config.output` are recorded but not used.
        output: Folder for trajectory, log, states and summary.
        resume: Continue bit for bit from the newest state in `output`.
        fingerprint: Fingerprint of the calculator; it must be equal to resume the run.
        origin: Models and inputs, recorded in ``environment.json``, ``summary.json``
            and every frame.
        console: Console for the progress display; standard output by default.
        interrupted: Called after every step; if it returns True, the run writes a
            state to resume from and ends.

    Returns:
        Averages, drift and speed; also written to ``summary.json``.

    Raises:
        MDStoppedError: If an alarm stopped the run or the calculator failed.
        ValueError: If `output` is not empty and `resume` is not set, or the run in it
            has other settings.
    """
    console = console or Console()
    simulation = Simulation(atoms, config, output, fingerprint, origin)
    with lock_run_directory(output, resume=resume), closing(simulation):
        for warning in simulation.begin(resume=resume):
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
        if origin is not None:  # after config.yaml, which marks the folder as a run
            note_start(output, origin)
        console.print(simulation.introduction(), soft_wrap=True, markup=False)
        with simulation.show(console) as progress:
            summary = simulation.advance(progress, interrupted)
    for line in summary.lines():
        console.print(line, markup=False, highlight=False)
    return summary


@final
class Simulation:
    """State of a run: integrator, output files and statistics.

    Args:
        atoms: Structure with a calculator.
        config: Settings of the run.
        output: Folder for all files.
        fingerprint: Fingerprint of the calculator.
        origin: Models and inputs, recorded in frames and summary.
    """

    def __init__(
        self,
        atoms: Atoms,
        config: MDConfig,
        output: Path,
        fingerprint: str,
        origin: Origin | None = None,
    ) -> None:
        if atoms.calc is None:
            raise ValueError("atoms need a calculator: set atoms.calc")
        if any(not isinstance(c, FixAtoms) for c in atoms.constraints):
            raise ValueError(
                "constraints other than fixed atoms are not supported: remove them "
                "with atoms.set_constraint(), or use ase.constraints.FixAtoms"
            )
        self.atoms, self.config, self.output = atoms, config, output
        self.fingerprint, self.origin = fingerprint, origin
        # No date: files of a resumed run are equal bit for bit.
        self.facts = {} if origin is None else origin.lasting_info()
        self.step = 0
        calculator = atoms.calc
        self._reporter = (
            calculator if isinstance(calculator, ReportsExtrapolation) else None
        )
        self.rng = np.random.default_rng(config.seed)
        self.course = RunStatistics(len(atoms))
        self.states = RotatingCheckpoints(output, KIND, VERSION)
        self.trajectory_path = output / f"trajectory.{config.record.format}"
        self.log_path = output / "log.csv"
        self.extrapolation_path = output / "extrapolation.csv"
        self.velocities = ""
        self._files: tuple[Recorder, ...] = ()

    def begin(self, *, resume: bool) -> list[str]:
        """Resume from the newest state, or start if no state was ever written.

        Returns:
            Notes for the user.

        Raises:
            StateError: If the log shows that a state was written, but there is none.
        """
        if resume and self.states.exist():
            return self.resume()
        if self.log_path.exists() and self.log_path.read_bytes().count(b"\n") > 2:
            raise StateError(
                f"{self.log_path} extends beyond the first state, but {self.output} "
                "has no state: restore it to resume the run, or start a new run with "
                "another --output"
            )
        self.start()
        never = "the run stopped before its first state was written: restarting it"
        return [never] if resume else []

    def start(self) -> None:
        """Start at step 0: set velocities, write the first frame, row and state."""
        try:
            self.atoms.get_forces()
        except CalculatorError as error:
            raise MDStoppedError(f"the run cannot start: {error}") from error
        self.velocities = start_velocities(
            self.atoms,
            self.config.velocities,
            target_temperature(self.config, 0),
            self.rng,
        )
        check_drift(self.atoms, self.config.ensemble)
        self._prepare()
        for path in (self.trajectory_path, self.log_path, self.extrapolation_path):
            path.unlink(missing_ok=True)
        self._open()
        self._write_frame(self._write_row())
        self._record_extrapolation()
        self._checkpoint()

    def resume(self) -> list[str]:
        """Load the newest state, and truncate the output files to it.

        Returns:
            Notes for the user on damaged states and a different environment.
        """
        warnings: list[str] = []
        record, tensors = self.states.load(warnings.append)
        warnings += check_continuation(self.output, record["run"], self._identity())
        if record["step"] > self.config.steps:
            raise ValueError(
                f"the run in {self.output} is already at step {record['step']}, but "
                f"steps is {self.config.steps}: it counts from the start of the run; "
                "increase it"
            )
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        for name in ("numbers", "pbc", "masses", "fixed"):
            if not np.array_equal(arrays[name], _constants(self.atoms)[name]):
                raise ValueError(
                    f"{name} of the structure differ from those of the run in "
                    f"{self.output}: the structure file has changed since its start; "
                    "restore the original, or start a new run"
                )
        self.atoms.set_cell(arrays["cell"], apply_constraint=False)
        self.atoms.set_positions(arrays["positions"], apply_constraint=False)
        self.atoms.set_momenta(arrays["momenta"], apply_constraint=False)
        self._prepare()
        self.step = record["step"]
        self._set_target()
        self.integrator.restore(
            {n: arrays[f"integrator.{n}"] for n in self.integrator.state()}
        )
        self.rng.bit_generator.state = record["rng"]
        self.course.sums.update(record["course"])
        cut_back(self.trajectory_path, record["trajectory"])
        cut_back(self.log_path, record["log"])
        cut_back(self.extrapolation_path, record["extrapolation_events"])
        self._open()
        return warnings

    def introduction(self) -> str:
        """Summary of the settings, initial velocities and output folder."""
        config = self.config
        start = f" from step {self.step}" if self.step else ""
        count = self.integrator.degrees_of_freedom
        lines = [
            f"{config.ensemble.name}, {len(self.atoms)} atoms, {config.steps} steps of "
            f"{config.timestep:g} fs{start}; files in {self.output}",
            f"velocities: {self.velocities or 'from the checkpoint'}; "
            f"now {self._temperature():.4g} K, {count} degrees of freedom"
            f"{self._left_out()}",
            describe_ramp(config),
        ]
        return "\n".join(line for line in lines if line is not None)

    def _temperature(self) -> float:
        """Current kinetic temperature in K."""
        drift = drift_energy(self.atoms) if self.integrator.keeps_momentum else 0.0
        return temperature(self.atoms, self.integrator.degrees_of_freedom, drift)

    def _left_out(self) -> str:
        """Degrees of freedom excluded from the temperature, as a phrase."""
        fixed = int((~movable(self.atoms)).sum())
        conserved = 3 * (len(self.atoms) - fixed) - self.integrator.degrees_of_freedom
        parts = []
        if conserved:
            parts.append(f"{conserved} of conserved rigid motions")
        if fixed:
            parts.append(f"{3 * fixed} of {fixed} fixed atoms")
        return f" (without {' and '.join(parts)})" if parts else ""

    def show(self, console: Console) -> Progress:
        """Progress display from the current step to the last."""
        return Progress(console, self.step, self.config.steps, self.config.timestep)

    def advance(self, progress: Progress, interrupted: Callable[[], bool]) -> MDSummary:
        """Run all remaining steps and write the summary.

        Args:
            progress: Progress display.
            interrupted: Called after every step; True ends the run early.

        Returns:
            Averages, drift and speed.

        Raises:
            MDStoppedError: If an alarm stopped the run or the calculator failed.
        """
        record = self.config.record
        if self.step < self.config.steps:
            self._remove_old_end()
        while self.step < self.config.steps and not interrupted():
            reason = self._make_step()
            if reason is None:
                row = None
                if self.step % record.log == 0:
                    row = self._write_row()
                    progress.update(row)
                    reason = self.alarms.check_drift(self.course, row.time_ps)
                if self.step % record.trajectory == 0:
                    self._write_frame(row or self._measure())
                if self.step % record.checkpoint == 0:
                    self._checkpoint()
            if reason is not None:
                self._stop(reason, progress)
        if self.step % record.checkpoint:
            self._checkpoint()
        early = self.step < self.config.steps
        return self._summarize(progress, stopped=INTERRUPTED if early else None)

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()

    def _make_step(self) -> str | None:
        """Run one step; returns the reason to stop, or None."""
        self.step += 1
        reason = None
        self._set_target()
        try:
            self.integrator.step()
        except (CalculatorError, ValueError) as error:  # positions may be infinite
            outside = bool(self._extrapolation_events())
            what = "outside the domain" if outside else "calculation failed"
            reason = f"{what}: {error}"
        if reason is None and self.step % STEPS_BETWEEN_DRIFT_REMOVALS == 0:
            self.integrator.remove_conserved_momenta()
        self.last_frames.keep(self.atoms, self.step)
        self._record_extrapolation()
        return reason or self.alarms.check(self.atoms, self.step)

    def _record_extrapolation(self) -> None:
        """Log the extrapolation events of the calculator."""
        events = self._extrapolation_events()
        if not events:
            return
        time_ps = self.step * self.config.timestep / FS_PER_PS
        for event in events:
            self.extrapolation_log.write(self.step, time_ps, event)
        self.course.add_extrapolation()

    def _extrapolation_events(self) -> Sequence[ExtrapolationEvent]:
        reporter = self._reporter
        return () if reporter is None else reporter.extrapolation_events

    def _prepare(self) -> None:
        self.integrator = build_integrator(self.atoms, self.config, self.rng)
        self.alarms = Alarms(
            self.config.alarms,
            self.integrator.degrees_of_freedom,
            self.atoms,
            keeps_momentum=self.integrator.keeps_momentum,
            changes_cell=self.integrator.changes_cell,
        )
        self.last_frames = LastFrames(self.config.alarms.frames)

    def _open(self) -> None:
        write_atomically(self.output / CONFIG, dump_config(self.config).encode())
        self.log = ThermoLog(self.log_path, self._columns())
        self.trajectory = TRAJECTORY_WRITERS[self.config.record.format](
            self.trajectory_path
        )
        self.extrapolation_log = ExtrapolationLog(self.extrapolation_path)
        self._files = (self.log, self.trajectory, self.extrapolation_log)

    def _columns(self) -> tuple[str, ...]:
        """Columns of the log, with those of a committee and a ramp if there is one."""
        potential = getattr(self.atoms.calc, "potential", None)
        spread = SPREAD_COLUMNS if isinstance(potential, Committee) else ()
        ramp = self.config.ramp
        aims: tuple[str, ...] = ()
        if ramp is not None and ramp.temperature is not None:
            aims = ("target_temperature_K",)
        if ramp is not None and ramp.pressure is not None:
            aims = (*aims, "target_pressure_GPa")
        return (*COLUMNS, *spread, *aims)

    def _set_target(self) -> None:
        """Set the target temperature and pressure of the ramp for the next step."""
        if self.config.ramp is not None:
            self.integrator.set_target(*targets(self.config, self.step))

    def _measure(self) -> Thermodynamics:
        row = measure(self.integrator, self.step)
        if self.config.ramp is None:
            return row
        return replace(
            row,
            target_temperature_K=target_temperature(self.config, self.step),
            target_pressure_GPa=target_pressure(self.config, self.step),
        )

    def _write_row(self) -> Thermodynamics:
        row = self._measure()
        self.course.add(row)
        self.log.write(row.row())
        return row

    def _write_frame(self, row: Thermodynamics) -> None:
        frame = self.atoms.copy()
        results = {
            "energy": row.potential_energy_eV,
            # Unconstrained forces: zeros on fixed atoms would be wrong labels.
            "forces": self.atoms.get_forces(apply_constraint=False),
        }
        if row.pressure_GPa is not None:
            results["stress"] = self.atoms.get_stress()
        frame.calc = SinglePointCalculator(frame, **results)
        frame.info.update(step=row.step, time_ps=row.time_ps)
        stamp(frame.info, self.facts)
        self.trajectory.write(frame)

    def _checkpoint(self) -> None:
        arrays = {
            **_constants(self.atoms),
            "cell": self.atoms.cell.array,
            "positions": self.atoms.positions,
            "momenta": self.atoms.get_momenta(),
            **{f"integrator.{k}": v for k, v in self.integrator.state().items()},
        }
        record = {
            "step": self.step,
            "run": self._identity(),
            "rng": self.rng.bit_generator.state,
            "course": self.course.sums,
            "trajectory": self.trajectory.mark(),
            "log": self.log.mark(),
            "extrapolation_events": self.extrapolation_log.mark(),
        }
        tensors = {n: torch.from_numpy(np.array(a)) for n, a in arrays.items()}
        self.states.save(record, tensors)
        self.atoms.calc.reset()

    def _identity(self) -> Mapping[str, Any]:
        return fingerprint_of_run(self.config, self.fingerprint)

    def _remove_old_end(self) -> None:
        """Remove files of an earlier end, which do not apply to a continued run."""
        for name in (SUMMARY, ALARM_FRAMES):
            (self.output / name).unlink(missing_ok=True)

    def _stop(self, reason: str, progress: Progress) -> None:
        path = self.output / ALARM_FRAMES
        frames = self.last_frames.frames()
        for frame in frames:
            stamp(frame.info, self.facts)
        write_frames(path, frames)
        message = (
            f"stopped at step {self.step}: {reason}\n"
            f"The last {self.config.alarms.frames} steps are in {path}; the trajectory "
            "up to this step is kept"
        )
        self._summarize(progress, stopped=message)
        raise MDStoppedError(message)

    def _summarize(self, progress: Progress, stopped: str | None) -> MDSummary:
        summary = summarize(
            self.course,
            self.step,
            self.config,
            steps_per_second=progress.steps_per_second(self.step),
            checks_domain=self._reporter is not None and self._reporter.has_domain,
            stopped=stopped,
        )
        made = {} if self.origin is None else {SECTION: self.origin.record()}
        write_json(self.output / SUMMARY, {**summary.as_dict(), **made})
        return summary


def _constants(atoms: Atoms) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Arrays that a run does not change."""
    return {
        "numbers": atoms.numbers.astype(np.int64),
        "pbc": atoms.pbc,
        "masses": atoms.get_masses(),
        "fixed": ~movable(atoms),
    }
