"""Results of many structures in few evaluations of a potential."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from jaxtyping import Float

from equipot.calculators.evaluation import Evaluation
from equipot.calculators.guard import ExtrapolationError, Guard
from equipot.calculators.results import ase_results, has_stress, requested_outputs
from equipot.calculators.self_check import NeighborMismatchError
from equipot.data.batching import evaluation_batches
from equipot.domain import ExtrapolationEvent
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import NeighborList, build_batch, neighbor_lists

MAX_EDGES: Final = 8_000
"""Largest number of edges in one evaluation on a CPU: enough to make the overhead of a
call negligible, few enough for the caches."""

MAX_EDGES_OF_DEVICE: Final = 50_000
"""The same on other devices, which need more edges for full utilization."""

MAX_STRUCTURES: Final = 256
"""Largest number of structures in one evaluation."""

MAX_ATOMS: Final = 20_000
"""Largest number of atoms whose neighbor lists are kept at a time; a larger structure
is searched by itself."""

CrossCheck = Callable[[Atoms, NeighborList], None]
"""Check of the neighbor list of a structure; raises `NeighborMismatchError`."""


@dataclass(frozen=True)
class Evaluated:
    """Results of one structure of a batch."""

    results: dict[str, Any]
    """Results under ASE's names, as in `EquipotCalculator.results`."""
    extrapolation_events: tuple[ExtrapolationEvent, ...]
    """Extrapolation events of the structure."""

    @property
    def energy(self) -> float:
        """Energy in eV."""
        return float(self.results["energy"])

    @property
    def forces(self) -> Float[np.ndarray, "atoms 3"]:
        """Forces in eV/Å, without effects of constraints."""
        forces: np.ndarray = self.results["forces"]
        return forces

    @property
    def stress(self) -> Float[np.ndarray, " 6"] | None:
        """Voigt components xx yy zz yz xz xy in eV/Å^3; None if there is no stress."""
        return self.results.get("stress")


@runtime_checkable
class BatchCalculator(Protocol):
    """Calculator that evaluates many structures at once."""

    def evaluate(
        self,
        structures: Sequence[Atoms],
        properties: Collection[str] = ...,
        *,
        numbers: Sequence[int] | None = None,
    ) -> list[Evaluated]:
        """Results of each structure; see `EquipotCalculator.evaluate`."""


def evaluate_batches(
    evaluation: Evaluation,
    structures: Sequence[Atoms],
    properties: Collection[str],
    *,
    cutoff: float,
    device: torch.device,
    guard: Guard,
    cross_check: CrossCheck,
    max_edges: int | None = None,
    numbers: Sequence[int] | None = None,
) -> list[Evaluated]:
    """Evaluate structures in batches of limited size.

    Args:
        evaluation: Potential or committee, as it is evaluated.
        structures: Structures; may be empty.
        properties: Properties under ASE's names.
        cutoff: Cutoff of the edges in Å.
        device: Device of the potential.
        guard: Guard against extrapolation.
        cross_check: Check of every neighbor list.
        max_edges: Largest number of edges in one evaluation; a structure with more is
            evaluated by itself. By default `MAX_EDGES` on a CPU and
            `MAX_EDGES_OF_DEVICE` elsewhere.
        numbers: Numbers of the structures in error messages (default: 0, 1, ...).

    Returns:
        Results of each structure, in the order of `structures`.

    Raises:
        ValueError: If `max_edges` is not positive, a coordinate is not finite, or an
            element is not supported.
        ExtrapolationError: If the guard stops at a structure.
        NeighborMismatchError: If the check of a neighbor list fails.
        CalculationFailed: If a result is not finite.
    """
    if max_edges is None:
        max_edges = MAX_EDGES if device.type == "cpu" else MAX_EDGES_OF_DEVICE
    numbers = range(len(structures)) if numbers is None else numbers
    predict = partial(_predict, evaluation, cutoff, device)
    found: list[Evaluated] = []
    atoms_of = [len(atoms) for atoms in structures]
    for searched in evaluation_batches(atoms_of, MAX_STRUCTURES, MAX_ATOMS):
        part = [structures[n] for n in searched]
        names = [numbers[n] for n in searched]
        lists = neighbor_lists(part, cutoff, names)
        for number, atoms, pairs in zip(names, part, lists, strict=True):
            with naming_structure(number):
                cross_check(atoms, pairs)
        edges = [len(pairs.shift) for pairs in lists]
        for batch in evaluation_batches(edges, MAX_STRUCTURES, max_edges):
            found += _evaluate(
                predict,
                [part[n] for n in batch],
                [lists[n] for n in batch],
                [names[n] for n in batch],
                properties,
                guard,
            )
    return found


def _evaluate(
    predict: Callable[..., list[Prediction]],
    structures: Sequence[Atoms],
    lists: Sequence[NeighborList],
    numbers: Sequence[int],
    properties: Collection[str],
    guard: Guard,
) -> list[Evaluated]:
    """Results of the structures of one batch."""
    stressed = [has_stress(atoms) for atoms in structures]
    outputs = requested_outputs(properties, with_stress=any(stressed))
    if guard.needs_features:
        outputs.add("features")
    predictions = [
        prediction if with_stress else replace(prediction, stress=None, stresses=None)
        for prediction, with_stress in zip(
            predict(structures, lists, numbers, outputs), stressed, strict=True
        )
    ]
    found = []
    for number, atoms, pairs, prediction in zip(
        numbers, structures, lists, predictions, strict=True
    ):
        with naming_structure(number):
            events = guard.watch(atoms, pairs, prediction)
            guard.act(events)
            found.append(Evaluated(ase_results(prediction), events))
    return found


def _predict(
    evaluation: Evaluation,
    cutoff: float,
    device: torch.device,
    structures: Sequence[Atoms],
    lists: Sequence[NeighborList],
    numbers: Sequence[int],
    outputs: Collection[Output],
) -> list[Prediction]:
    """Prediction for each structure of one batch.

    Raises:
        ValueError: If a structure is not supported; the message contains its number.
    """

    def graph(some: slice) -> AtomicGraph:
        return build_batch(
            structures[some], cutoff, device=device, neighbors=lists[some]
        )

    try:
        prediction = evaluation(graph(slice(None)), outputs)
    except ValueError:
        for n, number in enumerate(numbers):
            with naming_structure(number):
                evaluation(graph(slice(n, n + 1)), outputs)
        raise
    return prediction.split([len(atoms) for atoms in structures])


@contextmanager
def naming_structure(number: int) -> Iterator[None]:
    """Begin the message of an error with the number of the structure."""
    try:
        yield
    except ExtrapolationError as error:
        raise ExtrapolationError(
            error.extrapolation_events, f"structure {number}"
        ) from error
    except NeighborMismatchError as error:
        raise NeighborMismatchError(f"structure {number}: {error}") from error
    except CalculationFailed as error:
        raise CalculationFailed(f"structure {number}: {error}") from error
    except ValueError as error:
        raise ValueError(f"structure {number}: {error}") from error
