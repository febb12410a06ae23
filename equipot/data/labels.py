"""Labels of structures, and structures with labels, as used in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.data.ragged import RaggedMatrices
from equipot.graph.atomic_graph import AtomicGraph, collate

WEIGHTED: Final = ("energy", "forces", "stress", "hessian")
"""Labels in the order of the columns of `Labels.weights`."""


@dataclass(frozen=True)
class Labels:
    """Reference values of one structure or a batch; NaN marks missing values.

    All labels are float64. Forces may be missing for some atoms only.
    """

    energy: Float[Tensor, " graphs"]
    """Total energy in eV."""
    forces: Float[Tensor, "atoms 3"]
    """Forces in eV/Å."""
    stress: Float[Tensor, "graphs 3 3"]
    """Stress in eV/Å^3, positive in tension."""
    hessian: RaggedMatrices | None = None
    """Second derivatives in eV/Å^2, rows and columns (atom, xyz); None if no structure
    has any."""
    weights: Float[Tensor, "graphs 4"] | None = None
    """Factors of the loss terms of each structure, in the order of `WEIGHTED`; None if
    all are 1. Labels of weight 0 are missing (NaN)."""

    def weight(self, name: str) -> Float[Tensor, " graphs"] | None:
        """Weight of one label for every structure; None if all are 1."""
        if self.weights is None:
            return None
        return self.weights[:, WEIGHTED.index(name)]

    def to(self, device: torch.device | str) -> "Labels":
        """Copy on another device."""
        return Labels(
            self.energy.to(device),
            self.forces.to(device),
            self.stress.to(device),
            None if self.hessian is None else self.hessian.to(device),
            None if self.weights is None else self.weights.to(device),
        )


@dataclass(frozen=True)
class Example:
    """A structure with its labels and its source."""

    graph: AtomicGraph
    labels: Labels
    config_type: str
    """Group for which errors are reported; "default" if the file has none."""
    source: str
    """File and index in it, such as ``train.xyz#12``, for messages."""


def collate_examples(examples: Sequence[Example]) -> tuple[AtomicGraph, Labels]:
    """One graph and one set of labels for a batch of structures."""
    return collate([e.graph for e in examples]), Labels(
        energy=torch.cat([e.labels.energy for e in examples]),
        forces=torch.cat([e.labels.forces for e in examples]),
        stress=torch.cat([e.labels.stress for e in examples]),
        hessian=_collate_hessians(examples),
        weights=_collate_weights(examples),
    )


def _collate_weights(examples: Sequence[Example]) -> Float[Tensor, "graphs 4"] | None:
    if all(e.labels.weights is None for e in examples):
        return None
    return torch.cat(
        [
            torch.ones(e.graph.num_graphs, len(WEIGHTED), dtype=torch.float64)
            if e.labels.weights is None
            else e.labels.weights
            for e in examples
        ]
    )


def _collate_hessians(examples: Sequence[Example]) -> RaggedMatrices | None:
    if all(e.labels.hessian is None for e in examples):
        return None
    return RaggedMatrices.of(
        [
            matrix
            for e in examples
            for matrix in (
                [None] * e.graph.num_graphs
                if e.labels.hessian is None
                else e.labels.hessian.matrices
            )
        ]
    )
