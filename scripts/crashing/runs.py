"""Short runs of the commands, and their comparison with undisturbed ones.

A run is started by its command as a user would, stopped at some moment, continued with
``--resume``, and in the end compared, file by file, with an undisturbed one.
"""

import csv
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import equipot.calculators  # noqa: F401 (imported by the command that it forks)
from crashing.damage import (
    damaged_json,
    damaged_table,
    damaged_tensors,
    damaged_trajectory,
)
from crashing.points import Counter
from crashing.processes import Ended, Order, Server
from equipot.checkpoint.file import KIND as POTENTIAL
from equipot.cli.main import app as equipot_app
from equipot.cli.train import app as train_app
from equipot.md import driver
from equipot.md.recorder import EXTRAPOLATION_COLUMNS
from equipot.md.thermodynamics import COLUMNS
from equipot.storage.atomic_file import PARTIAL
from equipot.storage.rotation import RotatingCheckpoints
from equipot.storage.tensor_file import TensorFileError, read_tensor_file
from equipot.training import logs, state

logging.getLogger("tensorboard").setLevel(logging.ERROR)


class Run(ABC):
    """A command that runs in a folder, and what is left there.

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
    def states(self) -> RotatingCheckpoints:
        """RotatingCheckpoints of its state."""

    @abstractmethod
    def harmed(self) -> list[str]:
        """What is wrong with files, after a kill and before a resume."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """All that must not depend on when it was stopped, by file."""

    def progress(self) -> float:  # leaves the folder as it is, unlike a load
        """Share of the run that its newest state has behind it."""
        for path in self.states.paths:
            try:
                header, _ = read_tensor_file(path, self.states.kind)
            except (FileNotFoundError, TensorFileError):
                continue
            return self.share(header["record"])
        return 0.0

    @abstractmethod
    def share(self, record: dict[str, Any]) -> float:
        """Share of the run that a state has behind it."""

    def differences(self, reference: "Run") -> list[str]:
        """Files that differ from those of an undisturbed run, or are damaged."""
        mine, theirs = self.result(), reference.result()
        differing = [
            name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)
        ]
        left = [p.name for p in self.folder.iterdir() if p.match(PARTIAL)]
        left += [p.name for p in self.folder.glob("state.new.safetensors")]
        return differing + self.harmed() + left

    def _harmed_states(self) -> list[str]:
        kind = self.states.kind
        return [h for path in self.states.paths for h in damaged_tensors(path, kind)]


@final
class Training(Run):
    """A run of `train-potential`."""

    command = "train"

    @property
    def states(self) -> RotatingCheckpoints:
        """RotatingCheckpoints of its state."""
        return RotatingCheckpoints(self.folder, state.KIND, state.VERSION)

    def share(self, record: dict[str, Any]) -> float:
        """Share of its epochs."""
        position = record["position"]
        epochs = record["config"]["training"]["epochs"]
        return min((position["epoch"] + position["batch"] / 6) / epochs, 1.0)

    def harmed(self) -> list[str]:
        """Damaged models, states, JSON files, and tables."""
        harmed = self._harmed_states()
        for name in ("model.safetensors", "last.safetensors"):
            harmed += damaged_tensors(self.folder / name, POTENTIAL)
        for name in ("environment.json", "data.json", "metrics.json"):
            harmed += damaged_json(self.folder / name)
        return [*harmed, *damaged_table(self.folder / "metrics.csv", len(logs.COLUMNS))]

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
    def states(self) -> RotatingCheckpoints:
        """RotatingCheckpoints of its state."""
        return RotatingCheckpoints(self.folder, driver.KIND, driver.VERSION)

    def share(self, record: dict[str, Any]) -> float:
        """Share of its steps."""
        steps: int = yaml.safe_load(self.config.read_text())["steps"]
        return float(record["step"] / steps)

    def harmed(self) -> list[str]:
        """Damaged states, JSON files, tables and trajectories."""
        harmed = self._harmed_states()
        harmed += damaged_json(self.folder / "summary.json")
        harmed += damaged_table(self.folder / "log.csv", len(COLUMNS))
        events = self.folder / "extrapolation.csv"
        harmed += damaged_table(events, len(EXTRAPOLATION_COLUMNS))
        for path in self.folder.glob("trajectory.*"):
            harmed += damaged_trajectory(path)
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
    """Run a command of the package, as a terminal would."""
    if arguments[0] == Training.command:
        train_app(arguments[1:])
    else:
        equipot_app(arguments)


def _refuse(message: str) -> None:
    raise ValueError(message)


def _bits(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    return str(tensor.dtype), tuple(tensor.shape), tensor.numpy().tobytes()


def _drop_seconds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row.pop("seconds")
