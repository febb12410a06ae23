"""Learned features of the training set, for the domain of validity."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from equipot.config.training import TrainingConfig
from equipot.data.batching import evaluation_batches
from equipot.data.labels import Example
from equipot.domain import FeatureDistribution
from equipot.models.potential import Potential
from equipot.training.step import make_batch

MAX_ATOMS = 200_000
"""Largest number of atoms per set; larger sets are thinned evenly."""


def fit_features(
    potential: Potential,
    train: Sequence[Example],
    valid: Sequence[Example],
    config: TrainingConfig,
) -> FeatureDistribution | None:
    """Distribution of features in the training set, widened by the validation set.

    Args:
        potential: Trained potential in evaluation mode.
        train: Training set, with at least one atom.
        valid: Validation set; may be empty.
        config: Batch sizes.

    Returns:
        The distribution; None if the training set lacks an element of the potential.
    """
    present = {z for e in train for z in e.graph.atomic_numbers.tolist()}
    if not set(potential.elements) <= present:
        return None
    cloud = FeatureDistribution.fit(*_features(potential, _thinned(train), config))
    return cloud.widened(*_features(potential, _thinned(valid), config))


def _thinned(examples: Sequence[Example]) -> Sequence[Example]:
    atoms = sum(example.graph.num_atoms for example in examples)
    return examples[:: 1 + (atoms - 1) // MAX_ATOMS] if atoms else examples


def _features(
    potential: Potential, examples: Sequence[Example], config: TrainingConfig
) -> tuple[Int[np.ndarray, " atoms"], Float[np.ndarray, "atoms channels"]]:
    """Atomic numbers and features of all atoms."""
    numbers, features = [np.zeros(0, int)], []
    batches = evaluation_batches(
        [example.graph.num_edges for example in examples],
        config.valid_batch_size,
        config.max_edges,
    )
    for batch in batches:
        graph = make_batch([examples[n] for n in batch]).graph.to(potential.device)
        found = potential(graph, {"energy", "features"}, create_graph=False).features
        if found is None:
            raise ValueError("features were requested, but the potential returned none")
        features.append(found.double().cpu().numpy())
        numbers.append(graph.atomic_numbers.cpu().numpy())
    channels = potential.backbone.channels[-1]
    return np.concatenate(numbers), np.concatenate([np.zeros((0, channels)), *features])
