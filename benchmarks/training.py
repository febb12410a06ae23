"""Time of a training epoch with each tensor-product backend, and the losses.

    python -m benchmarks.training DATA [--backends so2 fused] [--epochs 2]
        [--structures 500] [--threads 2] [--dtype float32]

Trains as configs/3bpa.yaml does, with lmax 2 and 64 channels, on the files of 3BPA in
the folder DATA; an epoch includes its validation. The reference is always trained.
Backends compute the same function: their losses agree up to rounding, which training
amplifies; use float64 to compare them. Run it on an idle machine.
"""

import argparse
import csv
import shutil
import tempfile
from collections.abc import Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import ase.io
from rich.console import Console

from benchmarks.common import options, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.tensor_products import REFERENCE
from equipot.training.run import run_training

CONFIG = Path(__file__).parents[1] / "configs" / "3bpa.yaml"
TRAIN, ISOLATED = "train_300K.extxyz", "iso_atoms.extxyz"
LOSSES = ("train_loss", "valid_loss")
Epoch = dict[str, float]
"""Loss of training and validation, and seconds since the start of the run."""


def main() -> None:
    """Train with each backend, print a table, write JSON."""
    arguments = _parse()
    screen, record = start(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        structures = ase.io.read(arguments.data / TRAIN, f":{arguments.structures}")
        ase.io.write(root / TRAIN, structures)
        shutil.copy(arguments.data / ISOLATED, root / ISOLATED)
        names = dict.fromkeys([REFERENCE, *arguments.backends])
        histories = {name: train(name, root, arguments) for name in names}
    rows = [summarize(n, h, histories[REFERENCE]) for n, h in histories.items()]
    screen.print(table_of(f"{len(structures)} structures", rows))
    write_record(
        arguments.json, record | {"backends": rows, "epochs": histories}, screen
    )


def train(backend: str, root: Path, arguments: argparse.Namespace) -> list[Epoch]:
    """Losses and times of the epochs of a run in the folder `root`."""
    settings = {
        "model.lmax": 2,
        "model.channels": 64,
        "model.backend": backend,
        "model.dtype": arguments.dtype,
        "data.root": root,
        "data.train": f"[{TRAIN}, {ISOLATED}]",
        "data.valid": 0.1,
        "data.test": "{}",
        "training.epochs": arguments.epochs,
        "training.num_threads": arguments.threads,
        "training.device": "cpu",
        "training.verify": False,
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    config = load_config(CONFIG, overrides, TrainConfig)
    run_training(config, root / backend, console=Console(file=StringIO()))
    with (root / backend / "metrics.csv").open(encoding="utf-8") as file:
        keys = (*LOSSES, "seconds")
        return [{key: float(row[key]) for key in keys} for row in csv.DictReader(file)]


def summarize(
    backend: str, history: Sequence[Epoch], reference: Sequence[Epoch]
) -> dict[str, Any]:
    """Median time of an epoch and last losses of one backend beside the reference."""
    seconds = median(epoch_seconds(history))
    return {
        "backend": backend,
        "s per epoch": seconds,
        "speed": median(epoch_seconds(reference)) / seconds,
        **{name: history[-1][name] for name in LOSSES},
        "loss difference": largest_difference(history, reference),
    }


def epoch_seconds(history: Sequence[Epoch]) -> list[float]:
    """Time of every epoch."""
    ends = [0.0, *(row["seconds"] for row in history)]
    return [end - start for start, end in pairwise(ends)]


def largest_difference(history: Sequence[Epoch], reference: Sequence[Epoch]) -> float:
    """Largest relative difference of the losses of two runs."""
    return max(
        abs(row[name] / other[name] - 1)
        for row, other in zip(history, reference, strict=True)
        for name in LOSSES
    )


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "training_cpu.json")
    parser.add_argument("data", type=Path)
    parser.add_argument("--backends", nargs="+", default=["so2", "fused"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--structures", type=int, default=500)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
