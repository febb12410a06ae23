"""Forces and stress that are zero, out of balance, or very large."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, some
from equipot.data.checks.near_frames import group_frames

NET_FORCE = 1e-3
"""Net force in eV/Å per atom above which it bounds the accuracy that can be reached."""
TORQUE = 1e-2
"""Torque of a molecule, as a fraction of the sum of its parts, that is too large."""
FEWEST_FRAMES = 6
"""Frames with the same atoms that tell atoms that were held fixed."""
SPOILT = 0.1
"""Share of structures with forces set to zero above which they are no exceptions."""
FORCE = 50.0
"""Force in eV/Å that is rarely meant."""


def check_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about forces: zero, unbalanced, twisting, very large.

    Args:
        facts: Structures of all files.

    Yields:
        The findings.
    """
    labeled = [f for f in facts if f.num_atoms > 1 and np.isfinite(f.forces).all()]
    if not labeled:
        return
    yield from _zero_forces(labeled)
    yield from _net_forces(labeled)
    yield from _torques([f for f in labeled if not f.structure.atoms.pbc.any()])
    yield from _large_forces(labeled)


def _net_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    net = np.array([np.linalg.norm(f.forces.sum(axis=0)) / f.num_atoms for f in facts])
    rms = np.sqrt((np.concatenate([f.forces for f in facts]) ** 2).mean())
    bad = np.flatnonzero(net > NET_FORCE)
    if len(bad):
        yield Finding(
            "error" if np.median(net) > 0.1 * rms else "warning",
            "net-force",
            f"the forces of {counted(len(bad), 'structure')} do not add up to zero: up "
            f"to {net.max() * 1e3:.3g} meV/Å per atom, an error that no fit can undo",
            some([facts[n].source for n in bad[np.argsort(-net[bad])]]),
        )


def _torques(facts: Sequence[Facts]) -> Iterator[Finding]:
    twisted = [f for f in facts if _torque(f) > TORQUE]
    if twisted:
        yield Finding(
            "warning",
            "torque",
            f"the forces of {counted(len(twisted), 'molecule')} exert a torque (up to "
            f"{max(map(_torque, twisted)):.1%} of its parts): was a molecule turned "
            "without its forces, or is there an external field?",
            some([f.source for f in twisted]),
        )


def _large_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    large = np.array([np.linalg.norm(f.forces, axis=1).max() for f in facts])
    bad = np.flatnonzero(large > FORCE)
    if len(bad):
        yield Finding(
            "warning",
            "outliers",
            f"forces of up to {large.max():.3g} eV/Å in "
            f"{counted(len(bad), 'structure')}: they weigh heavily in a squared loss",
            some([facts[n].source for n in bad[np.argsort(-large[bad])]]),
        )


def check_stress_values(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about stress that is zero everywhere.

    Args:
        facts: Structures of all files.

    Yields:
        An error if it is.
    """
    labeled = [f for f in facts if np.isfinite(f.stress).all()]
    zero = [f for f in labeled if not f.stress.any()]
    if zero and len(zero) == len(labeled):
        yield Finding("error", "constant", "all stress labels are zero: placeholders?")
    elif zero:
        yield Finding(
            "warning",
            "constant",
            f"{len(zero)} of {len(labeled)} stress labels are exactly zero: "
            "placeholders?",
            some([f.source for f in zero]),
        )


def _zero_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    entirely = [f for f in facts if not f.forces.any() and f.unexplained_zeros]
    partly = [f for f in facts if f.forces.any() and f.unexplained_zeros]
    if entirely:
        yield Finding(
            "error",
            "zero-forces",
            f"all forces of {counted(len(entirely), 'structure')} are exactly zero, "
            "and no symmetry makes them vanish: placeholders? leave the label out "
            "instead",
            some([f.source for f in entirely]),
        )
    held = [] if partly else always_zero(facts)
    if held:
        yield Finding(
            "error",
            "zero-forces",
            f"the same atoms have a force of exactly zero in each of {len(held)} "
            "frames, although their surroundings change: were they held fixed? Their "
            "true forces are needed (write nan where they are not known)",
            some([f.source for f in held]),
        )
    if partly:
        count = sum(f.unexplained_zeros for f in partly)
        many = len(partly) > 2 and len(partly) > SPOILT * len(facts)
        yield Finding(
            "error" if many else "warning",
            "zero-forces",
            f"{counted(count, 'atom')} in {counted(len(partly), 'structure')} with a "
            "force of exactly zero that no symmetry explains: were they held fixed? "
            "Their true forces are needed (write nan where they are not known)",
            some([f.source for f in partly]),
        )


def always_zero(facts: Sequence[Facts]) -> list[Facts]:
    """Frames with atoms whose force is exactly zero in every frame of their kind.

    Where frames differ, as those of dynamics do, no symmetry does that.

    Args:
        facts: Structures of all files.

    Returns:
        Those frames; none of kinds with fewer than `FEWEST_FRAMES`.
    """
    found: list[Facts] = []
    for group in group_frames(facts):
        frames = [facts[n] for n in group]
        forces = np.array([f.forces for f in frames])
        if len(frames) < FEWEST_FRAMES or not np.isfinite(forces).all():
            continue
        moving = [f for f in frames if f.forces.any()]
        if len(moving) < FEWEST_FRAMES:
            continue
        zero = np.array([(f.forces == 0).all(axis=1) for f in moving]).all(axis=0)
        distances = np.array([f.nearest for f in moving])[:, zero]
        if zero.any() and (distances.max(axis=0) > 1.001 * distances.min(axis=0)).any():
            found.extend(moving)
    return found


def _torque(f: Facts) -> float:
    """Torque of all forces as a fraction of the sum of its parts."""
    arms = f.structure.atoms.positions - f.structure.atoms.positions.mean(axis=0)
    parts = np.cross(arms, f.forces - f.forces.mean(axis=0))
    total = np.linalg.norm(parts, axis=1).sum()
    return float(np.linalg.norm(parts.sum(axis=0)) / total) if total > 1e-3 else 0.0
