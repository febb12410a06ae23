"""Domain of validity of a converted model, from structures like those of its training.

Energies and forces of the structures are those that the model itself predicts; labels
are not needed.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from equipot.conversion.errors import ConversionError
from equipot.data.batching import evaluation_batches
from equipot.data.dataset import make_example
from equipot.data.elements import check_elements
from equipot.data.labels import Example, Labels, collate_examples
from equipot.data.samples import choose_samples
from equipot.data.statistics import (
    UNKNOWN_TRAINING_SET,
    Statistics,
    compute_statistics,
)
from equipot.data.structure import Structure
from equipot.domain import FeatureCloud
from equipot.models.potential import Potential

MAX_EDGES = 50_000
"""Edges evaluated at once."""
MAX_STRUCTURES = 256
"""Structures evaluated at once."""


@final
@dataclass(frozen=True)
class DomainOfStructures:
    """What structures say about where a model can be trusted."""

    statistics: Statistics
    """Those of the model, with the ranges of the structures."""
    features: FeatureCloud | None
    """Their features; None if they do not show every element of the model."""
    samples: list[Atoms]
    """A few small ones, to verify on."""
    absent: tuple[str, ...]
    """Elements of the model that no structure has; any pair with them extrapolates."""


def domain_of_structures(
    potential: Potential, statistics: Statistics, structures: Sequence[Structure]
) -> DomainOfStructures:
    """Ranges, features and samples of structures.

    Args:
        potential: Converted, in float64.
        statistics: Of the model, without a training set.
        structures: Like those that the original was trained on.

    Raises:
        ConversionError: If there is no structure with neighbors.
        ValueError: If one has an element that the model does not have.
    """
    check_elements(
        potential.elements, ((s.source, s.atoms.numbers.tolist()) for s in structures)
    )
    examples = [make_example(structure, potential.cutoff) for structure in structures]
    examples = [example for example in examples if example.graph.num_edges]
    if not examples:
        raise ConversionError("no structure of --domain has atoms within the cutoff")
    predicted, numbers, features = _predicted(potential, examples)
    energies = statistics.reference_energies
    found = compute_statistics(
        predicted,
        reference_energies={chemical_symbols[z]: e for z, e in energies.items()},
    )
    absent = tuple(
        chemical_symbols[z] for z in statistics.elements if z not in found.elements
    )
    return DomainOfStructures(
        dataclasses.replace(
            statistics,
            minimum_distances=found.minimum_distances,
            num_structures=found.num_structures,
            num_atoms=found.num_atoms,
            num_edges=found.num_edges,
            element_counts=found.element_counts,
            config_types=found.config_types,
            neighbor_ranges=found.neighbor_ranges,
            density_range=found.density_range,
            energy_range=found.energy_range,
            largest_force=found.largest_force,
            warnings=tuple(
                text for text in statistics.warnings if text != UNKNOWN_TRAINING_SET
            ),
        ),
        None if absent else FeatureCloud.fit(numbers, features),
        choose_samples(examples),
        absent,
    )


def _predicted(
    potential: Potential, examples: Sequence[Example]
) -> tuple[list[Example], np.ndarray, np.ndarray]:
    """Examples with predictions in place of labels; elements and features of atoms."""
    out: list[Example] = []
    numbers, features = [], []
    sizes = [example.graph.num_edges for example in examples]
    for indices in evaluation_batches(sizes, MAX_STRUCTURES, MAX_EDGES):
        batch = [examples[n] for n in indices]
        graph, _ = collate_examples(batch)
        found = potential(graph, {"energy", "forces", "features"}, create_graph=False)
        if found.forces is None or found.features is None:
            raise ConversionError("the potential predicts no forces or no features")
        numbers.append(graph.atomic_numbers.numpy())
        features.append(found.features.double().numpy())
        counts = [example.graph.num_atoms for example in batch]
        for example, energy, forces in zip(
            batch, found.energy, found.forces.split(counts), strict=True
        ):
            stress = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
            labels = Labels(energy.detach()[None], forces.detach(), stress)
            out.append(dataclasses.replace(example, labels=labels))
    return out, np.concatenate(numbers), np.concatenate(features)
