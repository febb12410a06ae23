"""Forces and stress that are zero, unbalanced, or very large."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, first_sources
from equipot.data.checks.near_frames import group_frames

MAX_NET_FORCE = 1e-3
"""Net force in eV/Å per atom above which it limits the achievable accuracy."""
MAX_RELATIVE_TORQUE = 1e-2
"""Maximum torque of a molecule relative to the sum of its contributions."""
MIN_FRAMES = 6
"""Minimum number of frames with the same atoms to detect constrained atoms."""
MAX_ZEROED_FRACTION = 0.1
"""Fraction of structures with zeroed forces above which an error is reported."""
LARGE_FORCE = 50.0
"""Unusually large force in eV/Å."""


def check_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about zero, unbalanced and very large forces, and torques.

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
    bad = np.flatnonzero(net > MAX_NET_FORCE)
    if len(bad):
        yield Finding(
            "error" if np.median(net) > 0.1 * rms else "warning",
            "net-force",
            f"the forces of {counted(len(bad), 'structure')} do not sum to zero: up "
            f"to {net.max() * 1e3:.3g} meV/Å per atom, which no potential can fit",
            first_sources([facts[n].source for n in bad[np.argsort(-net[bad])]]),
        )


def _torques(facts: Sequence[Facts]) -> Iterator[Finding]:
    twisted = [f for f in facts if _torque(f) > MAX_RELATIVE_TORQUE]
    if twisted:
        yield Finding(
            "warning",
            "torque",
            f"the forces of {counted(len(twisted), 'molecule')} exert a torque (up to "
            f"{max(map(_torque, twisted)):.1%} of its contributions): was a molecule "
            "rotated without its forces, or is there an external field?",
            first_sources([f.source for f in twisted]),
        )


def _large_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    large = np.array([np.linalg.norm(f.forces, axis=1).max() for f in facts])
    bad = np.flatnonzero(large > LARGE_FORCE)
    if len(bad):
        yield Finding(
            "warning",
            "outliers",
            f"forces of up to {large.max():.3g} eV/Å in "
            f"{counted(len(bad), 'structure')}: they dominate a squared loss",
            first_sources([facts[n].source for n in bad[np.argsort(-large[bad])]]),
        )


def check_stress_values(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about stress labels that are zero.

    Args:
        facts: Structures of all files.

    Yields:
        An error if all are zero, a warning if some are.
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
            first_sources([f.source for f in zero]),
        )


def _zero_forces(facts: Sequence[Facts]) -> Iterator[Finding]:
    entirely = [f for f in facts if not f.forces.any() and f.unexplained_zeros]
    partly = [f for f in facts if f.forces.any() and f.unexplained_zeros]
    if entirely:
        yield Finding(
            "error",
            "zero-forces",
            f"all forces of {counted(len(entirely), 'structure')} are exactly zero, "
            "and no symmetry requires it: placeholders? leave the label out "
            "instead",
            first_sources([f.source for f in entirely]),
        )
    held = [] if partly else always_zero(facts)
    if held:
        yield Finding(
            "error",
            "zero-forces",
            f"the same atoms have a force of exactly zero in each of {len(held)} "
            "frames, although their environment changes: were they constrained? Their "
            "true forces are needed (write nan where they are unknown)",
            first_sources([f.source for f in held]),
        )
    if partly:
        count = sum(f.unexplained_zeros for f in partly)
        many = len(partly) > 2 and len(partly) > MAX_ZEROED_FRACTION * len(facts)
        yield Finding(
            "error" if many else "warning",
            "zero-forces",
            f"{counted(count, 'atom')} in {counted(len(partly), 'structure')} with a "
            "force of exactly zero that no symmetry requires: were they constrained? "
            "Their true forces are needed (write nan where they are unknown)",
            first_sources([f.source for f in partly]),
        )


def always_zero(facts: Sequence[Facts]) -> list[Facts]:
    """Frames with atoms whose force is zero in all frames with the same atoms.

    Symmetry cannot explain this if the frames differ, as in a trajectory.

    Args:
        facts: Structures of all files.

    Returns:
        Those frames; groups with fewer than `MIN_FRAMES` frames are skipped.
    """
    found: list[Facts] = []
    for group in group_frames(facts):
        frames = [facts[n] for n in group]
        forces = np.array([f.forces for f in frames])
        if len(frames) < MIN_FRAMES or not np.isfinite(forces).all():
            continue
        moving = [f for f in frames if f.forces.any()]
        if len(moving) < MIN_FRAMES:
            continue
        zero = np.array([(f.forces == 0).all(axis=1) for f in moving]).all(axis=0)
        distances = np.array([f.nearest for f in moving])[:, zero]
        if zero.any() and (distances.max(axis=0) > 1.001 * distances.min(axis=0)).any():
            found.extend(moving)
    return found


def _torque(f: Facts) -> float:
    """Magnitude of the total torque over the sum of the magnitudes per atom."""
    arms = f.structure.atoms.positions - f.structure.atoms.positions.mean(axis=0)
    parts = np.cross(arms, f.forces - f.forces.mean(axis=0))
    total = np.linalg.norm(parts, axis=1).sum()
    return float(np.linalg.norm(parts.sum(axis=0)) / total) if total > 1e-3 else 0.0
