r"""Extrapolation score from learned features of the atomic environment.

The features :math:`f_i` of the last layer are distributed around their mean
:math:`\mu_z` over the atoms of each element. With the covariance :math:`\Sigma` of all
atoms about the means of their elements, the distance of an atom from the mean is

.. math:: d_i = \sqrt{(f_i - \mu_z)^T (\Sigma + \varepsilon)^{-1} (f_i - \mu_z)}

(Mahalanobis distance with one covariance for all classes, K. Lee et al., NeurIPS 2018,
arXiv:1807.03888). The score is this distance over the largest one in the training and
validation sets. The cost is one matrix-vector product per atom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

RIDGE = 1e-4
"""Regularization, relative to the mean variance of a feature: features with a smaller
variance are treated as constant."""
MIN_DISTANCE = 1e-2
"""Minimum of the largest distance, for elements whose atoms are all equivalent."""

Features = Float[np.ndarray, "atoms channels"]
Numbers = Int[np.ndarray, " atoms"]


@dataclass(frozen=True)
class FeatureDistribution:
    """Distribution of the training set in feature space."""

    elements: tuple[int, ...]
    """Atomic numbers, in the order of the arrays."""
    means: Float[np.ndarray, "elements channels"]
    """Mean of each element."""
    whitening: Float[np.ndarray, "channels channels"]
    """Matrix that maps differences from the mean to vectors of length d."""
    largest: Float[np.ndarray, " elements"]
    """Largest distance of each element in training and validation."""

    @classmethod
    def fit(cls, numbers: Numbers, features: Features) -> "FeatureDistribution":
        """Fit to a training set.

        Args:
            numbers: Atomic numbers of its atoms, at least one.
            features: Features of these atoms.

        Raises:
            ValueError: If a feature is not finite, or there is no atom.
        """
        _check_finite(features)
        if not len(numbers):
            raise ValueError("cannot fit features: the training set has no atoms")
        elements, rows = np.unique(numbers, return_inverse=True)
        means = np.array(
            [features[rows == n].mean(axis=0) for n in range(len(elements))]
        )
        centered = features - means[rows]
        values, vectors = np.linalg.eigh(centered.T @ centered / len(features))
        # if all atoms are equivalent, the magnitude of the features sets the scale
        size = values.mean() if values.mean() > 0 else np.square(features).mean()
        whitening = (vectors / np.sqrt(values.clip(0) + RIDGE * (size or 1.0))).T
        smallest = np.full(len(elements), MIN_DISTANCE)
        cloud = cls(tuple(elements.tolist()), means, whitening, smallest)
        return cloud.widened(numbers, features)

    def widened(self, numbers: Numbers, features: Features) -> "FeatureDistribution":
        """Copy in which the given atoms have scores of at most 1.

        Args:
            numbers: Atomic numbers; other elements are skipped.
            features: Features of these atoms.

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
        """Mahalanobis distances of atoms from the mean of their element.

        Args:
            numbers: Atomic numbers among `elements`.
            features: Features of these atoms.
        """
        return self.of_atoms(numbers).distances(features)

    def of_atoms(self, numbers: Numbers) -> "AtomDistributions":
        """Distributions of the elements of atoms.

        Args:
            numbers: Atomic numbers among `elements`.
        """
        rows = np.searchsorted(self.elements, numbers)
        return AtomDistributions(
            self.means[rows], self.largest[rows], np.ascontiguousarray(self.whitening.T)
        )

    def scores(self, numbers: Numbers, features: Features) -> np.ndarray:
        """Distances over the largest ones in training; above 1 is extrapolation.

        Args:
            numbers: Atomic numbers among `elements`.
            features: Features of these atoms.
        """
        return self.of_atoms(numbers).scores(features)

    def to_tensors(self) -> dict[str, Tensor]:
        """All arrays by name, in float64."""
        return {
            "elements": torch.tensor(self.elements),
            "means": torch.from_numpy(self.means),
            "whitening": torch.from_numpy(self.whitening),
            "largest": torch.from_numpy(self.largest),
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], elements: Sequence[int], channels: int
    ) -> "FeatureDistribution":
        """Inverse of `to_tensors`.

        Args:
            tensors: Tensors by name.
            elements: Expected atomic numbers.
            channels: Expected number of features per atom.

        Raises:
            ValueError: If a tensor is missing, has a wrong shape, or is not finite.
        """
        try:
            found = tuple(tensors["elements"].tolist())
            means, whitening, largest = (
                tensors[name].double().numpy()
                for name in ("means", "whitening", "largest")
            )
        except KeyError as error:
            raise ValueError(f"the feature domain lacks {error}") from error
        shapes = (means.shape, whitening.shape, largest.shape)
        expected = ((len(found), channels), (channels, channels), (len(found),))
        if shapes != expected:
            raise ValueError(
                f"the feature domain has the shapes {shapes}, expected {expected}"
            )
        if found != tuple(elements):
            raise ValueError(
                f"the feature domain has the elements {found}, the potential has "
                f"{tuple(elements)}"
            )
        if not all(np.isfinite(a).all() for a in (means, whitening, largest)):
            raise ValueError("the feature domain contains values that are not finite")
        if not (largest > 0).all():
            raise ValueError("the feature domain has distances that are not positive")
        return cls(found, means, whitening, largest)


@dataclass(frozen=True)
class AtomDistributions:
    """Distribution of the element of each atom of a structure."""

    means: Features
    """Mean of the element of each atom."""
    largest: Float[np.ndarray, " atoms"]
    """Largest distance of the element of each atom."""
    whitening: Float[np.ndarray, "channels channels"]
    """Transposed matrix that maps differences to vectors of length d."""

    def distances(self, features: Features) -> np.ndarray:
        """Mahalanobis distances, as of `FeatureDistribution.distances`."""
        whitened = (features - self.means) @ self.whitening
        out: np.ndarray = np.sqrt(np.einsum("ic,ic->i", whitened, whitened))
        return out

    def scores(self, features: Features) -> np.ndarray:
        """Scores, as of `FeatureDistribution.scores`."""
        out: np.ndarray = self.distances(features) / self.largest
        return out


def _check_finite(features: Features) -> None:
    if not np.isfinite(features).all():
        raise ValueError(
            "features of the training set are not finite: the model is damaged"
        )
