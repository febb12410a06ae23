r"""Learning from Hessians: gain over energies and forces at equal cost.

Trains potentials on a small set of molecules with Hessian labels and compares their
Hessians on molecules that were held out::

    python -m benchmarks.hessian_learning DATA --minutes 6 --threads 1

A. energies and forces; B. the same and one Hessian-vector product with random signs per
molecule and step. Both start from the same weights and have the same budget of CPU time
of the process, which on an idle core is wall time. C. a direct head on the frozen
potential of B, trained on full Hessians. Nothing is selected on the held-out molecules.

DATA holds ``train.extxyz`` and ``hessians_train.npz``, or ``horm_train.extxyz`` and
``hessians_horm_train.npz``. The held-out molecules are those of the same names with
``test`` if they are there, else every fourth of the training set.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import Any

import numpy as np
import torch

from benchmarks.common import options, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.config.data import KeysConfig
from equipot.config.model import parse_model
from equipot.data.dataset import make_example
from equipot.data.labels import Example
from equipot.data.reading.labeled import read_structures
from equipot.data.statistics import Statistics, compute_statistics
from equipot.evaluation.hessians import derivative_hessians, hessian_errors, label_of
from equipot.models import Potential, build_potential, direct_hessian
from equipot.training.ema import WeightAverage
from equipot.training.loss import EnergyForcesStressLoss, LossTerm
from equipot.training.step import make_batch, train_step

CUTOFF = 5.0
HELD_OUT = 4
MARKS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the budget at which errors are measured."""


def main() -> None:
    """Train, evaluate, time, and write."""
    arguments = _parse()
    screen, record = start(arguments)
    train, test = split(arguments.data)
    statistics = compute_statistics(train)
    record["structures"] = {"train": len(train), "held_out": len(test)}
    record["held_out_means"] = {
        "absolute_force": float(make_batch(test).labels.forces.abs().mean()),
        "absolute_hessian": float(np.mean([np.abs(label_of(e)).mean() for e in test])),
    }

    hessians = LossTerm(((0, arguments.hessian_weight),), mode="probes", samples=1)
    terms = {
        "energy": LossTerm(((0, arguments.energy_weight),)),
        "forces": LossTerm(((0, arguments.forces_weight),)),
    }
    direct = {"hessian_direct": LossTerm(((0, 1.0),), kind="mae", mode="full")}
    courses = {
        "A_energy_forces": terms,
        "B_with_hessians": terms | {"hessian": hessians},
        "C_direct_head": direct,
    }
    for name, own in courses.items():
        head = None
        if own is direct:
            head = potential.direct_hessian
        else:
            potential = new_potential(arguments, statistics)
        loss = EnergyForcesStressLoss(own)
        record[name] = fit(potential, loss, train, test, arguments, head=head)
        screen.print(table_of(name, record[name]["course"]))
    record["time"] = time_routes(potential, test)
    screen.print(table_of("CPU time of a Hessian", [record["time"]]))
    write_record(arguments.json, record, screen)


def split(folder: Path) -> tuple[list[Example], list[Example]]:
    """Molecules to learn from, and those held out."""
    prefix = "horm_" if (folder / "horm_train.extxyz").exists() else ""
    train = _examples(folder, f"{prefix}train")
    if (folder / f"{prefix}test.extxyz").exists():
        return train, _examples(folder, f"{prefix}test")
    return (
        [e for n, e in enumerate(train) if n % HELD_OUT],
        [e for n, e in enumerate(train) if n % HELD_OUT == 0],
    )


def _examples(folder: Path, part: str) -> list[Example]:
    structures = read_structures(
        folder / f"{part}.extxyz",
        KeysConfig(),
        folder / f"hessians_{part}.npz",
    )
    return [make_example(s, CUTOFF) for s in structures]


def new_potential(arguments: argparse.Namespace, statistics: Statistics) -> Potential:
    """Random weights, the same for the same seed."""
    config = parse_model(
        {
            "cutoff": CUTOFF,
            "lmax": 2,
            "channels": arguments.channels,
            "num_layers": arguments.layers,
            "backend": arguments.backend,
            "direct_hessian": {"channels": arguments.channels},
        }
    )
    return build_potential(config, statistics, seed=arguments.seed)


