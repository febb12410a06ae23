"""Frames with shifted energies: mixed functional, charge, spin or settings."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, first_sources
from equipot.data.checks.work import Work, residual

MIN_FRAMES = 20
"""Minimum number of steps between near frames."""
MIN_GAP_RATIO = 2.5
"""Minimum ratio of shifted to normal residuals."""
MAX_FRACTION_BETWEEN = 0.03
"""Maximum fraction of steps with residuals between the two groups."""
MIN_SHIFTED_FRACTION = 0.08
"""Minimum fraction of steps with the shift."""
MIN_SHIFT_EV = 5e-3
"""Minimum shift in eV."""
MAX_STEP_LENGTH = 1.2
"""Maximum length in Å of steps for which the work of the forces is accurate."""
MAX_LENGTH_RATIO = 1.3
"""Maximum ratio of the median length of steps with the shift to that of others."""
MAX_RELATIVE_SPREAD = 0.2
"""Maximum relative spread of the residuals of steps with the shift."""


def check_mixed_levels(work: Work, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about frames whose energies are shifted by a constant.

    Args:
        work: Energies and work of the steps between near frames.
        facts: Frames that the steps connect.

    Yields:
        An error if the energy differences minus the work of the forces are all either
        small or close to one constant; otherwise an info with the detection limit.
    """
    near = work.size < MAX_STEP_LENGTH
    left, length = residual(work)[near], work.size[near]
    start, end = work.start[near], work.end[near]
    atoms = np.array([facts[n].num_atoms for n in start])
    for size, unit in ((np.ones(len(left)), "eV"), (atoms, "eV per atom")):
        per_size = left / size
        shift = _shift(np.sort(np.abs(per_size)))
        if shift is None:
            continue
        # Residuals grow with the step length: steps with the shift must not be longer
        odd = np.abs(per_size) > shift / 2
        if np.median(length[odd]) > MAX_LENGTH_RATIO * np.median(length[~odd]):
            continue
        frames = _shifted_frames(start, end, per_size, shift, len(facts))
        yield Finding(
            "error",
            "energies",
            f"the energies of about {len(frames)} of {len(facts)} frames are shifted "
            f"by {shift:.3g} {unit} relative to near frames, which the forces do not "
            "explain: mixed functional, charge, spin or settings",
            first_sources([facts[n].source for n in frames]),
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
        f"undecided whether energies of some frames are shifted by less: {why}",
    )


def _shift(sizes: np.ndarray) -> float | None:
    """Constant shift, if residuals (ascending) are either small or close to it."""
    total = len(sizes)
    if total < MIN_FRAMES:
        return None
    for n in range(total // 5, int(total * (1 - MIN_SHIFTED_FRACTION)) + 1):
        low = sizes[n - 1]
        end = int(np.searchsorted(sizes, MIN_GAP_RATIO * low + 1e-9))
        above = sizes[end:]
        if (
            end - n > MAX_FRACTION_BETWEEN * total
            or len(above) < MIN_SHIFTED_FRACTION * total
        ):
            continue
        middle = float(np.median(above))
        spread = float(np.median(np.abs(above - middle)))
        if (
            middle > MIN_SHIFT_EV
            and spread < MAX_RELATIVE_SPREAD * middle
            and middle > 3 * low
        ):
            return middle
    return None


def _shifted_frames(
    start: np.ndarray, end: np.ndarray, left: np.ndarray, shift: float, number: int
) -> list[int]:
    """Frames in the minority, found by following the shifts along the steps."""
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
