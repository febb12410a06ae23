"""Runs molecular dynamics with any ASE calculator, and restarts it bit for bit."""

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
from equipot.md.alarms import DRIFT_AFTER_PS, Alarms, LastFrames, MDStoppedError
from equipot.md.build import build_integrator, check_drift, start_velocities
from equipot.md.continuation import check_continuation, fingerprint_of_run
from equipot.md.progress import Progress
from equipot.md.ramp import (
    describe_ramp,
    target_pressure,
    target_temperature,
    targets,
)
from equipot.md.recorder import (
    TRAJECTORIES,
    ExtrapolationLog,
    Recorder,
    ThermoLog,
    cut_back,
)
from equipot.md.summary import MDSummary, ns_per_day
from equipot.md.thermodynamics import (
    COLUMNS,
    SPREAD_COLUMNS,
    Course,
    Thermodynamics,
    measure,
    temperature,
)
from equipot.md.velocities import drift_energy, movable
from equipot.models.committee import Committee
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.frame_file import write_frames
from equipot.storage.provenance import SECTION, Origin, note_start, stamp
from equipot.storage.rotation import Generations, StateError
from equipot.storage.run_folder import CONFIG, lock_run_directory

KIND = "state of a molecular dynamics run"
VERSION = 4
ALARM_FRAMES = "alarm.extxyz"
SUMMARY = "summary.json"
INTERRUPTED = "interrupted; continue with --resume"
PS_PER_NS = 1000
STEPS_BETWEEN_STOPS = 100
"""Steps after which thermostats that scale velocities lose what drift they made."""
TOLD_APART = 2.0
"""Standard errors by which a drift is told from none."""
FS_PER_PS = 1000


