"""Fine-tuning: architecture, statistics and weights of the potential it starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from equipot.checkpoint.file import load_potential, read_header, read_statistics
from equipot.checkpoint.origin import SECTION, ModelOrigin, parse_origin
from equipot.config.model import AnyModelConfig, parse_model
from equipot.config.start_from import StartFromConfig
from equipot.config.train import TrainConfig
from equipot.data.batching import evaluation_batches
from equipot.data.labels import Example
from equipot.data.references import composition_matrix
from equipot.data.statistics import Statistics, compute_statistics, domain_of_both
from equipot.models.build import weight_shapes
from equipot.models.potential import Potential
from equipot.storage.provenance import file_sha256
from equipot.training.step import make_batch

FREE = ("backend", "node_backend", "dtype")
"""Keys of the architecture that do not change its weights."""
RANK_TOLERANCE = 1e-8
"""Smallest singular value of compositions that determines an energy, relative to the
largest."""


@dataclass(frozen=True)
class Start:
    """A potential that training starts from."""

    section: StartFromConfig
    """What is taken from it."""
    model: AnyModelConfig
    """Its architecture."""
    statistics: Statistics
    """Of its training set."""
    origin: ModelOrigin | None
    """Where it was converted from, if it was."""
    sha256: str
    """Hash of its file."""

    @property
    def kept_elements(self) -> tuple[int, ...]:
        """Atomic numbers that the new potential has besides those of its data."""
        return self.statistics.elements if self.section.elements == "keep" else ()


def read_start(config: TrainConfig) -> Start | None:
    """The potential that a configuration starts from; None for random weights.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If the file does not hold a potential.
    """
    section = config.training.start_from
    if section is None:
        return None
    header = read_header(section.path)
    return Start(
        section,
        parse_model(header["model"]),
        read_statistics(header),
        parse_origin(header.get(SECTION)),
        file_sha256(Path(section.path)),
    )


def with_architecture_of(config: TrainConfig, start: Start) -> TrainConfig:
    """Configuration with the architecture of the potential it starts from.

    Raises:
        ValueError: If the section ``model`` describes another one.
    """
    given = config.model
    chosen = given.model_fields_set if "model" in config.model_fields_set else set()
    allowed = set(FREE)
    if start.model.direct_hessian is None:
        allowed.add("direct_hessian")
    for key in sorted(chosen - allowed):
        ours, theirs = getattr(given, key), getattr(start.model, key, None)
        if ours != theirs:
            raise ValueError(
                f"model.{key} is {ours!r}, but {start.section.path} has {theirs!r}: "
                "training that starts from a potential keeps its architecture; leave "
                "the key out"
            )
    known = type(start.model).model_fields
    update = {
        key: getattr(given, key) for key in sorted(chosen & allowed) if key in known
    }
    return config.model_copy(update={"model": start.model.model_copy(update=update)})


def start_statistics(
    start: Start,
    examples: Sequence[Example],
    statistics: Statistics,
    backend: str | None = None,
) -> Statistics:
    """Statistics of a training set, with scales and domain of the potential as well.

    Scale, shift and mean number of neighbors are part of the function that the weights
    describe: they are those of the potential.

    Args:
        start: Potential to start from.
        examples: Training set.
        statistics: Of this set.
        backend: Backend for predictions (default: that of the file).
    """
    before, section = start.statistics, start.section
    elements = {*statistics.elements, *start.kept_elements}
    known = {z: e for z, e in before.reference_energies.items() if z in elements}
    references = {**statistics.reference_energies, **known}
    source = f"those of {section.path}"
    if section.reference_energies == "data":
        references = {**known, **statistics.reference_energies}
        source = statistics.reference_source
    if section.reference_energies == "refit":
        references |= _refit(start, examples, known, backend)
        source = f"{source}, refitted"
    relative = compute_statistics(
        examples,
        reference_energies={
            chemical_symbols[z]: references[z] for z in statistics.elements
        },
    )
    return replace(
        domain_of_both(relative, before, elements),
        elements=tuple(sorted(elements)),
        reference_energies=dict(sorted(references.items())),
        reference_source=source,
        reference_rank=statistics.reference_rank,
        energy_scale=before.energy_scale,
        energy_shift=before.energy_shift,
        average_num_neighbors=before.average_num_neighbors,
        warnings=(*statistics.warnings, *_absent(start, elements, statistics)),
    )


def _absent(
    start: Start, elements: set[int], statistics: Statistics
) -> tuple[str, ...]:
    """Warning of elements that are kept, but not trained."""
    absent = [chemical_symbols[z] for z in sorted(elements - set(statistics.elements))]
    if not absent:
        return ()
    listed = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
    return (
        f"{len(absent)} elements of {start.section.path} are not in the training set "
        f"({listed}): they are kept, nothing says what training does to them, and "
        "there is no extrapolation score of learned features; to drop them, set "
        "training.start_from.elements to data",
    )


def _refit(
    start: Start,
    examples: Sequence[Example],
    known: Mapping[int, float],
    backend: str | None,
) -> dict[int, float]:
    """Reference energies that fit a set best, as close to those before as possible.

    Structures with elements that the potential does not have are left out.
    """
    elements = tuple(sorted(known))
    labeled = [
        example
        for example in examples
        if not example.labels.energy.isnan()
        and set(example.graph.atomic_numbers.tolist()) <= set(elements)
    ]
    if not labeled:
        return dict(known)
    potential = load_potential(start.section.path, device="cpu", backend=backend)
    predicted = _energies(potential, labeled)
    energies = np.array([float(example.labels.energy) for example in labeled])
    counts = composition_matrix([e.graph.atomic_numbers for e in labeled], elements)
    sizes = counts.sum(axis=1)
    change = np.linalg.lstsq(
        counts / sizes[:, None], (energies - predicted) / sizes, rcond=RANK_TOLERANCE
    )[0]
    return {z: known[z] + float(d) for z, d in zip(elements, change, strict=True)}


@torch.no_grad()
def _energies(potential: Potential, examples: Sequence[Example]) -> np.ndarray:
    batches = evaluation_batches([e.graph.num_edges for e in examples], 32, None)
    energies = np.empty(len(examples))
    for batch in batches:
        graph = make_batch([examples[n] for n in batch]).graph
        energies[list(batch)] = potential(graph, ("energy",)).energy.numpy()
    return energies


def transfer(
    potential: Potential,
    weights: Mapping[str, Tensor],
    model: AnyModelConfig,
    before: Statistics,
    after: Statistics,
) -> None:
    """Copy weights into a potential that may have other elements.

    Weights of new elements, and of parts that the old potential does not have, stay
    random.

    Args:
        potential: To change.
        weights: Of the old potential.
        model: Architecture of the old potential.
        before: Statistics with the elements of the old potential.
        after: With those of the new one.

    Raises:
        ValueError: If a weight fits nowhere, or elements change in an architecture
            whose widths depend on their number.
    """
    state = potential.state_dict()
    if missing := sorted(set(weights) - set(state)):
        raise ValueError(f"weights without a place: {', '.join(missing[:8])}")
    axes: dict[str, int] = {}
    if before.elements != after.elements:
        axes = _element_axes(model, before)
    shared = [z for z in after.elements if z in before.elements]
    old = torch.tensor([before.elements.index(z) for z in shared])
    new = torch.tensor([after.elements.index(z) for z in shared])
    placed = {}
    for name, weight in weights.items():
        placed[name] = weight.to(state[name])
        if (axis := axes.get(name)) is not None:
            rows = placed[name].index_select(axis, old)
            placed[name] = state[name].index_copy(axis, new, rows)
    potential.load_state_dict({**state, **placed})


def _element_axes(model: AnyModelConfig, statistics: Statistics) -> dict[str, int]:
    """Axis of each weight that runs over elements: it grows by one with their number.

    Raises:
        ValueError: If a weight has several such axes, or one that grows faster.
    """
    fewer, more = (
        weight_shapes(model, _with_elements(statistics, count))
        for count in (len(statistics.elements), len(statistics.elements) + 1)
    )
    axes = {}
    for name, shape in fewer.items():
        growth = [b - a for a, b in zip(shape, more[name], strict=True)]
        if not any(growth):
            continue
        if sorted(growth)[-2:] not in ([1], [0, 1]):
            raise ValueError(
                f"the architecture {model.architecture} has layers whose widths depend "
                f"on the number of elements ({name}): elements cannot be added or "
                "dropped; keep training.start_from.elements at keep, and train on "
                "elements of the file only"
            )
        axes[name] = growth.index(1)
    return axes


def _with_elements(statistics: Statistics, count: int) -> Statistics:
    elements = tuple(range(1, count + 1))
    references = dict.fromkeys(elements, 0.0)
    return replace(statistics, elements=elements, reference_energies=references)


def freeze(potential: Potential, patterns: Sequence[str]) -> list[str]:
    """Exclude weights from training.

    Args:
        potential: To change.
        patterns: Names, or patterns such as ``backbone.*``.

    Returns:
        Names of the frozen weights.

    Raises:
        ValueError: If a pattern fits no weight, or nothing is left to train.
    """
    weights = dict(potential.named_parameters())
    check_patterns(patterns, weights, "training.start_from.frozen")
    frozen = [n for n in weights if any(fnmatchcase(n, p) for p in patterns)]
    if len(frozen) == len(weights):
        raise ValueError("training.start_from.frozen names all weights: nothing trains")
    for name in frozen:
        weights[name].requires_grad_(False)
    return frozen


def check_patterns(
    patterns: Sequence[str], names: Mapping[str, object], key: str
) -> None:
    """Reject patterns that fit no weight.

    Raises:
        ValueError: Names the pattern, and some weights.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"{key}: {pattern!r} fits no weight; they are called "
                f"{', '.join(list(names)[:6])}, ..."
            )
