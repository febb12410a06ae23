"""Rows of several structures in one array, and sums over those of each structure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

Rows = Float[np.ndarray, "rows 3"]
"""One row per atom, and three per cell, of all structures in their order."""

PerStructure = Float[np.ndarray, " structures"]
"""One number per structure."""


@dataclass(frozen=True)
class RaggedRows:
    """Division of the rows of an array into structures with one or more rows each."""

    counts: Int[np.ndarray, " structures"]
    """Number of rows of each structure."""

    @cached_property
    def starts(self) -> Int[np.ndarray, " structures"]:
        """First row of each structure."""
        starts: np.ndarray = np.cumsum(self.counts) - self.counts
        return starts

    def dot(self, a: Rows, b: Rows) -> PerStructure:
        """Scalar products over all rows of each structure."""
        products: np.ndarray = np.add.reduceat((a * b).sum(axis=1), self.starts)
        return products

    def norm(self, a: Rows) -> PerStructure:
        """Euclidean norms over all rows of each structure."""
        norms: np.ndarray = np.sqrt(self.dot(a, a))
        return norms

    def longest(self, a: Rows) -> PerStructure:
        """Length of the longest row of each structure."""
        lengths: np.ndarray = np.sqrt((a * a).sum(axis=1))
        longest: np.ndarray = np.maximum.reduceat(lengths, self.starts)
        return longest

    def times(self, values: PerStructure, a: Rows) -> Rows:
        """Rows multiplied by the number of their structure."""
        scaled: np.ndarray = np.repeat(values, self.counts)[:, None] * a
        return scaled

    def kept(self, keep: Bool[np.ndarray, " structures"]) -> "RaggedRows":
        """Division of the rows of some of the structures."""
        return RaggedRows(self.counts[keep])

    def rows_of(self, keep: Bool[np.ndarray, " structures"]) -> Bool[np.ndarray, " r"]:
        """Which rows belong to some of the structures."""
        rows: np.ndarray = np.repeat(keep, self.counts)
        return rows
