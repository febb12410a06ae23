"""Comparison of a converted model with predictions of the original."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from equipot.conversion.errors import ConversionError
from equipot.data.dataset import make_example
from equipot.data.structure import Structure
from equipot.evaluation.evaluate import evaluate
from equipot.evaluation.results import Evaluation
from equipot.models.potential import Potential


@final
@dataclass(frozen=True)
class Difference:
    """Largest difference of one quantity."""

    quantity: str
    """Energy, forces or stress."""
    unit: str
    """Of the difference."""
    largest: float
    """Absolute; NaN if a prediction is not a number."""
    tolerance: float
    """Above which a conversion is refused."""
    where: str
    """Structure in which it is."""

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.quantity}: largest difference {self.largest:.2g} {self.unit} "
            f"(allowed {self.tolerance:.0e}), in {self.where}"
        )


TOLERANCES = {
    "float32": {"energy": 1e-5, "forces": 1e-4, "stress": 1e-5},
    "float64": {"energy": 1e-8, "forces": 1e-8, "stress": 1e-8},
}
"""Allowed differences in eV per atom, eV/Å and eV/Å^3 by the type of the original."""
UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å^3"}


def compare(
    potential: Potential, structures: Sequence[Structure], dtype: str
) -> list[Difference]:
    """Compare with labels, which are predictions of the original.

    Args:
        potential: Converted, in float64.
        structures: With the predictions as labels.
        dtype: Floating-point type that the original computed them in.

    Returns:
        A difference for each quantity that there are labels of.

    Raises:
        ConversionError: If there is no label to compare with.
    """
    if not any({"energy", "forces"} & s.has for s in structures):
        raise ConversionError(
            "there is nothing to compare with: no structure has REF_energy or "
            "REF_forces, predictions of the original"
        )
    examples = [make_example(structure, potential.cutoff) for structure in structures]
    found = evaluate(potential, examples)
    return [
        _difference(name, errors, found, TOLERANCES[dtype][name])
        for name, errors in _errors(found).items()
        if not np.isnan(errors).all()
    ]


def refuse_differences(differences: Sequence[Difference]) -> None:
    """Refuse a conversion that predicts something else than the original.

    Raises:
        ConversionError: If it does; with all differences.
    """
    failed = [str(difference) for difference in differences if not difference.passed]
    if failed:
        raise ConversionError(
            f"the converted model differs from the original: {'; '.join(failed)}. "
            "Nothing was written"
        )


def _errors(found: Evaluation) -> dict[str, np.ndarray]:
    """Largest absolute error of each structure; NaN without labels."""
    atoms = np.maximum(found.num_atoms, 1)
    return {
        "energy": np.abs(found.energy.error) / atoms,
        "forces": found.largest_force_error,
        "stress": np.abs(found.stress.error).max(axis=(1, 2)),
    }


def _difference(
    name: str, errors: np.ndarray, found: Evaluation, tolerance: float
) -> Difference:
    worst = int(np.nanargmax(errors))
    return Difference(
        name, UNITS[name], float(errors[worst]), tolerance, found.short_source[worst]
    )
