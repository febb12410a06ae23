"""Frames with different zeros of energy: functional, charge or spin mixed."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, some
from equipot.data.checks.work import Work, residual

MIN_FRAMES = 20
"""Steps between near frames that a verdict needs."""
MIN_GAP_RATIO = 2.5
"""Factor between two residuals with next to nothing in between."""
MAX_FRACTION_BETWEEN = 0.03
"""Share of the steps that may be in between."""
MIN_SHIFT_EV = 0.08
"""Share of the steps that must be above."""
MIN_SPREAD_EV = 5e-3
"""Shift in eV that is looked for."""
LONGEST_STEP = 1.2
"""Length in Å of steps that the forces explain."""
LONGER = 1.3
"""Factor by which steps with the shift may be longer than the others."""
ALIKE = 0.2
"""Relative spread of the residuals of steps with the shift."""


def check_mixed_levels(work: Work, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about frames whose energies are shifted by a constant.

    Args:
        work: Of steps between near frames.
        facts: Frames that the steps are between.

    Yields:
        An error if what the forces leave of the differences of energy is either small
        or one constant; else what is undecided.
    """
    near = work.size < LONGEST_STEP
    left, length = residual(work)[near], work.size[near]
    start, end = work.start[near], work.end[near]
    atoms = np.array([facts[n].num_atoms for n in start])
    for size, unit in ((np.ones(len(left)), "eV"), (atoms, "eV per atom")):
        per_size = left / size
        shift = _shift(np.sort(np.abs(per_size)))
        if shift is None:
            continue
        # Longer steps leave more unexplained: the shifted ones may not be the longer
        odd = np.abs(per_size) > shift / 2
        if np.median(length[odd]) > LONGER * np.median(length[~odd]):
            continue
        frames = _odd_frames(start, end, per_size, shift, len(facts))
        yield Finding(
            "error",
            "energies",
            f"the energies of about {len(frames)} of {len(facts)} frames are shifted "
            f"by {shift:.3g} {unit} relative to similar frames, in contradiction to "
            "the forces: functional, charge, spin or settings are mixed",
            some([facts[n].source for n in frames]),
        )
        return
    if len(left) < MIN_FRAMES:
        why = "too few frames are similar to each other"
    else:
        bound = float(np.quantile(np.abs(left), 0.9))
        why = (
            f"energy differences of similar frames deviate by up to {bound:.2g} eV "
            "from the work of the forces"
        )
    yield Finding(
        "info",
        "zero-of-energy",
        f"smaller shifts of the zero of energy would not be detected: {why}",
    )


def _shift(sizes: np.ndarray) -> float | None:
    """The constant, if sizes (ascending) are either small or about equal to it."""
    total = len(sizes)
    if total < MIN_FRAMES:
        return None
    for n in range(total // 5, int(total * (1 - MIN_SHIFT_EV)) + 1):
        low = sizes[n - 1]
        end = int(np.searchsorted(sizes, MIN_GAP_RATIO * low + 1e-9))
        above = sizes[end:]
        if end - n > MAX_FRACTION_BETWEEN * total or len(above) < MIN_SHIFT_EV * total:
            continue
        middle = float(np.median(above))
        spread = float(np.median(np.abs(above - middle)))
        if middle > MIN_SPREAD_EV and spread < ALIKE * middle and middle > 3 * low:
            return middle
    return None


def _odd_frames(
    start: np.ndarray, end: np.ndarray, left: np.ndarray, shift: float, number: int
) -> list[int]:
    """Frames of the rarer kind, followed along the steps."""
    kind = np.zeros(number)
    edges: list[list[tuple[int, float]]] = [[] for _ in range(number)]
    for a, b, r in zip(start.tolist(), end.tolist(), left.tolist(), strict=True):
        jump = 0.0 if abs(r) < shift / 2 else float(np.sign(r))
        edges[a].append((b, jump))
        edges[b].append((a, -jump))
    seen = np.zeros(number, dtype=bool)
    for root in range(number):
        waiting = [] if seen[root] or not edges[root] else [root]
        seen[root] = True
        component = list(waiting)
        while waiting:
            a = waiting.pop()
            for b, jump in edges[a]:
                if not seen[b]:
                    seen[b] = True
                    kind[b] = kind[a] + jump
                    waiting.append(b)
                    component.append(b)
        if component:
            values, counts = np.unique(np.round(kind[component]), return_counts=True)
            kind[component] -= values[np.argmax(counts)]
    return np.flatnonzero(np.abs(kind) > 0.5).tolist()
