"""What each check is, in a sentence for those who read its result."""

from typing import Final

MEANING: Final[dict[str, str]] = {
    "translation": "Moved as a whole; nothing may change.",
    "rotation": "Turned as a whole; the energy stays, forces and stress turn along.",
    "mirror images": "Inverted and turned; the energy stays, forces follow.",
    "numbering of atoms": "The same atoms in another order.",
    "periodic images": "Atoms replaced by their images in other cells.",
    "choice of cell": "The same lattice in other vectors.",
    "two copies": "A supercell of two cells, or two molecules far apart: twice the "
    "energy, the same forces and stress. Energies are size extensive.",
    "company in a batch": "Among other structures, and a free atom, in one batch.",
    "longer pairs in the graph": "Padding: pairs beyond the cutoff and free atoms in "
    "the batch, which must not matter.",
    "differences of its energy": "Forces and stress against finite differences of the "
    "energy, by moving atoms and by straining the cell.",
    "differences of its forces": "Products of the Hessian with vectors against finite "
    "differences of the forces.",
    "energy along a path": "Work of the forces along a path on which pairs enter and "
    "leave the cutoff, against the loss of energy.",
    "its transpose": "The derivative of the forces is symmetric: forces have no curl.",
    "dt^2 law of dynamics": "Error of the total energy in a short NVE trajectory: it "
    "falls with the square of the time step.",
    "the other side of the cutoff": "Jumps of energy, force and curvature where an "
    "atom enters the reach of another that has a neighbor already.",
    "its atoms apart": "Two atoms beyond the cutoff have the energy of free atoms.",
    "stated energy of free atoms": "The dissociation limit is what the model says.",
    "short bonds": "No pair of elements gains energy by coming closer than a bond.",
    "another search": "Neighbors found by vesin and by a search of our own.",
    "the same call again": "Determinism: the same input twice.",
    "float64": "Forces in single precision, as it may be used, and in double.",
    "clebsch_gordan": "The reference backend.",
}
"""By what a check was made against."""
