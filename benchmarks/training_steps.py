"""CPU time and page faults of a training step, by architecture, batch and setting.

    python -m benchmarks.training_steps [--threads 1] [--rounds 5]

A step predicts energies and forces, differentiates a loss of both, and updates the
weights with AMSGrad; labels are random. ``exact`` evaluates radial functions for each
pair of atoms, ``interpolated`` as training does by default in float32. Settings take
turns, and medians are of CPU time, summed over threads, so that other load of the
machine counts little.

To compare with another program, call ``step`` of `prepare` and one of its own steps in
turns: sizes are those of MACE's and NequIP's usual networks.
"""

import argparse
import math
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from ase import Atoms
from ase.build import bulk, molecule
from rich.markup import escape

from benchmarks.common import options, random_potential, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.data.labels import Example, Labels
from equipot.models.message_passing import MessagePassing
from equipot.neighbors import build_graph
from equipot.nn.radial_table import RadialTable
from equipot.training.loss import EnergyForcesStressLoss, LossTerm
from equipot.training.optimizer import build_optimizer
from equipot.training.radial import AUTO_INTERVALS
from equipot.training.step import make_batch, train_step

CUTOFF = 5.0
MODELS: dict[str, dict[str, Any]] = {
    "mace, 128 channels, lmax 3": {
        "architecture": "mace",
        "channels": 128,
        "lmax": 3,
        "lmax_hidden": 1,
        "correlation": 3,
        "num_layers": 2,
        "radial_hidden": [64, 64, 64],
    },
    "nequip, 64 channels, lmax 1": {
        "channels": 64,
        "lmax": 1,
        "num_layers": 2,
        "radial_hidden": [128],
    },
    "nequip, 64 channels, lmax 2": {
        "channels": 64,
        "lmax": 2,
        "num_layers": 4,
        "radial_hidden": [128],
    },
}
SETTINGS = {"exact": False, "interpolated": True}
"""Whether radial functions are interpolated."""


def main() -> None:
    """Measure all, print a table, write JSON."""
    arguments = _parse()
    screen, record = start(arguments)
    rows = [
        measure(name, batch, structures, arguments.rounds)
        for name in MODELS
        for batch, structures in batches().items()
    ]
    screen.print(table_of(escape("ms of CPU time per step"), rows))
    write_record(arguments.json, record | {"steps": rows}, screen)


def batches() -> dict[str, list[Atoms]]:
    """A batch of molecules and one of periodic cells, displaced at random."""
    molecules = [molecule("C60") for _ in range(4)]
    cells = [bulk("Si", cubic=True) * (2, 2, 2) for _ in range(2)]
    for seed, atoms in enumerate([*molecules, *cells]):
        atoms.rattle(0.05, seed=seed)
    return {"4 molecules C60": molecules, "2 cells Si64": cells}


def measure(
    name: str, batch: str, structures: Sequence[Atoms], rounds: int
) -> dict[str, Any]:
    """Medians of all settings, which take turns."""
    step, backbone = prepare(structures, **MODELS[name])
    table = RadialTable(CUTOFF, AUTO_INTERVALS)
    times: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
    faults: dict[str, list[int]] = {setting: [] for setting in SETTINGS}
    for _ in range(rounds):
        for setting, interpolate in SETTINGS.items():
            backbone.radial_table = table if interpolate else None
            step()
            before, begin = _page_faults(), time.process_time()
            step()
            times[setting].append(1000 * (time.process_time() - begin))
            faults[setting].append(_page_faults() - before)
    return {
        "model": name,
        "batch": batch,
        **{setting: median(found) for setting, found in times.items()},
        **{f"faults, {setting}": median(found) for setting, found in faults.items()},
    }


def prepare(
    structures: Sequence[Atoms], **settings: Any
) -> tuple[Callable[[], float], MessagePassing]:
    """Function that does one training step, and the backbone that it trains.

    Args:
        structures: The batch.
        **settings: Section ``model`` of a configuration.
    """
    elements = tuple(sorted({int(z) for a in structures for z in a.numbers}))
    potential = random_potential(
        elements, cutoff=CUTOFF, dtype="float32", backend="fused", **settings
    )
    potential.requires_grad_(True).train()
    loss = EnergyForcesStressLoss(
        {"energy": LossTerm(((0, 1.0),)), "forces": LossTerm(((0, 100.0),))}
    )
    optimizer = build_optimizer(
        potential,
        "adam",
        lr=1e-3,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        amsgrad=True,
    )
    examples = [labeled(atoms) for atoms in structures]

    def step() -> float:
        batch = make_batch(examples)
        return train_step(
            potential, optimizer, loss, batch, epoch=0, gradient_clip=10.0
        ).loss

    backbone = potential.backbone
    if not isinstance(backbone, MessagePassing):
        raise TypeError(f"expected message passing, got {type(backbone).__name__}")
    return step, backbone


def labeled(atoms: Atoms) -> Example:
    """Structure with random labels."""
    generator = torch.Generator().manual_seed(len(atoms))
    labels = Labels(
        energy=torch.randn(1, generator=generator, dtype=torch.float64),
        forces=torch.randn(len(atoms), 3, generator=generator, dtype=torch.float64),
        stress=torch.full((1, 3, 3), math.nan, dtype=torch.float64),
    )
    return Example(build_graph(atoms, CUTOFF), labels, "default", "random")


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "training_steps.json")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
