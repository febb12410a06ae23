"""How each property is shown: name, units, and values as plain columns."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from equipot.evaluation.results import Compared, Evaluation
from equipot.models.prediction import Output
from equipot.units import GPA_PER_EV_PER_A3, MEV_PER_EV


@dataclass(frozen=True)
class Quantity:
    """A property that is compared with labels."""

    key: Output
    """Name in metrics."""
    title: str
    """Name in headings."""
    unit: str
    """Unit of labels."""
    scale: float
    """Factor from eV and Å to `unit`."""
    error_unit: str
    """Unit of errors."""
    error_scale: float
    """Factor from meV and Å, as in metrics, to `error_unit`."""

    @property
    def singular(self) -> str:
        """Name in front of another noun."""
        return self.title.removesuffix("s") if self.key == "forces" else self.title

    @property
    def error_per_label(self) -> float:
        """Factor from `unit` to `error_unit`."""
        return self.error_scale * MEV_PER_EV / self.scale

    def values(self, evaluation: Evaluation) -> Compared:
        """Labels and predictions in `unit`, flat, and only where there is a label."""
        compared = {
            "energy": evaluation.energy_per_atom,
            "forces": evaluation.forces,
            "stress": evaluation.stress,
        }[self.key]
        present = np.isfinite(compared.reference)
        return Compared(
            self.scale * compared.reference[present],
            self.scale * compared.predicted[present],
        )


_GPA_PER_MEV_PER_A3: Final = GPA_PER_EV_PER_A3 / MEV_PER_EV

QUANTITIES: Final = (
    Quantity("energy", "Energy", "eV/atom", 1.0, "meV/atom", 1.0),
    Quantity("forces", "Forces", "eV/Å", 1.0, "meV/Å", 1.0),
    Quantity("stress", "Stress", "GPa", GPA_PER_EV_PER_A3, "GPa", _GPA_PER_MEV_PER_A3),
)


def labeled(evaluation: Evaluation) -> list[Quantity]:
    """Properties that at least one structure has a label for."""
    return [q for q in QUANTITIES if q.key in evaluation.metrics]
