r"""Extrapolation score from learned features of the atomic environment.

The features :math:`f_i` that the last layer computes for atoms of one element form a
cloud around their mean :math:`\mu_z`. With the covariance :math:`\Sigma` of all atoms
about the means of their elements, the distance of an atom from the cloud is

.. math:: d_i = \sqrt{(f_i - \mu_z)^T (\Sigma + \varepsilon)^{-1} (f_i - \mu_z)}

(Mahalanobis' distance with one covariance for all classes, K. Lee et al., NeurIPS 2018,
arXiv:1807.03888). Its score is this distance over the largest one of the training and
validation sets. It costs a product of a vector with a matrix for each atom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

RIDGE = 1e-4
"""Epsilon, over the mean variance of a feature: below it a feature is constant, and
small changes of it mean nothing."""
MIN_DISTANCE = 1e-2
"""Distance that counts as none: of an element whose atoms are all alike."""

Features = Float[np.ndarray, "atoms channels"]
Numbers = Int[np.ndarray, " atoms"]


@dataclass(frozen=True)
class FeatureCloud:
    """The cloud of the training set in the space of features."""

    elements: tuple[int, ...]
    """Atomic numbers, in the order of the arrays."""
    means: Float[np.ndarray, "elements channels"]
    """Mean of each element."""
    whitening: Float[np.ndarray, "channels channels"]
    """Matrix that turns differences from a mean into vectors as long as d."""
    largest: Float[np.ndarray, " elements"]
    """Largest distance of each element in training and validation."""

    @classmethod
    def fit(cls, numbers: Numbers, features: Features) -> "FeatureCloud":
        """Cloud of a training set.

        Args:
            numbers: Atomic numbers of its atoms, at least one.
            features: Of these atoms.

        Raises:
            ValueError: If a feature is not finite, or there is no atom.
        """
        _check_finite(features)
        if not len(numbers):
            raise ValueError("there is no atom whose features could be learned")
        elements, rows = np.unique(numbers, return_inverse=True)
        means = np.array(
            [features[rows == n].mean(axis=0) for n in range(len(elements))]
        )
        centered = features - means[rows]
        values, vectors = np.linalg.eigh(centered.T @ centered / len(features))
        # where all atoms are alike, the size of the features is the scale
        size = values.mean() if values.mean() > 0 else np.square(features).mean()
        whitening = (vectors / np.sqrt(values.clip(0) + RIDGE * (size or 1.0))).T
        smallest = np.full(len(elements), MIN_DISTANCE)
        cloud = cls(tuple(elements.tolist()), means, whitening, smallest)
        return cloud.widened(numbers, features)

    def widened(self, numbers: Numbers, features: Features) -> "FeatureCloud":
        """The same cloud, with these atoms among those that have a score up to one.

        Args:
            numbers: Atomic numbers; those of other elements are passed over.
            features: Of these atoms.

        Raises:
            ValueError: If a feature is not finite.
        """
        _check_finite(features)
        known = np.isin(numbers, self.elements)
        numbers, features = numbers[known], features[known]
        largest = self.largest.copy()
        rows = np.searchsorted(self.elements, numbers)
        np.maximum.at(largest, rows, self.distances(numbers, features))
        return replace(self, largest=largest)

    def distances(self, numbers: Numbers, features: Features) -> np.ndarray:
        """How far atoms are from the mean of their elements.

        Args:
            numbers: Atomic numbers among `elements`.
            features: Of these atoms.
        """
        rows = np.searchsorted(self.elements, numbers)
        centered = features - self.means[rows]
        out: np.ndarray = np.linalg.norm(centered @ self.whitening.T, axis=1)
        return out

    def scores(self, numbers: Numbers, features: Features) -> np.ndarray:
        """Distances over the largest ones of training; above one, it extrapolates.

        Args:
            numbers: Atomic numbers among `elements`.
            features: Of these atoms.
        """
        rows = np.searchsorted(self.elements, numbers)
        out: np.ndarray = self.distances(numbers, features) / self.largest[rows]
        return out

    def to_tensors(self) -> dict[str, Tensor]:
        """All of it by name, in float64."""
        return {
            "elements": torch.tensor(self.elements),
            "means": torch.from_numpy(self.means),
            "whitening": torch.from_numpy(self.whitening),
            "largest": torch.from_numpy(self.largest),
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], elements: Sequence[int], channels: int
    ) -> "FeatureCloud":
        """Inverse of `to_tensors`.

        Args:
            tensors: By name.
            elements: What they must be about.
            channels: Features of an atom.

        Raises:
            ValueError: If one is missing, of a wrong shape, or not finite.
        """
        try:
            found = tuple(tensors["elements"].tolist())
            means, whitening, largest = (
                tensors[name].double().numpy()
                for name in ("means", "whitening", "largest")
            )
        except KeyError as error:
            raise ValueError(f"the domain of features lacks {error}") from error
        shapes = (means.shape, whitening.shape, largest.shape)
        expected = ((len(found), channels), (channels, channels), (len(found),))
        if shapes != expected:
            raise ValueError(
                f"the domain of features has the shapes {shapes}, expected {expected}"
            )
        if found != tuple(elements):
            raise ValueError(
                f"the domain of features is of the elements {found}, the potential of "
                f"{tuple(elements)}"
            )
        if not all(np.isfinite(a).all() for a in (means, whitening, largest)):
            raise ValueError("the domain of features holds values that are not finite")
        if not (largest > 0).all():
            raise ValueError("the domain of features has distances that are no lengths")
        return cls(found, means, whitening, largest)


def _check_finite(features: Features) -> None:
    if not np.isfinite(features).all():
        raise ValueError(
            "features of the training set are not finite: the model is damaged"
        )
