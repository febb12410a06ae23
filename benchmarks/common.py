"""Options, records and random potentials of all benchmarks."""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from equipot.bench.record import new_record
from equipot.config.model import parse_model
from equipot.data.statistics import Statistics
from equipot.models import Potential, build_potential

RESULTS = Path(__file__).parent / "results"


def options(description: str | None, results: str | None) -> argparse.ArgumentParser:
    """Parser with the options ``--threads`` and ``--json``.

    Args:
        description: Docstring of the benchmark.
        results: Name of its file in `RESULTS`; None if that depends on the machine.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # a benchmark may take several numbers of threads
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    path = None if results is None else RESULTS / results
    parser.add_argument("--json", type=Path, default=path)
    return parser


def start(arguments: argparse.Namespace) -> tuple[Console, dict[str, Any]]:
    """Set the threads and return a screen and the record to fill."""
    if isinstance(arguments.threads, int):
        torch.set_num_threads(arguments.threads)
    settings = {
        name: value.name if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
    }
    screen = Console()
    return screen, new_record(settings, screen)


def random_potential(elements: tuple[int, ...], **settings: Any) -> Potential:
    """Potential with random weights, in evaluation mode.

    Args:
        elements: Atomic numbers.
        **settings: Section ``model`` of a configuration.
    """
    config = parse_model(settings)
    statistics = Statistics(
        elements=elements,
        reference_energies=dict.fromkeys(elements, 0.0),
        reference_source="given",
        reference_rank=len(elements),
        energy_scale=1.0,
        energy_shift=0.0,
        average_num_neighbors=16.0,
        minimum_distances={},
        cutoff=config.cutoff,
        num_structures=1,
        num_atoms=1,
        num_edges=16,
        element_counts={},
        label_counts={},
        config_types={},
    )
    return build_potential(config, statistics).eval().requires_grad_(False)