def fit(
    potential: Potential,
    loss: EnergyForcesStressLoss,
    train: Sequence[Example],
    test: Sequence[Example],
    arguments: argparse.Namespace,
    *,
    head: torch.nn.Module | None = None,
) -> dict[str, Any]:
    """Train for a time; the learning rate follows the time that is spent.

    Args:
        potential: Gets the averaged weights at the end.
        loss: To be minimized.
        train: Structures.
        test: Structures whose errors are measured at `MARKS`; that costs no time.
        arguments: Minutes of CPU time, learning rate, batch size, seed.
        head: Part of the potential to fit; all of it by default.
    """
    potential.train().requires_grad_(head is None)
    fitted = (head or potential).requires_grad_(True)
    optimizer = torch.optim.Adam(fitted.parameters(), lr=arguments.lr, amsgrad=True)
    average = WeightAverage(potential, 0.995, 0)
    generator = np.random.default_rng(arguments.seed)
    course: list[dict[str, float]] = []
    budget, spent, steps, wall = 60 * arguments.minutes, 0.0, 0, 0.0
    while spent < budget:
        cpu, clock = time.process_time(), time.perf_counter()
        order = generator.permutation(len(train)).tolist()
        for first in range(0, len(order), arguments.batch_size):
            done = spent + time.process_time() - cpu
            rate = 0.5 * (1 + np.cos(np.pi * min(done / budget, 1.0)))
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * max(rate, 1e-3) * min(1, (steps + 1) / 100)
            chosen = order[first : first + arguments.batch_size]
            train_step(
                potential,
                optimizer,
                loss,
                make_batch([train[n] for n in chosen]),
                epoch=0,
                gradient_clip=10.0,
                key=(arguments.seed, steps),
            )
            average.update(potential, 0)
            steps += 1
        spent += time.process_time() - cpu
        wall += time.perf_counter() - clock
        while len(course) < len(MARKS) and spent >= MARKS[len(course)] * budget:
            found = errors(average.model, test, direct=head is not None)
            share = MARKS[len(course)]
            course.append({"share_of_budget": share, "steps": steps, **found})
    potential.load_state_dict(average.model.state_dict())
    return {"cpu_seconds": spent, "wall_seconds": wall, "course": course}


def errors(
    potential: Potential, test: Sequence[Example], *, direct: bool = False
) -> dict[str, float]:
    """Errors on the held-out molecules: forces, Hessians, lowest modes."""
    potential = copy.deepcopy(potential).eval()
    batch = make_batch(test)
    prediction = potential(batch.graph, ("energy", "forces"))
    route = "direct" if direct else "derivative"
    found = hessian_errors(potential, test)[route]
    return {
        "forces_mae": float((prediction.forces - batch.labels.forces).abs().mean()),
        **{f"hessian_{k}": v for k, v in found.items() if k != "count"},
    }


def time_routes(potential: Potential, test: Sequence[Example]) -> dict[str, Any]:
    """CPU seconds per Hessian of the molecule that is closest to 20 atoms."""
    potential.eval().requires_grad_(False)
    example = min(test, key=lambda e: abs(e.graph.num_atoms - 20))
    found: dict[str, Any] = {"atoms": example.graph.num_atoms}
    repeats = {"direct": 30, "derivative": 5}
    routes: dict[str, Callable[[], Any]] = {
        "direct": lambda: direct_hessian(potential, example.graph).matrices(),
        "derivative": lambda: derivative_hessians(potential, example.graph),
    }
    for name, route in routes.items():
        route()
        times = Timer(route, timer=time.process_time).repeat(repeats[name], 1)
        found[f"{name}_seconds"] = median(times)
    found["ratio"] = found["derivative_seconds"] / found["direct_seconds"]
    return found


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "hessian_learning.json")
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0, help="per potential")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--backend", default="fused")
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--energy-weight", type=float, default=1.0)
    parser.add_argument("--forces-weight", type=float, default=10.0)
    parser.add_argument("--hessian-weight", type=float, default=0.3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