@runtime_checkable
class Watchful(Protocol):
    """A calculator that says where it extrapolates."""

    extrapolation_events: Sequence[ExtrapolationEvent]
    """What it found at its last calculation."""
    has_domain: bool
    """Whether it has anything to compare with."""


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

    The calculator is reset after every checkpoint, so that a run that goes on and a run
    that is resumed from the checkpoint have calculators with the same history: none.

    Args:
        atoms: With a calculator; its positions, momenta and cell are changed.
        config: What to run; `config.model`, `config.structure` and `config.output` are
            recorded but not used.
        output: Folder for trajectory, log, states and summary.
        resume: Continue from the newest state in `output`, bit for bit.
        fingerprint: Identity of the calculator; only the same can resume the run.
        origin: Models and inputs, named in ``environment.json``, ``summary.json`` and
            every frame.
        console: Where to show progress; standard output if left out.
        interrupted: Asked after every step; where it says yes the run ends with a state
            to resume from.

    Returns:
        Averages, drift and speed; also written to ``summary.json``.

    Raises:
        MDStoppedError: If an alarm went off or the calculator failed.
        ValueError: If `output` holds something and `resume` is not set, or the run in
            it was another one.
    """
    console = console or Console()
    simulation = Simulation(atoms, config, output, fingerprint, origin)
    with lock_run_directory(output, resume=resume), closing(simulation):
        for warning in simulation.begin(resume=resume):
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
        if origin is not None:  # after config.yaml, the mark of the folder
            note_start(output, origin)
        console.print(simulation.introduction(), soft_wrap=True, markup=False)
        with simulation.show(console) as progress:
            summary = simulation.advance(progress, interrupted)
    for line in summary.lines():
        console.print(line, markup=False, highlight=False)
    return summary


@final
class Simulation:
    """A run: its integrator, its files, and its state.

    Args:
        atoms: With a calculator.
        config: What to run.
        output: Folder for all files.
        fingerprint: Identity of the calculator.
        origin: What frames and summary name.
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
        # without a date: a resumed run has the same files, bit for bit
        self.facts = {} if origin is None else origin.lasting_info()
        self.step = 0
        self.rng = np.random.default_rng(config.seed)
        self.course = Course(len(atoms))
        self.states = Generations(output, KIND, VERSION)
        self.trajectory_path = output / f"trajectory.{config.record.format}"
        self.log_path = output / "log.csv"
        self.extrapolation_path = output / "extrapolation.csv"
        self.velocities = ""
        self._files: tuple[Recorder, ...] = ()

    def begin(self, *, resume: bool) -> list[str]:
        """Resume if there is a state; start if there never was one.

        Returns:
            What the user should know.

        Raises:
            StateError: If there was a state, and it is gone.
        """
        if resume and self.states.exist():
            return self.resume()
        if self.log_path.exists() and self.log_path.read_bytes().count(b"\n") > 2:
            raise StateError(
                f"{self.log_path} goes beyond the first state, but {self.output} holds "
                "no state: put it back to resume the run, or start a new one with "
                "another --output"
            )
        self.start()
        never = "the run was stopped before its first state: starting anew"
        return [never] if resume else []

    def start(self) -> None:
        """Begin at step 0: velocities, first frame, first row, first state."""
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
        """Go back to the newest state, and cut the files back to it.

        Returns:
            What the user should know: damaged states, another environment.
        """
        warnings: list[str] = []
        record, tensors = self.states.load(warnings.append)
        warnings += check_continuation(self.output, record["run"], self._identity())
        if record["step"] > self.config.steps:
            raise ValueError(
                f"the run in {self.output} is at step {record['step']} already, steps "
                f"is {self.config.steps}: it counts from the start of the run, use "
                "more"
            )
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        for name in ("numbers", "pbc", "masses", "fixed"):
            if not np.array_equal(arrays[name], _constants(self.atoms)[name]):
                raise ValueError(
                    f"{name} of the structure differ from those of the run in "
                    f"{self.output}: the structure file was changed since it began; "
                    "put the original back, or start a new run"
                )
        self.atoms.set_cell(arrays["cell"], apply_constraint=False)
        self.atoms.set_positions(arrays["positions"], apply_constraint=False)
        self.atoms.set_momenta(arrays["momenta"], apply_constraint=False)
        self._prepare()
        self.step = record["step"]
        self._aim()
        self.integrator.restore(
            {n: arrays[f"integrator.{n}"] for n in self.integrator.variables}
        )
        self.integrator.dynamics.nsteps = self.step
        self.rng.bit_generator.state = record["rng"]
        self.course.sums.update(record["course"])
        cut_back(self.trajectory_path, record["trajectory"])
        cut_back(self.log_path, record["log"])
        cut_back(self.extrapolation_path, record["extrapolation_events"])
        self._open()
        return warnings

    def introduction(self) -> str:
        """What will be run from here, how it starts, and where its files are."""
        config = self.config
        start = f" from step {self.step}" if self.step else ""
        count = self.integrator.degrees_of_freedom
        lines = [
            f"{config.ensemble.name}, {len(self.atoms)} atoms, {config.steps} steps of "
            f"{config.timestep:g} fs{start}; files in {self.output}",
            f"velocities: {self.velocities or 'of the last state'}; "
            f"{self._temperature():.4g} K with {count} degrees of freedom"
            f"{self._left_out()}",
            describe_ramp(config),
        ]
        return "\n".join(line for line in lines if line is not None)

    def _temperature(self) -> float:
        """Kinetic temperature of this moment in K."""
        drift = drift_energy(self.atoms) if self.integrator.keeps_momentum else 0.0
        return temperature(self.atoms, self.integrator.degrees_of_freedom, drift)

    def _left_out(self) -> str:
        """Momenta that carry no heat, as a phrase."""
        fixed = int((~movable(self.atoms)).sum())
        conserved = 3 * (len(self.atoms) - fixed) - self.integrator.degrees_of_freedom
        parts = []
        if conserved:
            parts.append(f"{conserved} of the conserved motion of the whole")
        if fixed:
            parts.append(f"{3 * fixed} of {fixed} fixed atoms")
        return f" (without {' and '.join(parts)})" if parts else ""

    def show(self, console: Console) -> Progress:
        """Progress display from the present step to the last."""
        return Progress(console, self.step, self.config.steps, self.config.timestep)

    def advance(self, progress: Progress, interrupted: Callable[[], bool]) -> MDSummary:
        """Make all steps that are left, and write the summary.

        Args:
            progress: Shows how it goes.
            interrupted: Whether to end early, asked after every step.

        Returns:
            Averages, drift and speed.

        Raises:
            MDStoppedError: If an alarm went off or the calculator failed.
        """
        record = self.config.record
        if self.step < self.config.steps:
            self._remove_old_end()
        while self.step < self.config.steps and not interrupted():
            reason = self._make_step()
            if reason is None:
                if self.step % record.log == 0:
                    row = self._write_row()
                    progress.update(row)
                    reason = self.alarms.check_drift(self.course, row.time_ps)
                if self.step % record.trajectory == 0:
                    self._write_frame(self._measure())
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
        """One step; why the run must stop, or None."""
        self.step += 1
        reason = None
        self._aim()
        try:
            self.integrator.step()
        except (CalculatorError, ValueError) as error:  # positions may be infinite
            outside = bool(self._extrapolation_events())
            what = "outside the domain" if outside else "calculation failed"
            reason = f"{what}: {error}"
        if reason is None and self.step % STEPS_BETWEEN_STOPS == 0:
            self.integrator.stop_drift()
        self.last_frames.keep(self.atoms, self.step)
        self._record_extrapolation()
        return reason or self.alarms.check(self.atoms, self.step)

    def _record_extrapolation(self) -> None:
        """Log extrapolation events of the calculator, if it reports any."""
        events = self._extrapolation_events()
        time_ps = self.step * self.config.timestep / FS_PER_PS
        for event in events:
            self.extrapolation_log.write(self.step, time_ps, event)
        if events:
            self.course.add_extrapolation()

    def _extrapolation_events(self) -> Sequence[ExtrapolationEvent]:
        calculator = self.atoms.calc
        return (
            calculator.extrapolation_events if isinstance(calculator, Watchful) else ()
        )

    def _prepare(self) -> None:
        self.integrator = build_integrator(self.atoms, self.config, self.rng)
        self.alarms = Alarms(
            self.config.alarms,
            self.integrator.degrees_of_freedom,
            self.atoms,
            keeps_momentum=self.integrator.keeps_momentum,
        )
        self.last_frames = LastFrames(self.config.alarms.frames)

    def _open(self) -> None:
        write_atomically(self.output / CONFIG, dump_config(self.config).encode())
        self.log = ThermoLog(self.log_path, self._columns())
        self.trajectory = TRAJECTORIES[self.config.record.format](self.trajectory_path)
        self.extrapolation_log = ExtrapolationLog(self.extrapolation_path)
        self._files = (self.log, self.trajectory, self.extrapolation_log)

    def _columns(self) -> tuple[str, ...]:
        """Of the log: more for a committee, and for a ramp."""
        potential = getattr(self.atoms.calc, "potential", None)
        spread = SPREAD_COLUMNS if isinstance(potential, Committee) else ()
        ramp = self.config.ramp
        aims: tuple[str, ...] = ()
        if ramp is not None and ramp.temperature is not None:
            aims = ("target_temperature_K",)
        if ramp is not None and ramp.pressure is not None:
            aims = (*aims, "target_pressure_GPa")
        return (*COLUMNS, *spread, *aims)

    def _aim(self) -> None:
        """Tell the integrator what the ramp has come to."""
        if self.config.ramp is not None and self.integrator.aim is not None:
            self.integrator.aim(*targets(self.config, self.step))

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
            # of fixed atoms, too: zeros would be wrong labels
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
        """What an earlier end wrote would contradict a run that goes on."""
        for name in (SUMMARY, ALARM_FRAMES):
            (self.output / name).unlink(missing_ok=True)

    def _stop(self, reason: str, progress: Progress) -> None:
        path = self.output / ALARM_FRAMES
        frames = list(self.last_frames.frames())
        for frame in frames:
            stamp(frame.info, self.facts)
        write_frames(path, frames)
        message = (
            f"stopped at step {self.step}: {reason}\n"
            f"The last {self.config.alarms.frames} steps are in {path}; the trajectory "
            "up to here is kept"
        )
        self._summarize(progress, stopped=message)
        raise MDStoppedError(message)

    def _summarize(self, progress: Progress, stopped: str | None) -> MDSummary:
        course, speed = self.course, progress.steps_per_second(self.step)
        time_ps = self.step * self.config.timestep / FS_PER_PS
        long_enough = time_ps >= DRIFT_AFTER_PS - 1e-9
        drift = course.drift if long_enough else None
        largest = course.sums.get("largest_force_spread_step")
        summary = MDSummary(
            steps=self.step,
            time_ps=time_ps,
            num_atoms=len(self.atoms),
            ensemble=self.config.ensemble.name,
            mean_temperature_K=course.mean("temperature"),
            temperature_deviation_K=course.temperature_deviation,
            mean_pressure_GPa=course.mean("pressure"),
            mean_volume_A3=course.mean("volume"),
            drift_meV_per_atom_per_ns=_per_ns(drift),
            drift_error_meV_per_atom_per_ns=_per_ns(
                course.drift_error if long_enough else None
            ),
            drift_note=_drift_note(course, time_ps) if course.conserves else None,
            mean_energy_spread_meV_per_atom=course.mean("energy_spread"),
            mean_max_force_spread_eV_per_A=course.mean("force_spread"),
            largest_force_spread_eV_per_A=course.sums.get("largest_force_spread"),
            largest_force_spread_step=None if largest is None else int(largest),
            steps_per_second=speed,
            ns_per_day=None
            if speed is None
            else ns_per_day(speed, self.config.timestep),
            steps_beyond_domain=course.extrapolation_events
            if isinstance(self.atoms.calc, Watchful) and self.atoms.calc.has_domain
            else None,
        )
        summary = replace(summary, stopped=stopped)
        made = {} if self.origin is None else {SECTION: self.origin.record()}
        write_json(self.output / SUMMARY, {**summary.as_dict(), **made})
        return summary


def _per_ns(rate_per_ps: float | None) -> float | None:
    return None if rate_per_ps is None else rate_per_ps * PS_PER_NS


def _drift_note(course: Course, time_ps: float) -> str | None:
    """Why the drift means little, or None."""
    if time_ps < DRIFT_AFTER_PS - 1e-9:
        return (
            f"not determined: the run has {time_ps:g} ps, a slope needs "
            f"{DRIFT_AFTER_PS:g} ps or more"
        )
    drift, error = course.drift, course.drift_error
    if drift is None or error is None:
        return "not determined: the log has fewer than three rows"
    if abs(drift) < TOLD_APART * error:
        return "not distinguishable from zero"
    return None


def _constants(atoms: Atoms) -> dict[str, Shaped[np.ndarray, "..."]]:
    """What a run never changes."""
    return {
        "numbers": atoms.numbers.astype(np.int64),
        "pbc": atoms.pbc,
        "masses": atoms.get_masses(),
        "fixed": ~movable(atoms),
    }
