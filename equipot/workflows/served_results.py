"""Calculator of ASE that returns results of a batch."""

from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from equipot.calculators import Evaluated


@final
class ServedResults(Calculator):
    """Results that were computed elsewhere, for one geometry.

    Optimizers and filters of ASE read them as from any calculator.
    """

    def __init__(self) -> None:
        super().__init__()
        self._positions = self._cell = np.zeros((0, 3))

    def serve(self, atoms: Atoms, found: Evaluated) -> None:
        """Store the results of a structure.

        Args:
            atoms: The structure.
            found: Its results.
        """
        self._positions = atoms.positions.copy()
        self._cell = atoms.cell.array.copy()
        self.results = found.results

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Stored result; called by ASE.

        Raises:
            RuntimeError: If the structure has moved since.
            PropertyNotImplementedError: If there is no such result.
        """
        del allow_calculation
        if atoms is None or not (
            np.array_equal(self._positions, atoms.positions)
            and np.array_equal(self._cell, atoms.cell.array)
        ):
            raise RuntimeError(
                f"the {name} was not computed for this geometry: serve its results "
                "after each step"
            )
        if name not in self.results:
            raise PropertyNotImplementedError(f"the results have no {name}")
        value = self.results[name]
        return value.copy() if isinstance(value, np.ndarray) else value
