"""One-sentence explanation of each check, and consequences of failed ones."""

from collections.abc import Iterable
from typing import Final

from equipot.verify.result import Check

MEANING: Final[dict[str, str]] = {
    "translation": "Rigid translation by a few Å: all predictions are unchanged.",
    "large translation": "Rigid translation by 1000 Å: all predictions are unchanged.",
    "rotation": "Rigid rotation: the energy is invariant, forces and stress rotate.",
    "reflection": "Inversion with rotation: the energy is invariant, forces and stress "
    "transform.",
    "permutation": "The same atoms in another order.",
    "periodic images": "Atoms moved by lattice vectors, up to nine cells away.",
    "equivalent unit cell": "The same crystal, described by other lattice vectors.",
    "left-handed cell": "Two lattice vectors exchanged, or one reversed: the same "
    "crystal with a cell of negative determinant.",
    "size extensivity, two copies": "A supercell of two unit cells, or two molecules "
    "100 Å apart: twice the energy, the same forces and stress.",
    "size extensivity, many copies": "Supercells of more than a hundred atoms, one of "
    "them with 20,000 pairs within the cutoff; unit cells smaller than the cutoff; "
    "many molecules far apart.",
    "periodic box with vacuum": "Clusters, wires and slabs in a 3D-periodic cell with "
    "vacuum: the same predictions as without periodicity.",
    "batch independence": "The same structure computed alone, and in a batch with "
    "other structures and an isolated atom.",
    "padding beyond the cutoff": "Pairs listed beyond the cutoff, and isolated atoms "
    "in the batch, have no effect.",
    "forces by finite differences": "Forces compared with finite differences of the "
    "energy.",
    "stress by finite differences": "Stress compared with finite differences of the "
    "energy under strain.",
    "Hessian by finite differences": "Hessian-vector products compared with finite "
    "differences of the forces.",
    "work along a path": "Work of the forces along a path on which pairs cross the "
    "cutoff, compared with the change of the energy.",
    "work along an expansion": "Work of the stress while a compressed crystal expands "
    "and atoms lose most of their neighbors, compared with the change of the energy.",
    "Hessian symmetry": "The Hessian is symmetric: the forces have no curl.",
    "independence of requested outputs": "Energy, forces, stress and features are "
    "the same whether requested alone or together, detached or differentiable.",
    "sum of atomic energies": "The total energy is the sum of the atomic energies.",
    "Hessian-vector products": "The Hessian output compared with derivatives of the "
    "forces.",
    "smoothness inside the cutoff": "Discontinuities of force and curvature along "
    "lines on which pairs, triples and whole structures move.",
    "dt^2 scaling of NVE energy error": "Error of the total energy in a short NVE "
    "trajectory: it must decrease with the square of the time step.",
    "smoothness at the cutoff": "Discontinuities of energy, force and curvature where "
    "an atom crosses the cutoff of another atom, which has a second neighbor.",
    "dissociation limit": "Two atoms farther apart than the cutoff have the energy of "
    "isolated atoms.",
    "isolated-atom energies": "Isolated atoms have the reference energies stored in "
    "the model file.",
    "short-range attraction, pairs": "No pair of atoms gains energy at distances "
    "shorter than a bond (a hole in the potential).",
    "short-range attraction, clusters": "No cluster of 3, 4 or 13 atoms gains energy "
    "when compressed below bond lengths.",
    "bond-strength limits": "Attractive force and stiffness of a pair of atoms do not "
    "exceed those of the strongest known bonds.",
    "overbinding of clusters": "Triples and clusters at the shortest distances of the "
    "domain are not bound much more strongly than training structures and pairs.",
    "neighbor-list cross-check": "Neighbor lists of vesin and of a second algorithm "
    "are identical.",
    "repeatability": "Two calls with the same structure give the same result.",
    "repeatability of many calls": "Hundreds of calls with the same small structure "
    "give the same result.",
    "float32 precision": "Predictions in float32 compared with float64. Energy: of the "
    "network alone; total energy: with reference energies and ZBL repulsion.",
    "frozen evaluation": "Predictions of the compiled program with tabulated radial "
    "functions, which calculators evaluate, compared with the potential itself.",
    "frozen evaluation in float32": "The same in float32.",
    "clebsch_gordan": "Comparison with the reference backend.",
}
"""By name of the check."""

SHORT_RANGE: Final = "distances shorter than bonds"
SMOOTHNESS: Final = "smoothness"
PRECISION: Final = "single precision"
SOUNDNESS: Final = "symmetries, derivatives, limits or repeatability"
KINDS: Final[dict[str, str]] = {
    "short-range attraction, pairs": SHORT_RANGE,
    "short-range attraction, clusters": SHORT_RANGE,
    "bond-strength limits": SHORT_RANGE,
    "overbinding of clusters": SHORT_RANGE,
    "smoothness inside the cutoff": SMOOTHNESS,
    "smoothness at the cutoff": SMOOTHNESS,
    "float32 precision": PRECISION,
    "frozen evaluation in float32": PRECISION,
}
"""What checks are about, by their name; all others are about `SOUNDNESS`."""
ACROSS_JUMPS: Final = (
    "work along a path",
    "work along an expansion",
    "Hessian by finite differences",
)
"""Checks whose numerical integrals and differences are less accurate across declared
discontinuities of the second derivative."""
INACCURACY: Final = 100.0
"""Ratio to the tolerance up to which they explain a failure."""
CONSEQUENCES: Final[dict[str, str]] = {
    SOUNDNESS: "results are wrong: do not use the model before the cause is found",
    PRECISION: "use --dtype float64",
    SMOOTHNESS: "energies and forces can be used; at the distances of the "
    "discontinuities, Hessians, phonons and elastic constants jump, and numerical "
    "integrals of forces are less accurate",
    SHORT_RANGE: "structures near equilibrium are not concerned; atoms that collide, "
    "random structures, and high temperatures or pressures are. With a domain of "
    "validity, calculators and dynamics stop there; without one, nothing does",
}
"""What a failure means for the use of a model, most severe first."""


def consequences(failed: Iterable[Check], *, jumps: bool = False) -> tuple[str, ...]:
    """What failed checks mean for the use of a model, one sentence for each kind.

    Args:
        failed: Failed checks.
        jumps: Whether the architecture declares discontinuous second derivatives.
    """
    by_kind: dict[str, dict[str, None]] = {}
    for check in failed:
        by_kind.setdefault(_kind(check, jumps=jumps), {})[check.name] = None
    return tuple(
        f"failed checks of {kind} ({'; '.join(by_kind[kind])}): {consequence}"
        for kind, consequence in CONSEQUENCES.items()
        if kind in by_kind
    )


def _kind(check: Check, *, jumps: bool) -> str:
    small = check.difference.relative <= INACCURACY * check.difference.tolerance
    if jumps and small and check.name in ACROSS_JUMPS:
        return SMOOTHNESS
    return KINDS.get(check.name, SOUNDNESS)
