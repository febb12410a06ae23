"""Constant, low-precision and outlying energies; rank of the reference energies."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, first_sources
from equipot.data.references import (
    ReferenceEnergies,
    composition_matrix,
    fit_reference_energies,
)

MAX_SPREADS = 15.0
"""Number of spreads from the median beyond which an energy is an outlier."""


def check_energies(
    facts: Sequence[Facts], isolated: Collection[int] = ()
) -> Iterator[Finding]:
    """Findings about constant, low-precision and outlying energies, and references.

    Args:
        facts: Structures of all files.
        isolated: Atomic numbers with a reference energy of an isolated atom.

    Yields:
        The findings.
    """
    labeled = [f for f in facts if np.isfinite(f.energy)]
    if len(labeled) < 2:
        return
    energy = np.array([f.energy for f in labeled])
    if np.ptp(energy) == 0:
        yield Finding(
            "error",
            "constant",
            f"all energies are {energy[0]} eV: is it a placeholder?",
        )
        return
    size = np.array([f.num_atoms for f in labeled])
    if (energy == energy.astype(np.float32)).all():
        step = float((np.spacing(np.abs(energy).astype(np.float32)) / size).max())
        if step > 1e-5:
            yield Finding(
                "warning" if step > 1e-4 else "info",
                "precision",
                f"energies were rounded to 32 bits: steps of up to {step * 1e3:.2g} "
                "meV/atom that no fit can resolve",
            )
    elements = tuple(sorted({z for f in labeled for z in f.composition}))
    counts = composition_matrix(
        [torch.from_numpy(f.numbers) for f in labeled], elements
    )
    yield _references(fit_reference_energies(counts, energy, elements), isolated)
    yield from _energy_outliers(labeled, _robust_residual(counts, energy))


def _references(fitted: ReferenceEnergies, isolated: Collection[int]) -> Finding:
    """Source of the reference energies, and the rank of the fit to compositions."""
    number = len(fitted.energies)
    if set(isolated) >= set(fitted.energies):
        text = (
            f"isolated atoms define all {number} reference energies; the compositions "
            f"alone would determine {fitted.rank}"
        )
    elif fitted.warnings:
        text = " ".join(fitted.warnings)
    else:
        text = f"the compositions determine all {number} reference energies"
    return Finding("info", "references", text)


def _robust_residual(
    counts: Float[ndarray, "structures elements"], energy: Float[ndarray, " structures"]
) -> Float[ndarray, " structures"]:
    """Energy per atom minus reference energies, refitted without the worst outliers."""
    size = counts.sum(axis=1)
    fractions, per_atom = counts / size[:, None], energy / size
    keep = np.ones(len(energy), dtype=bool)
    for _ in range(2):
        solution = np.linalg.lstsq(fractions[keep], per_atom[keep], rcond=1e-8)[0]
        residual = per_atom - fractions @ solution
        distance = np.abs(residual - np.median(residual))
        keep = distance <= np.quantile(distance, 0.9)
    return residual


def _energy_outliers(
    facts: Sequence[Facts], residual: Float[ndarray, " structures"]
) -> Iterator[Finding]:
    distance = np.abs(residual - np.median(residual))
    spread = 1.4826 * float(np.median(distance)) + 1e-3
    bad = np.flatnonzero(distance > MAX_SPREADS * spread)
    if len(bad):
        worst = bad[np.argsort(-distance[bad])]
        yield Finding(
            "warning",
            "outliers",
            f"the energies of {counted(len(bad), 'structure')} are outliers "
            f"(up to {distance[worst[0]]:.3g} eV/atom; the spread is {spread:.2g})",
            first_sources([facts[n].source for n in worst]),
        )
