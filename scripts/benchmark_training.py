"""Time of an epoch of training with one backend and another, and their losses.

python scripts/benchmark_training.py DATA [--backends clebsch_gordan so2 fused]
    [--epochs 2] [--structures 500] [--threads 2] [--dtype float32] [--json FILE]

Trains as configs/3bpa.yaml does, with lmax 2 and 64 channels, on the files of 3BPA in
the folder DATA. Backends compute the same function: the losses of the first epochs
agree up to rounding, which training then amplifies; how much is measured by training
the reference again from weights that are off by their last bit. An epoch includes its
validation. Run it on an idle machine.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import ase.io
import torch
from rich.console import Console
from rich.table import Table

from equipot.bench.record import busy
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.models import Potential
from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment
from equipot.tensor_products import REFERENCE
from equipot.training import run
from equipot.training.position import Row
from equipot.training.run import run_training

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "3bpa.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "training_cpu.json"
TRAIN, ISOLATED = "train_300K.extxyz", "iso_atoms.extxyz"
VALID = 0.1
"""Share of the structures that is validated on."""
TARGET = 5.0
"""How much faster an epoch has to be with `fused` than with the reference."""
NUDGED = "reference, nudged"
"""The reference once more, from weights that are off by their last bit."""
ALLOWED = 100.0
"""Difference of losses over that of the nudged reference. Training is chaotic: what
differs in the last bit grows a hundred thousand times in 45 steps, whoever computes."""


def main() -> None:
    """Train with each backend, print times and losses, write JSON."""
    arguments = _parse()
    screen = Console()
    if (warning := busy()) is not None:
        screen.print(f"[yellow]![/] {warning}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        structures = _select(arguments.data, root, arguments.structures)
        histories = {
            name: train(name, root, arguments) for name in _order(arguments.backends)
        }
        with nudged_weights():
            histories[NUDGED] = train(REFERENCE, root, arguments, NUDGED)
    rows = [summarize(n, h, histories[REFERENCE]) for n, h in histories.items()]
    screen.print(table(rows))
    passed = [row for row in rows if row["backend"] == "fused"]
    for row in passed:
        screen.print(
            f"fused is {row['speed']:.3g} times as fast as {REFERENCE} per epoch; at "
            f"least {TARGET:g} is wanted"
        )
    differing = [
        name
        for name, history in histories.items()
        if not agrees(history, histories[NUDGED], histories[REFERENCE])
    ]
    screen.print(
        f"losses differ by more than rounding: {', '.join(differing)}"
        if differing
        else "losses differ by no more than rounding does"
    )
    record = {
        "environment": describe_environment(),
        "warning": warning,
        "threads": arguments.threads,
        "structures": structures,
        "dtype": arguments.dtype,
        "allowed_over_nudged": ALLOWED,
        "backends": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, record)
    screen.print(f"wrote {arguments.json}")


def train(
    backend: str, root: Path, arguments: argparse.Namespace, name: str | None = None
) -> list[Row]:
    """Rows of the epochs of a run; its folder is named by the backend or as given."""
    settings = {
        "model.lmax": 2,
        "model.channels": 64,
        "model.backend": backend,
        "model.dtype": arguments.dtype,
        "data.root": root,
        "data.train": f"[{TRAIN}, {ISOLATED}]",
        "data.valid": VALID,
        "data.test": "{}",
        "training.epochs": arguments.epochs,
        "training.num_threads": arguments.threads,
        "training.device": "cpu",
        "training.verify": False,
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    config = load_config(CONFIG, overrides, TrainConfig)
    silent = Console(file=StringIO())
    result = run_training(config, root / (name or backend), console=silent)
    return result.position.history


@contextmanager
def nudged_weights() -> Iterator[None]:
    """Within it, initial weights are off by about their last bit."""
    build = run.build_potential

    def build_nudged(*arguments: Any, **options: Any) -> Potential:
        potential = build(*arguments, **options)
        with torch.no_grad():
            for weight in potential.parameters():
                weight.mul_(1 + 2 * torch.finfo(weight.dtype).eps)
        return potential

    run.build_potential = build_nudged
    try:
        yield
    finally:
        run.build_potential = build


def agrees(
    history: Sequence[Row], nudged: Sequence[Row], reference: Sequence[Row]
) -> bool:
    """Whether losses of every epoch differ about as much as rounding makes them."""
    return all(
        largest_difference(history[n : n + 1], reference[n : n + 1])
        <= ALLOWED * largest_difference(nudged[n : n + 1], reference[n : n + 1])
        for n in range(len(reference))
    )


def summarize(
    backend: str, history: Sequence[Row], reference: Sequence[Row]
) -> dict[str, Any]:
    """Times and losses of one backend beside those of the reference.

    Args:
        backend: Name.
        history: Rows of its epochs; their "seconds" count from the start of the run.
        reference: Those of the reference.

    Returns:
        Seconds of each epoch, their median, speed with the reference as unit, losses,
        and their largest relative difference from those of the reference.
    """
    seconds = epoch_seconds(history)
    return {
        "backend": backend,
        "epoch_seconds": seconds,
        "median_seconds": median(seconds),
        "speed": median(epoch_seconds(reference)) / median(seconds),
        "train_loss": [row["train_loss"] for row in history],
        "valid_loss": [row["valid_loss"] for row in history],
        "loss_difference": largest_difference(history, reference),
    }


def epoch_seconds(history: Sequence[Row]) -> list[float]:
    """Time of every epoch."""
    ends = [0.0, *(float(row["seconds"] or 0) for row in history)]
    return [end - start for start, end in pairwise(ends)]


def largest_difference(history: Sequence[Row], reference: Sequence[Row]) -> float:
    """Largest relative difference of the losses of two runs."""
    return max(
        abs(float(row[name] or 0) / float(other[name] or 0) - 1)
        for row, other in zip(history, reference, strict=True)
        for name in ("train_loss", "valid_loss")
    )


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Times and losses of all backends."""
    out = Table(box=None)
    out.add_column("backend", no_wrap=True)
    heads = ("s per\nepoch", "speed", "training\nloss", "validation\nloss")
    for head in (*heads, "difference\nof losses"):
        out.add_column(head, justify="right")
    for row in rows:
        out.add_row(
            row["backend"],
            f"{row['median_seconds']:.2f}",
            f"{row['speed']:.2f}",
            "\n".join(f"{loss:.6g}" for loss in row["train_loss"]),
            "\n".join(f"{loss:.6g}" for loss in row["valid_loss"]),
            f"{row['loss_difference']:.1e}",
        )
    return out


def _select(data: Path, root: Path, count: int) -> int:
    """Put the first structures, and the isolated atoms, into a folder."""
    structures = ase.io.read(data / TRAIN, f":{count}")
    ase.io.write(root / TRAIN, structures)
    shutil.copy(data / ISOLATED, root / ISOLATED)
    return len(structures)


def _order(backends: Sequence[str]) -> list[str]:
    """The reference first: all others are compared with it."""
    return list(dict.fromkeys([REFERENCE, *backends]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--backends", nargs="+", default=["so2", "fused"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--structures", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
