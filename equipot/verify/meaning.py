"""What each check is, in a sentence for those who read its result."""

from typing import Final

MEANING: Final[dict[str, str]] = {
    "translation": "Moved as a whole; nothing may change.",
    "a place far away": "Moved by hundreds of Å; nothing may change.",
    "rotation": "Turned as a whole; the energy stays, forces and stress turn along.",
    "mirror images": "Inverted and turned; the energy stays, forces follow.",
    "numbering of atoms": "The same atoms in another order.",
    "periodic images": "Atoms replaced by their images in other cells.",
    "choice of cell": "The same lattice in other vectors.",
    "left-handed cell": "Two vectors of the cell exchanged, or one of them reversed: "
    "the same lattice with a negative determinant.",
    "two copies": "A supercell of two cells, or two molecules far apart: twice the "
    "energy, the same forces and stress. Energies are size extensive.",
    "many copies": "A supercell of more than a hundred atoms, one of them with 20,000 "
    "edges; cells that see their own images against cells that do not; many molecules "
    "far apart.",
    "a box with vacuum": "Free directions made periodic in all ways, through vacuum: "
    "clusters, wires and slabs.",
    "company in a batch": "Among other structures, and a free atom, in one batch.",
    "longer pairs in the graph": "Padding: pairs beyond the cutoff and free atoms in "
    "the batch, which must not matter.",
    "differences of its energy": "Forces and stress against finite differences of the "
    "energy, by moving atoms and by straining the cell.",
    "differences of its forces": "Products of the Hessian with vectors against finite "
    "differences of the forces.",
    "energy along a path": "Work of the forces along a path on which pairs enter and "
    "leave the cutoff, against the loss of energy.",
    "energy along an expansion": "Work of the stress while a crowded crystal expands "
    "and atoms lose most of their neighbors, against the energy.",
    "its transpose": "The derivative of the forces is symmetric: forces have no curl.",
    "other outputs asked for": "Energy, forces, stress and features, asked for alone "
    "and with others, detached and differentiable.",
    "the sum over its atoms": "The energy is that of its atoms.",
    "its products with vectors": "The Hessian that is asked for, and derivatives of "
    "the forces.",
    "its limits inside of the cutoff": "Jumps of force and curvature anywhere, where "
    "pairs, triples and whole structures move along lines.",
    "dt^2 law of dynamics": "Error of the total energy in a short NVE trajectory: it "
    "falls with the square of the time step.",
    "the other side of the cutoff": "Jumps of energy, force and curvature where an "
    "atom enters the reach of another that has a neighbor already.",
    "its atoms apart": "Two atoms beyond the cutoff have the energy of free atoms.",
    "stated energy of free atoms": "The dissociation limit is what the model says.",
    "short bonds": "No pair of elements gains energy by coming closer than a bond.",
    "short bonds of clusters": "Nor does a cluster.",
    "the strongest bonds": "Pairs neither pull more, nor are long bonds stiffer, than "
    "those of any two atoms: a hole is steep.",
    "known binding": "Triples and clusters at the edge of the domain "
    "are not bound more strongly than training structures and pairs.",
    "another search": "Neighbors found by vesin and by a search of our own.",
    "the same call again": "Determinism: the same input twice.",
    "many calls": "The same cheap call, hundreds of times.",
    "float64": "In single precision, as it may be used, and in double.",
    "clebsch_gordan": "The reference backend.",
}
"""By what a check was made against."""
