"""Small runs of the commands in separate processes, with checks of their results.

A run is started by its command as a user would, stopped in whatever way, continued with
``--resume``, and in the end compared, file by file, with one that nobody disturbed.
"""

import csv
import json
import logging
import multiprocessing
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

import ase.io
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from crash_points import Counter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import equipot.calculators  # noqa: F401 (imported by the command that it forks)
from equipot.checkpoint.file import KIND as POTENTIAL
from equipot.cli.main import app as equipot_app
from equipot.cli.train import app as train_app
from equipot.md import driver
from equipot.md.recorder import EXTRAPOLATION_COLUMNS, TRAJECTORY_WRITERS, ThermoLog
from equipot.md.thermodynamics import COLUMNS
from equipot.storage.atomic_file import PARTIAL
from equipot.storage.rotation import Generations
from equipot.storage.tensor_file import TensorFileError, read_tensor_file
from equipot.training import logs, state

logging.getLogger("tensorboard").setLevel(logging.ERROR)

PATIENCE = 120.0
"""Time in seconds after which a run counts as stuck."""

STARTUP = 120.0
"""Time limit in seconds for the slow imports."""

STUCK = 99
"""Exit status reported for a run that did not end."""

ENSEMBLES = {
    "nve": {"name": "nve"},
    "langevin": {"name": "langevin", "friction": 0.02},
    "bussi": {"name": "bussi"},
    "nose_hoover_chain": {"name": "nose_hoover_chain"},
    "npt": {"name": "npt", "pressure": 1.0, "taup": 300},
    "npt_full": {"name": "npt", "cell": "full", "taup": 300},
    "npt_berendsen": {"name": "npt_berendsen", "compressibility": 0.01},
}


@dataclass
class Ended:
    """Result of a process."""

    code: int
    """Exit status, or minus the number of the signal."""
    text: str
    """Output of the process."""
    points: int
    """Number of file operations, if counted."""
    seconds: float


@dataclass(frozen=True)
class Order:
    """Work of a process, and the time of its kill."""

    work: Callable[..., None]
    """Function that other processes can import."""
    arguments: tuple[Any, ...]
    text: Path
    """File for its output."""
    hook: Callable[[Counter], None] | None = None
    """Called in the process before the work."""
    kill_after: float | None = None
    """Time in seconds after which it is killed."""


class Server:
    """Fork server: a process with all slow imports done, which forks all others.

    A fork of it starts at once, and has neither threads nor anything computed.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()

    def execute(self, order: Order) -> Ended:
        """Run work in a new process and wait for its end."""
        self._mine.send(order)
        if not self._mine.poll(PATIENCE + STARTUP):
            raise TimeoutError("the process that forks others does not answer")
        ended: Ended = self._mine.recv()
        return ended

    def close(self) -> None:
        """End it."""
        self._mine.close()
        self._process.join()


class Run(ABC):
    """A command that runs in a folder, with checks of the files that it leaves.

    Args:
        folder: Of the run; it need not exist.
        config: YAML file.
    """

    command: str

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.config = config
        self.text = folder.with_name(f"{folder.name}.out")

    def go(
        self,
        server: Server,
        hook: Callable[[Counter], None] | None = None,
        kill_after: float | None = None,
        resume: bool | None = None,
    ) -> Ended:
        """Start or resume the run in a process, and wait until it ends.

        Args:
            server: Starts the process.
            hook: See `Order`.
            kill_after: See `Order`.
            resume: Whether to add ``--resume``; by default if there is a run.
        """
        if resume is None:
            resume = (self.folder / "config.yaml").is_file()
        arguments = [self.command, str(self.config), "--output", str(self.folder)]
        arguments += ["--resume"] * resume
        order = Order(command, (arguments,), self.text, hook, kill_after)
        self.ended = server.execute(order)
        return self.ended

    @property
    @abstractmethod
    def states(self) -> Generations:
        """Rotating checkpoints of the state."""

    @abstractmethod
    def harmed(self) -> list[str]:
        """Incomplete files; call after every kill, before a resume."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Contents by file that must not depend on interruptions."""

    def progress(self) -> float:  # does not change the folder, unlike a load
        """Completed share of the run in its newest state."""
        for path in self.states.paths:
            try:
                header, _ = read_tensor_file(path, self.states.kind)
            except (FileNotFoundError, TensorFileError):
                continue
            return self.share(header["record"])
        return 0.0

    @abstractmethod
    def share(self, record: dict[str, Any]) -> float:
        """Completed share of the run in a state."""

    def differences(self, reference: "Run") -> list[str]:
        """Files that are damaged or differ from those of an uninterrupted run."""
        mine, theirs = self.result(), reference.result()
        differing = [
            name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)
        ]
        rubbish = [p.name for p in self.folder.iterdir() if _is_rubbish(p)]
        return differing + self.harmed() + rubbish

    def _harmed_states(self) -> list[str]:
        return [
            str(error)
            for path in self.states.paths
            if path.exists() and (error := _damage(path, self.states.kind)) is not None
        ]


