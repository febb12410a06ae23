"""A guess of the saddle point between two minima, by a nudged elastic band."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE
from jaxtyping import Float

from equipot.workflows.images import laid_over
from equipot.workflows.vibrations import bare

LOOSE: Final = 0.5
"""Force in eV/Å at which the band is good enough for its top to start climbing."""


@dataclass(frozen=True)
class Guess:
    """The top of a band.

    Attributes:
        atoms: Its highest image, without a calculator.
        direction: Along the band there, in Å.
        band: All images from one minimum to the other.
        energies: Of them, in eV.
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
    """Climb between two minima.

    Args:
        start: One minimum, with a calculator, which computes all images.
        end: The other: the same atoms in the same order and the same cell, in any of
            their images.
        images: Structures of the band, minima included.
        fmax: Force in eV/Å to converge the band to; a search takes over from there.
        max_steps: Most steps.

    Returns:
        The highest image, converged or not: it is a guess.

    Raises:
        ValueError: If the ends are not the same atoms in the same order with the same
            masses, cell and fixed atoms, are the same structure, or the highest image
            is an end: there is nothing to climb.
    """
    end = laid_over(start, end)
    if np.abs(end.positions - start.positions).max() < 0.05:
        raise ValueError(
            "expected two minima, got the same structure twice: give the other one"
        )
    band = [start.copy() for _ in range(images - 1)] + [end]
    for image in band:
        image.calc = start.calc
    neb = NEB(band, allow_shared_calculator=True, method="improvedtangent")
    neb.interpolate(method="idpp", mic=bool(start.pbc.any()))
    for climb, limit in ((False, max(LOOSE, fmax)), (True, fmax)):
        neb.climb = climb
        FIRE(neb, logfile=None).run(fmax=limit, steps=max_steps)
    energies = np.array([image.get_potential_energy() for image in band])
    top = int(np.argmax(energies))
    if top in (0, images - 1):
        raise ValueError(
            "the energy between the two structures is nowhere above both: relax them "
            "first, or give structures with a barrier in between"
        )
    return Guess(
        atoms=bare(band[top]),
        direction=band[top + 1].positions - band[top - 1].positions,
        band=tuple(bare(image) for image in band),
        energies=energies,
    )
