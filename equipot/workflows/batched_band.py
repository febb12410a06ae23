"""Nudged elastic band whose images are evaluated together."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.mep import NEB
from jaxtyping import Float

from equipot.workflows.served_results import ServedResults
from equipot.workflows.together import evaluate_together


@final
class BatchedNEB(NEB):
    """ASE's band; all images are evaluated together before its forces are computed.

    Args:
        images: Images from one end to the other, whose calculators are replaced.
        calculator: Calculator of all images.
        options: Options of `ase.mep.NEB`.
    """

    def __init__(
        self, images: Sequence[Atoms], calculator: Any, **options: Any
    ) -> None:
        super().__init__(list(images), **options)
        self._calculator = calculator
        self._ends_known = False
        for image in images:
            image.calc = ServedResults()

    def get_forces(self) -> Float[np.ndarray, "rows 3"]:
        """Forces on the inner images; called by ASE."""
        images = self.images[1:-1] if self._ends_known else self.images
        found = evaluate_together(images, self._calculator)
        for image, results in zip(images, found, strict=True):
            image.calc.serve(image, results)
        self._ends_known = True  # they do not move
        forces: np.ndarray = super().get_forces()
        return forces
