"""Compare neighbor searches with each other in random, extreme cells.

Cells are skewed, flat, thin, left-handed or cubic, repeat along any of their vectors,
hold a few atoms inside or far outside of them, some in one place, and are searched with
radii from a tenth to three times their size. Pairs within 1e-9 Å of the radius, which
rounding decides, do not count. The exit status is 1 if any two searches differ.

    python scripts/compare_neighbor_searches.py --cases 20000
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from equipot.neighbors import neighbor_list
from equipot.storage.atomic_file import write_json

MARGIN = 1e-9
MOST_IMAGES = 60_000
"""Largest number of periodic images within the radius, the cost of brute force."""
SEARCHES = ("auto", "cells", "brute_force")

Case = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def random_cell(rng: np.random.Generator) -> np.ndarray:
    """Random lattice vectors of various shapes, of about 1 to 10 Å."""
    cell = np.diag(rng.uniform(1.0, 10.0, 3))
    shape = rng.integers(6)
    if shape == 1:
        cell += rng.normal(0, 2, (3, 3))
    elif shape == 2:
        cell[rng.integers(3)] *= rng.uniform(0.02, 0.3)
    elif shape == 3:
        i, j = rng.permutation(3)[:2]
        cell[i] += rng.integers(-8, 9) * cell[j]
    elif shape == 4:
        cell = cell[rng.permutation(3)] * rng.choice([-1, 1], (3, 1))
    elif shape == 5:
        cell[2] = cell[0] + cell[1] + rng.normal(0, 0.3, 3)
    return cell


def random_case(rng: np.random.Generator) -> Case:
    """Positions, cell, periodicity and radius."""
    while True:
        cell = random_cell(rng)
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        pbc = rng.random(3) < 0.7
        count = int(rng.integers(1, 13))
        cutoff = float(rng.uniform(0.1, 3.0) * np.cbrt(abs(np.linalg.det(cell))))
        images = np.prod(np.where(pbc, 2 * cutoff / heights + 2, 1))
        if heights.min() > 1e-3 and count**2 * images < MOST_IMAGES:
            break
    fractions = rng.random((count, 3))
    if rng.random() < 0.3:
        fractions += rng.integers(-30, 31, (count, 3))
    if rng.random() < 0.2:
        fractions[-1] = fractions[0] + rng.integers(-1, 2, 3)
    if rng.random() < 0.2:
        fractions = np.round(fractions * 4) / 4
    if rng.random() < 0.1:
        cell[~pbc] = 0 if rng.random() < 0.5 else 1e-3 * cell[~pbc]
        return fractions @ random_cell(rng), cell, pbc, cutoff
    return fractions @ cell, cell, pbc, cutoff


def pairs(case: Case, search: str) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """All pairs found by a search, and those not within rounding of the radius."""
    positions, cell, pbc, cutoff = case
    found = neighbor_list(positions, cell, pbc, cutoff, backend=search)
    vectors = positions[found.index[0]] - positions[found.index[1]]
    vectors += found.shift @ cell
    rows = np.column_stack([found.index.T, found.shift])
    margin = MARGIN + 1e-14 * np.abs(positions).max()
    certain = np.linalg.norm(vectors, axis=1) < cutoff - margin
    if len({tuple(row) for row in rows.tolist()}) != len(rows):
        raise AssertionError(f"{search} lists a pair twice")
    return set(map(tuple, rows.tolist())), set(map(tuple, rows[certain].tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    start = time.perf_counter()
    compared, differing, most = 0, Counter(), 0
    for _ in track(range(arguments.cases), description="comparing"):
        case = random_case(rng)
        found = {search: pairs(case, search) for search in SEARCHES}
        compared += len(found["brute_force"][0])
        most = max(most, len(found["brute_force"][0]))
        for search in SEARCHES[:2]:
            surely = found[search][1] - found["brute_force"][0]
            missing = found["brute_force"][1] - found[search][0]
            if surely or missing:
                differing[search] += 1
                Console().print(f"{search} differs in {case}")
    record = {
        "cases": arguments.cases,
        "seed": arguments.seed,
        "pairs": compared,
        "most_pairs_of_a_case": most,
        "cases_that_differ": {search: differing[search] for search in SEARCHES[:2]},
        "seconds": round(time.perf_counter() - start, 1),
    }
    Console().print(record)
    if arguments.json:
        write_json(arguments.json, record)
    raise SystemExit(bool(differing))


if __name__ == "__main__":
    main()
