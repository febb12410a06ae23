"""One-sentence explanation of each check, for tables and reports."""

from typing import Final

MEANING: Final[dict[str, str]] = {
    "translation": "Rigid translation; all predictions are unchanged.",
    "large translation": "Rigid translation by hundreds of Å; all predictions are "
    "unchanged.",
    "rotation": "Rigid rotation; the energy is invariant, forces and stress rotate.",
    "reflection": "Inversion and rotation; the energy is invariant, forces and stress "
    "transform.",
    "permutation": "The same atoms in another order.",
    "periodic images": "Atoms replaced by their images in other cells.",
    "equivalent unit cell": "The same lattice in another basis.",
    "left-handed cell": "Two lattice vectors exchanged, or one reversed: the same "
    "lattice with a negative determinant.",
    "size extensivity, two copies": "A supercell of two cells, or two molecules far "
    "apart: twice the energy, the same forces and stress.",
    "size extensivity, many copies": "A supercell of more than a hundred atoms, one of "
    "them with 20,000 edges; cells smaller than the cutoff against supercells; many "
    "molecules far apart.",
    "periodic box with vacuum": "Non-periodic directions of clusters, wires and slabs "
    "made periodic with vacuum.",
    "batch independence": "The structure alone, and in a batch with other structures "
    "and an isolated atom.",
    "padding beyond the cutoff": "Edges beyond the cutoff and isolated atoms in the "
    "batch have no effect.",
    "forces by finite differences": "Forces against finite differences of the energy.",
    "stress by finite differences": "Stress against finite differences of the energy "
    "in strain.",
    "Hessian by finite differences": "Hessian-vector products against finite "
    "differences of the forces.",
    "work along a path": "Work of the forces along a path on which pairs cross the "
    "cutoff, against the change of energy.",
    "work along an expansion": "Work of the stress while a compressed crystal expands "
    "and atoms lose most of their neighbors, against the change of energy.",
    "Hessian symmetry": "The Hessian is symmetric: the forces have no curl.",
    "independence of requested outputs": "Energy, forces, stress and features, "
    "requested alone and together, detached and differentiable.",
    "sum of atomic energies": "The energy is the sum of the atomic energies.",
    "Hessian-vector products": "The Hessian output against derivatives of the forces.",
    "smoothness inside the cutoff": "Discontinuities of force and curvature where "
    "pairs, triples and whole structures move along lines.",
    "dt^2 scaling of NVE energy error": "Error of the total energy in a short NVE "
    "trajectory: it decreases with the square of the time step.",
    "smoothness at the cutoff": "Discontinuities of energy, force and curvature where "
    "an atom crosses the cutoff of another that has a neighbor already.",
    "dissociation limit": "Two atoms beyond the cutoff have the energy of isolated "
    "atoms.",
    "isolated-atom energies": "Isolated atoms have their reference energies.",
    "short-range attraction, pairs": "Spurious attraction (a hole): no pair of "
    "elements gains energy at distances shorter than a bond.",
    "short-range attraction, clusters": "The same for clusters.",
    "bond-strength limits": "Attractive force and stiffness of pairs do not exceed "
    "those of the strongest known bonds.",
    "overbinding of clusters": "Triples and clusters at the edge of the domain are not "
    "bound more strongly than training structures and pairs.",
    "neighbor-list cross-check": "Neighbor lists of vesin and of a second algorithm.",
    "repeatability": "The same input twice gives the same result.",
    "repeatability of many calls": "The same small input hundreds of times.",
    "float32 precision": "Predictions in single and in double precision.",
    "clebsch_gordan": "Comparison with the reference backend.",
}
"""By name of the check."""
