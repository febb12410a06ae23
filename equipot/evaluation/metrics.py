"""Error metrics of predictions, overall and by config_type and element."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor

from equipot.data.labels import Labels
from equipot.graph.atomic_graph import AtomicGraph
from equipot.graph.scatter import scatter_sum
from equipot.models.prediction import Prediction
from equipot.units import MEV_PER_EV

UNITS: Final = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å^3"}
"""Units of errors by property."""


@dataclass
class Moments:
    """Running sums of errors and labels, which can be merged."""

    count: int = 0
    absolute: float = 0.0
    """Sum of absolute errors."""
    squared: float = 0.0
    """Sum of squared errors."""
    mean: float = 0.0
    """Mean of the labels."""
    deviation: float = 0.0
    """Sum of squared deviations of the labels from their mean."""

    def merge(self, other: "Moments") -> None:
        """Merge with the moments of another group.

        Source:
            T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise
            algorithm for computing sample variances", COMPSTAT (1982).
        """
        if other.count == 0:
            return
        count = self.count + other.count
        step = other.mean - self.mean
        self.deviation += other.deviation + step**2 * self.count * other.count / count
        self.mean += step * other.count / count
        self.absolute += other.absolute
        self.squared += other.squared
        self.count = count

    def errors(self, unit: str) -> dict[str, Any]:
        """ERRORS of one group, see `ErrorAccumulator.compute`."""
        mse = self.squared / self.count
        variance = self.deviation / self.count
        explained = 1 - mse / variance if variance > 0 else None
        return {
            "count": self.count,
            "mae": MEV_PER_EV * self.absolute / self.count,
            "rmse": MEV_PER_EV * math.sqrt(mse),
            "std": MEV_PER_EV * math.sqrt(variance),
            "explained": explained,
            "unit": unit,
        }


class ErrorAccumulator:
    """Accumulator of errors over batches, in any order.

    Energies are compared per atom, forces and stress per component. Values without a
    label (NaN) or prediction (None) are skipped.

    Args:
        reference_energies: Energy in eV by atomic number, subtracted from the labels
            for their standard deviation, which otherwise mostly reflects compositions.
            Errors do not depend on it.
    """

    def __init__(self, reference_energies: Mapping[int, float] | None = None) -> None:
        self._references = torch.zeros(len(chemical_symbols), dtype=torch.float64)
        for number, energy in (reference_energies or {}).items():
            self._references[number] = energy
        self._groups: dict[str, dict[str, dict[str, Moments]]] = {}

    def update(
        self,
        prediction: Prediction,
        graph: AtomicGraph,
        labels: Labels,
        config_types: Sequence[str],
    ) -> None:
        """Add a batch.

        Args:
            prediction: Predictions for the batch.
            graph: Graph of the batch.
            labels: Labels of the batch, NaN if missing.
            config_types: Group of every structure.

        Raises:
            ValueError: If there is not one group per structure.
        """
        if len(config_types) != graph.num_graphs:
            raise ValueError(
                f"expected one config_type for each of {graph.num_graphs} structures, "
                f"got {len(config_types)}"
            )
        names = sorted(set(config_types))
        structure_group = torch.tensor(
            [names.index(c) for c in config_types], device=graph.batch.device
        )
        self._energy(prediction, graph, labels, structure_group, names)
        if prediction.forces is not None:
            self._forces(prediction.forces, graph, labels, structure_group, names)
        if prediction.stress is not None:
            error = prediction.stress - labels.stress
            group = structure_group[:, None, None].expand_as(error)
            self._add(
                "stress",
                "config_type",
                error=error,
                label=labels.stress,
                group=group,
                names=names,
            )

    def _energy(
        self,
        prediction: Prediction,
        graph: AtomicGraph,
        labels: Labels,
        structure_group: Int[Tensor, " graphs"],
        names: list[str],
    ) -> None:
        references = self._references.to(graph.batch.device)[graph.atomic_numbers]
        ones = torch.ones_like(references)
        atoms = scatter_sum(ones, graph.batch, graph.num_graphs).clamp(min=1)
        baseline = scatter_sum(references, graph.batch, graph.num_graphs)
        error = (prediction.energy - labels.energy) / atoms
        target = (labels.energy - baseline) / atoms
        self._add(
            "energy",
            "config_type",
            error=error,
            label=target,
            group=structure_group,
            names=names,
        )

    def _forces(
        self,
        forces: Float[Tensor, "atoms 3"],
        graph: AtomicGraph,
        labels: Labels,
        structure_group: Int[Tensor, " graphs"],
        names: list[str],
    ) -> None:
        error = forces - labels.forces
        group = structure_group[graph.batch][:, None].expand_as(error)
        self._add(
            "forces",
            "config_type",
            error=error,
            label=labels.forces,
            group=group,
            names=names,
        )
        numbers, element = graph.atomic_numbers.unique(return_inverse=True)
        symbols = [chemical_symbols[z] for z in numbers.tolist()]
        group = element[:, None].expand_as(error)
        self._add(
            "forces",
            "element",
            error=error,
            label=labels.forces,
            group=group,
            names=symbols,
        )

    def _add(
        self,
        name: str,
        kind: str,
        *,
        error: Float[Tensor, "*shape"],
        label: Float[Tensor, "*shape"],
        group: Int[Tensor, "*shape"],
        names: list[str],
    ) -> None:
        total = self._groups.setdefault(name, {}).setdefault(kind, {})
        for key, moments in _moments(error, label, group, names).items():
            total.setdefault(key, Moments()).merge(moments)

    def compute(self) -> dict[str, Any]:
        """Errors of all batches so far as JSON values.

        Returns:
            For each of "energy", "forces" and "stress" with at least one label::

                {"overall": ERRORS,
                 "per_config_type": {"default": ERRORS, ...},
                 "per_element": {"H": ERRORS, ...}}        # forces only

            where ERRORS are ``{"count", "mae", "rmse", "std", "explained", "unit"}``:
            number of labels (components, for forces and stress), mean absolute and
            root-mean-square error, standard deviation of the labels, fraction of their
            variance that is explained, ``1 - (rmse / std)**2``, or None if the labels
            do not vary, and the unit (see `UNITS`).
        """
        report: dict[str, Any] = {}
        for name, kinds in self._groups.items():
            overall = Moments()
            for moments in kinds["config_type"].values():
                overall.merge(moments)
            if overall.count == 0:
                continue
            report[name] = {"overall": overall.errors(UNITS[name])}
            for kind, groups in kinds.items():
                report[name][f"per_{kind}"] = {
                    key: groups[key].errors(UNITS[name]) for key in sorted(groups)
                }
        return report

    def state(self) -> dict[str, Any]:
        """State for `load_state` as JSON values; floats are exact."""
        return {
            name: {
                kind: {key: asdict(moments) for key, moments in groups.items()}
                for kind, groups in kinds.items()
            }
            for name, kinds in self._groups.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by `state`."""
        self._groups = {
            name: {
                kind: {key: Moments(**moments) for key, moments in groups.items()}
                for kind, groups in kinds.items()
            }
            for name, kinds in state.items()
        }


def _moments(
    error: Float[Tensor, "*shape"],
    label: Float[Tensor, "*shape"],
    group: Int[Tensor, "*shape"],
    names: list[str],
) -> dict[str, Moments]:
    """Moments of every group with labels, with a single copy to the host."""
    present = ~label.isnan()
    error = error.detach()[present].double()
    label, group = label[present].double(), group[present]
    sums = scatter_sum(
        torch.stack([torch.ones_like(error), error.abs(), error**2, label], dim=1),
        group,
        len(names),
    )
    mean = sums[:, 3] / sums[:, 0].clamp(min=1)
    deviation = scatter_sum((label - mean[group]) ** 2, group, len(names))
    rows = torch.column_stack([sums[:, :3], mean, deviation]).tolist()
    return {
        name: Moments(int(count), *rest)
        for name, (count, *rest) in zip(names, rows, strict=True)
        if count
    }