@final
class Training(Run):
    """A run of `train-potential`."""

    command = "train"

    @property
    def states(self) -> Generations:
        """Rotating checkpoints of the state."""
        return Generations(self.folder, state.KIND, state.VERSION)

    def share(self, record: dict[str, Any]) -> float:
        """Completed share of the epochs."""
        position = record["position"]
        epochs = record["config"]["training"]["epochs"]
        return min((position["epoch"] + position["batch"] / 6) / epochs, 1.0)

    def harmed(self) -> list[str]:
        """Damaged models, states, JSON files, and tables."""
        harmed = self._harmed_states()
        for name in ("model.safetensors", "last.safetensors"):
            path = self.folder / name
            if path.exists() and (error := _damage(path, POTENTIAL)) is not None:
                harmed.append(error)
        for name in ("environment.json", "data.json", "metrics.json"):
            harmed += _harmed_json(self.folder / name)
        return harmed + _harmed_table(self.folder / "metrics.csv", len(logs.COLUMNS))

    def result(self) -> dict[str, Any]:
        """Weights, averages, optimizer, models, history, errors and curves."""
        record, tensors = self.states.load(_refuse)
        record["position"].pop("seconds")
        _drop_seconds(record["position"]["history"])
        metrics = json.loads((self.folder / "metrics.json").read_text())
        metrics.pop("seconds")
        _drop_seconds(metrics["history"])
        with (self.folder / "metrics.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        _drop_seconds(table)
        names = ("model.safetensors", "last.safetensors", "config.yaml", "data.json")
        return {
            **{f"state: {name}": _bits(tensor) for name, tensor in tensors.items()},
            "state: record": record,
            "metrics.json": metrics,
            "metrics.csv": table,
            "tensorboard": self._curves(),
            **{name: (self.folder / name).read_bytes() for name in names},
        }

    def _curves(self) -> dict[str, list[tuple[int, float]]]:
        events = EventAccumulator(str(self.folder / "tensorboard"))
        events.Reload()
        return {
            tag: [(point.step, point.value) for point in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if tag != "seconds"
        }


@final
class Dynamics(Run):
    """A run of `equipot md`."""

    command = "md"

    @property
    def states(self) -> Generations:
        """Rotating checkpoints of the state."""
        return Generations(self.folder, driver.KIND, driver.VERSION)

    def share(self, record: dict[str, Any]) -> float:
        """Completed share of the steps."""
        steps: int = yaml.safe_load(self.config.read_text())["steps"]
        return float(record["step"] / steps)

    def harmed(self) -> list[str]:
        """Damaged states, JSON files, tables and trajectories."""
        harmed = self._harmed_states() + _harmed_json(self.folder / "summary.json")
        harmed += _harmed_table(self.folder / "log.csv", len(COLUMNS))
        extrapolation_events = self.folder / "extrapolation.csv"
        harmed += _harmed_table(extrapolation_events, len(EXTRAPOLATION_COLUMNS))
        for path in self.folder.glob("trajectory.*"):
            if path.stat().st_size == 0:
                continue
            try:
                ase.io.read(path, ":")
            except Exception as error:
                harmed.append(f"{path.name}: {error!r}")
        return harmed

    def result(self) -> dict[str, Any]:
        """Trajectory, log, state and summary."""
        record, tensors = self.states.load(_refuse)
        summary = json.loads((self.folder / "summary.json").read_text())
        del summary["steps_per_second"], summary["ns_per_day"], summary["provenance"]
        names = [path.name for path in self.folder.glob("trajectory.*")]
        return {
            **{f"state: {name}": _bits(tensor) for name, tensor in tensors.items()},
            "state: record": record,
            "summary.json": summary,
            **{
                name: (self.folder / name).read_bytes()
                for name in (*names, "log.csv", "extrapolation.csv", "config.yaml")
            },
        }


def command(arguments: list[str]) -> None:
    """Run a command of the package as in a terminal."""
    if arguments[0] == Training.command:
        train_app(arguments[1:])
    else:
        equipot_app(arguments)


def save_states(folder: Path, kind: str, steps: Sequence[int]) -> None:
    """Load the state of a folder if there is one, and save others after it."""
    states = Generations(folder, kind, version=1)
    if states.exist():
        states.load(print)
    for step in steps:
        states.save({"step": step}, {"weight": torch.full((40,), float(step))})


def record(folder: Path, form: str, frames: int) -> None:
    """Append frames to a trajectory and rows to a log.

    Args:
        folder: Of both.
        form: Of the trajectory.
        frames: How many.
    """
    log = ThermoLog(folder / "log.csv", ("step", "energy"))
    trajectory = TRAJECTORY_WRITERS[form](folder / f"trajectory.{form}")
    with closing(trajectory):
        for step in range(frames):
            log.write({"step": step, "energy": -0.1 * step})
            trajectory.write(bulk("Cu") * (step + 1, 1, 1))


def write_training(folder: Path, **training: Any) -> Path:
    """Write crystals with labels, and the configuration of a short training on them.

    Args:
        folder: Made.
        training: Changes to that section.

    Returns:
        The configuration: 4 epochs of 6 batches, a state every 4 steps.
    """
    folder.mkdir(parents=True)
    crystals = [_crystal(n) for n in range(18)]
    parts = {"train": crystals[:12], "valid": crystals[12:15], "test": crystals[15:]}
    for name, part in parts.items():
        ase.io.write(folder / f"{name}.xyz", part, format="extxyz")
    tree = {
        "seed": 3,
        "model": {
            "cutoff": 3.2,
            "lmax": 1,
            "channels": 2,
            "num_layers": 2,
            "num_basis": 3,
            "radial_hidden": [4],
            "readout_hidden": 4,
            "dtype": "float64",
            "backend": "clebsch_gordan",
        },
        "data": {
            "root": str(folder),
            "train": ["train.xyz"],
            "valid": ["valid.xyz"],
            "test": {"bulk": ["test.xyz"]},
        },
        "training": {
            "epochs": 4,
            "batch_size": 2,
            "checkpoint_steps": 4,
            "optimizer": {"lr": 0.01},
            "loss": {"stress": {"weight": 10}},
            "num_threads": 1,
            "device": "cpu",
            "verify": False,  # would take most of the time, and writes one file
            **training,
        },
    }
    config = folder / "training.yaml"
    config.write_text(yaml.safe_dump(tree))
    return config


def write_dynamics(
    folder: Path, model: Path, ensemble: str, form: str, steps: int
) -> Path:
    """Write a structure, and the configuration of short dynamics.

    Args:
        folder: Made if missing.
        model: Trained potential.
        ensemble: One of `ENSEMBLES`.
        form: Of the trajectory.
        steps: In all; a state every 12.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "start.xyz", _crystal(0), format="extxyz")
    tree = {
        "model": str(model),
        "structure": {"file": str(folder / "start.xyz")},
        "ensemble": ENSEMBLES[ensemble],
        "steps": steps,
        "timestep": 2.0,
        "temperature": 400,
        "seed": 3,
        "record": {"log": 3, "trajectory": 5, "checkpoint": 12, "format": form},
        "on_extrapolation": "record",
        "num_threads": 1,
        "device": "cpu",
    }
    config = folder / f"{ensemble}_{form}_{steps}.yaml"
    config.write_text(yaml.safe_dump(tree))
    return config


def _serve(orders: Connection) -> None:
    context = multiprocessing.get_context("fork")
    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        counter = context.RawValue("i", 0)
        order.text.unlink(missing_ok=True)
        process = context.Process(target=_run, args=(order, counter))
        begin = time.monotonic()
        process.start()
        process.join(PATIENCE if order.kill_after is None else order.kill_after)
        stuck = process.is_alive() and order.kill_after is None
        process.kill()
        process.join()
        orders.send(
            Ended(
                code=STUCK if stuck else process.exitcode or 0,
                text=order.text.read_text() if order.text.exists() else "",
                points=counter.value,
                seconds=time.monotonic() - begin,
            )
        )


def _run(order: Order, counter: Counter) -> None:
    descriptor = os.open(order.text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["COLUMNS"] = "300"
    torch.set_num_threads(1)
    if order.hook is not None:
        order.hook(counter)
    try:
        order.work(*order.arguments)
    finally:
        sys.setprofile(None)


def _crystal(n: int) -> Atoms:
    atoms = bulk("Cu" if n % 2 else "Au", cubic=True)
    atoms.numbers[0] = 29 if n % 3 else 79
    atoms.rattle(0.1, seed=n)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    stress = atoms.get_stress(voigt=False)
    atoms.calc = None
    atoms.info.update(REF_energy=energy, REF_stress=stress, config_type=f"type{n % 2}")
    atoms.arrays["REF_forces"] = forces
    return atoms


def _refuse(message: str) -> None:
    raise ValueError(message)


def _bits(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    return str(tensor.dtype), tuple(tensor.shape), tensor.numpy().tobytes()


def _drop_seconds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row.pop("seconds")


def _is_rubbish(path: Path) -> bool:
    return path.match(PARTIAL) or path.name in ("state.new.safetensors",)


def _damage(path: Path, kind: str) -> str | None:
    try:
        read_tensor_file(path, kind)
    except TensorFileError as error:
        return str(error)
    return None


def _harmed_json(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        json.loads(path.read_text())
    except ValueError as error:
        return [f"{path.name}: {error}"]
    return []


def _harmed_table(path: Path, columns: int) -> list[str]:
    if not path.exists():
        return []
    text = path.read_text()
    rows = list(csv.reader(text.splitlines()))
    if not text:
        return []
    if text.endswith("\n") and all(len(row) == columns for row in rows):
        return []
    return [f"{path.name}: its last row is not whole"]
