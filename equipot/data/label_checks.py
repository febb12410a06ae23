"""Checks of the labels one by one: present, constant, zero, balanced, plausible."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from equipot.config.data import KeysConfig
from equipot.data.facts import Facts
from equipot.data.findings import Finding, some
from equipot.data.references import composition_matrix, fit_reference_energies

LOOKS_LIKE = {
    "energy": ("energ", "toten", "e_tot"),
    "forces": ("forc", "grad"),
    "stress": ("stress", "virial"),
}
NET_FORCE = 1e-3
"""Net force in eV/Å per atom above which it bounds the accuracy that can be reached."""
TORQUE = 1e-2
"""Torque of a molecule, as a fraction of the sum of its parts, that is too large."""
FORCE = 50.0
"""Force in eV/Å that is rarely meant."""
ENERGY_SPREADS = 20.0
"""Spreads from the median at which an energy per atom is an outlier."""


def check_presence(
    facts: Sequence[Facts], keys: KeysConfig, available: Counter[str]
) -> Iterator[Finding]:
    """Findings about labels that are absent, rare, or there under another name.

    Args:
        facts: Structures of all files.
        keys: Names of the labels.
        available: Names in the files and how many frames have them.

    Yields:
        Errors for names that are not in the files, for labels under another name.
    """
    used = {keys.energy, keys.forces, keys.stress, keys.virials, keys.config_type}
    for label, key in keys.named.items():
        if key not in available:
            yield Finding(
                "error",
                "keys",
                f"no frame has {label} under {key!r}; there are {_names(available)}",
            )
    for label in ("energy", "forces", "stress"):
        count = sum(label in f.structure.has for f in facts)
        others = [k for k in available if k not in used and _looks_like(k, label)]
        key = getattr(keys, label)
        if count == 0 and others:
            yield Finding(
                "warning" if label == "stress" else "error",
                "keys",
                f"no frame has {label} under {key!r}, but there is "
                f"{', '.join(others)}: say --{label}-key {others[0]}",
            )
        elif count == 0 and label != "stress":
            yield Finding("warning", "labels", f"there are no {label} labels")
        elif 0 < count < len(facts):
            bare = [f.source for f in facts if label not in f.structure.has]
            yield Finding(
                "warning",
                "labels",
                f"{label} labels on {count} of {len(facts)} structures; they are "
                "missing elsewhere",
                some(bare),
            )
    if not any(f.structure.has for f in facts):
        yield Finding("error", "labels", f"no label at all; keys: {_names(available)}")
    unused = sorted(k for k in available if k not in used)
    if unused:
        yield Finding(
            "info", "keys", f"present, but not used: {', '.join(unused[:20])}"
        )


def check_energies(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about energies: constant, of low precision, outlying, undetermined.

    Args:
        facts: Structures of all files.

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
    references = fit_reference_energies(counts, energy, elements)
    for text in references.warnings:
        yield Finding("info", "references", text)
    offset = counts @ np.array([references.energies[z] for z in elements])
    yield from _energy_outliers(labeled, (energy - offset) / size)


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
    net = np.array(
        [np.linalg.norm(f.forces.sum(axis=0)) / f.num_atoms for f in labeled]
    )
    rms = np.sqrt(np.concatenate([f.forces for f in labeled]) ** 2).mean() + 1e-300
    bad = np.flatnonzero(net > NET_FORCE)
    if len(bad):
        yield Finding(
            "error" if np.median(net) > 0.1 * rms else "warning",
            "net-force",
            f"the forces of {len(bad)} structures do not add up to zero: up to "
            f"{net.max() * 1e3:.3g} meV/Å per atom, an error that no fit can undo",
            some([labeled[n].source for n in bad[np.argsort(-net[bad])]]),
        )
    twisted = [
        f for f in labeled if not f.structure.atoms.pbc.any() and _torque(f) > TORQUE
    ]
    if twisted:
        yield Finding(
            "warning",
            "torque",
            f"the forces of {len(twisted)} molecules exert a torque (up to "
            f"{max(map(_torque, twisted)):.1%} of its parts): was a molecule turned "
            "without its forces, or is there an external field?",
            some([f.source for f in twisted]),
        )
    large = np.array([np.linalg.norm(f.forces, axis=1).max() for f in labeled])
    if large.max() > FORCE:
        bad = np.flatnonzero(large > FORCE)
        yield Finding(
            "warning",
            "outliers",
            f"forces of up to {large.max():.3g} eV/Å in {len(bad)} structures; they "
            "weigh heavily in a squared loss",
            some([labeled[n].source for n in bad[np.argsort(-large[bad])]]),
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
            f"all forces of {len(entirely)} structures are exactly zero, and no "
            "symmetry makes them vanish: placeholders? leave the label out instead",
            some([f.source for f in entirely]),
        )
    if partly:
        count = sum(f.unexplained_zeros for f in partly)
        yield Finding(
            "warning",
            "zero-forces",
            f"{count} atoms in {len(partly)} structures have a force of exactly zero "
            "that no symmetry explains: were they held fixed? Their true forces are "
            "needed",
            some([f.source for f in partly]),
        )


def _energy_outliers(
    facts: Sequence[Facts], residual: Float[ndarray, " structures"]
) -> Iterator[Finding]:
    distance = np.abs(residual - np.median(residual))
    spread = 1.4826 * float(np.median(distance)) + 1e-3
    bad = np.flatnonzero(distance > ENERGY_SPREADS * spread)
    if len(bad):
        worst = bad[np.argsort(-distance[bad])]
        yield Finding(
            "warning",
            "outliers",
            f"the energies of {len(bad)} structures are far from the others (up to "
            f"{distance[worst[0]]:.3g} eV/atom; the spread is {spread:.2g})",
            some([facts[n].source for n in worst]),
        )


def _torque(f: Facts) -> float:
    """Torque of all forces as a fraction of the sum of its parts."""
    arms = f.structure.atoms.positions - f.structure.atoms.positions.mean(axis=0)
    parts = np.cross(arms, f.forces - f.forces.mean(axis=0))
    total = np.linalg.norm(parts, axis=1).sum()
    return float(np.linalg.norm(parts.sum(axis=0)) / total) if total > 1e-3 else 0.0


def _looks_like(key: str, label: str) -> bool:
    return any(part in key.lower() for part in LOOKS_LIKE[label])


def _names(available: Counter[str]) -> str:
    return ", ".join(sorted(available)[:20]) or "none"
