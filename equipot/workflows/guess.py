"""Initial guess of the saddle point between two minima, by a nudged elastic band."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE
from jaxtyping import Float

from equipot.workflows.batched_band import BatchedNEB
from equipot.workflows.images import superimposed
from equipot.workflows.vibrations import bare

CLIMBING_FORCE: Final = 0.5
"""Largest force on the band in eV/Å below which the highest image starts to climb."""

TANGENT: Final = "improvedtangent"
"""Definition of the tangent of the band in ASE."""


@dataclass(frozen=True)
class Guess:
    """Guess of a saddle point: the highest image of a band.

    Attributes:
        atoms: Highest image, without a calculator.
        direction: Tangent of the band at that image, in Å.
        band: All images from one minimum to the other.
        energies: Energies of all images in eV.
    """

    atoms: Atoms
    direction: Float[np.ndarray, "atoms 3"]
    band: tuple[Atoms, ...]
    energies: Float[np.ndarray, " images"]


def guess_saddle(
    start: Atoms,
    end: Atoms,
    *,
    images: int = 9,
    fmax: float = 0.2,
    max_steps: int = 200,
) -> Guess:
    """Guess the saddle point between two minima by a climbing-image band.

    Args:
        start: First minimum, with a calculator, which is used for all images; they are
            evaluated together if it can do so.
        end: Second minimum: the same atoms in the same order and the same cell, wrapped
            or not.
        images: Number of images, minima included.
        fmax: Convergence threshold of the band in eV/Å.
        max_steps: Largest number of steps.

    Returns:
        The highest image, whether the band is converged or not.

    Raises:
        ValueError: If the ends are not the same atoms in the same order with the same
            masses, cell and fixed atoms, are the same structure, or the highest image
            is an end: there is nothing to climb.
    """
    end = superimposed(start, end)
    if np.abs(end.positions - start.positions).max() < 0.05:
        raise ValueError("expected two different minima, got the same structure twice")
    band = [start.copy() for _ in range(images - 1)] + [end]
    empty = NEB(band, method=TANGENT)
    empty.interpolate(method="idpp", mic=bool(start.pbc.any()))
    neb = BatchedNEB(band, start.calc, method=TANGENT)
    for climb, limit in ((False, max(CLIMBING_FORCE, fmax)), (True, fmax)):
        neb.climb = climb
        FIRE(neb, logfile=None).run(fmax=limit, steps=max_steps)
    energies = np.array([image.get_potential_energy() for image in band])
    top = int(np.argmax(energies))
    if top in (0, images - 1):
        raise ValueError(
            "there is no barrier between the two structures: the highest image is an "
            "end of the band; relax the structures first, or use structures with a "
            "barrier between them"
        )
    return Guess(
        atoms=bare(band[top]),
        direction=band[top + 1].positions - band[top - 1].positions,
        band=tuple(bare(image) for image in band),
        energies=energies,
    )
