"""Lint labeled files: find errors that would silently degrade a training run."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.checks.duplicates import check_duplicates
from equipot.data.checks.energy_checks import check_energies
from equipot.data.checks.facts import Facts, gather_facts
from equipot.data.checks.findings import (
    DataReport,
    FileSummary,
    Finding,
    counted,
    first_sources,
    sort_findings,
)
from equipot.data.checks.force_checks import check_forces, check_stress_values
from equipot.data.checks.label_checks import check_labels, check_stated_units
from equipot.data.checks.presence import check_presence
from equipot.data.dataset import free_atom_energies
from equipot.data.pairs import overall_minimum, parse_pair
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import (
    available_keys,
    iterate_sources,
    parse_structure,
)
from equipot.data.structure import Structure
from equipot.data.total_energies import check_binding
from equipot.units import GPA_PER_EV_PER_A3

ERROR_DISTANCE_RATIO = 0.35
"""Distance over the sum of covalent radii below which two atoms are an error."""
WARNING_DISTANCE_RATIO = 0.55
"""Distance over the sum of covalent radii below which two atoms are a warning."""


def examine(
    paths: Sequence[Path | str],
    keys: KeysConfig | None = None,
    *,
    units: UnitsConfig | None = None,
    pooled: bool = False,
    progress: Callable[[str], None] | None = None,
) -> DataReport:
    """Lint files with labeled structures.

    Content that cannot be read is reported as a finding, not raised.

    Args:
        paths: Files in any format supported by ASE, except pickles.
        keys: Names of the labels.
        units: Units of the files (default: eV and Å).
        pooled: The files are parts of one data set, so a structure that occurs in two
            files is not reported as leakage.
        progress: Called with a message before each step.

    Returns:
        Summary of each file, shortest distances, and findings.

    Raises:
        ValueError: If a file is listed twice.
    """
    if len({Path(p).resolve() for p in paths}) < len(paths):
        raise ValueError("a file is listed twice; its structures would be duplicates")
    keys, units = keys or KeysConfig(), units or UnitsConfig()
    report_progress = progress or (lambda _: None)
    available: Counter[str] = Counter()
    findings: list[Finding] = []
    files: list[list[Structure]] = []
    facts: list[Facts] = []
    for n, path in enumerate(paths):
        report_progress(f"reading {path}")
        structures, unreadable = _read(Path(path), keys, units, available)
        findings.extend(unreadable)
        files.append(structures)
        facts.extend(gather_facts(s, n) for s in structures if not s.isolated)
    isolated = [s for group in files for s in group if s.isolated]
    free = [f for f in facts if f.free]
    facts = [f for f in facts if not (f.free and f.num_atoms == 1)]
    references = _read_references(isolated, free, findings)
    findings.extend(_check_isolated(references, len(isolated), facts))
    if facts:
        report_progress("comparing labels and structures")
        findings.extend(check_presence(facts, keys, available))
        findings.extend(check_energies(facts, references))
        findings.extend(check_binding(facts, references))
        findings.extend(check_forces(facts))
        findings.extend(check_stress_values(facts))
        findings.extend(_check_distances(facts))
        findings.extend(check_duplicates(facts, pooled=pooled))
        report_progress("fitting a pair potential to the forces")
        found = list(check_labels(facts, keys))
        findings.extend([*found, *check_stated_units(found, units)])
    return DataReport(
        files=tuple(
            _summary(str(path), files[n], [f for f in facts if f.file == n])
            for n, path in enumerate(paths)
        ),
        minimum_distances=overall_minimum(f.minimum_distances for f in facts),
        findings=sort_findings(findings),
        units=units.stated,
    )


def _read(
    path: Path, keys: KeysConfig, units: UnitsConfig, available: Counter[str]
) -> tuple[list[Structure], list[Finding]]:
    """Structures of a file, and one finding that covers all unusable frames."""
    structures: list[Structure] = []
    errors: list[DataError] = []
    frames = iterate_sources(path)
    while True:
        try:
            frame = next(frames, None)
        except DataError as error:
            errors.append(error)
            break
        if frame is None:
            break
        atoms, source = frame
        try:
            structure = parse_structure(atoms, keys, source, units)
        except DataError as error:
            errors.append(error)
        else:
            if not structure.ignored:
                structures.append(structure)
        available.update(available_keys(atoms))
    if not errors:
        return structures, []
    more = "" if len(errors) == 1 else f"; {len(errors)} frames are unusable"
    sources = [str(e).split(": ")[0] for e in errors[1:]]
    return structures, [
        Finding("error", "reading", f"{errors[0]}{more}", first_sources(sources))
    ]


def _read_references(
    isolated: Sequence[Structure], free: Sequence[Facts], findings: list[Finding]
) -> dict[int, float]:
    """Reference energies of isolated atoms; contradictions are findings."""
    apart = [f.structure for f in free]
    single = [s for s in apart if len(s.atoms) == 1]
    if single:
        findings.append(
            Finding(
                "info",
                "references",
                f"{counted(len(single), 'single atom')} without neighbors, not marked "
                "as IsolatedAtom, set reference energies and are not used for training",
                first_sources([s.source for s in single]),
            )
        )
    try:
        return free_atom_energies(isolated, apart)
    except DataError as error:
        findings.append(Finding("error", "references", str(error)))
        return {}


def _check_isolated(
    references: Mapping[int, float], rows: int, facts: Sequence[Facts]
) -> Iterator[Finding]:
    present = {z for f in facts for z in f.composition}
    missing = sorted(present - set(references))
    if references and missing:
        symbols = ", ".join(chemical_symbols[z] for z in missing)
        kind = "IsolatedAtom rows" if rows else "isolated atoms"
        yield Finding(
            "error",
            "references",
            f"there are {kind}, but none for {symbols}: add them, or set "
            'reference_energies to "least_squares"',
        )


def _check_distances(facts: Sequence[Facts]) -> Iterator[Finding]:
    for severity, low, high, remark in (
        ("error", 0.0, ERROR_DISTANCE_RATIO, "duplicated atom, or lengths not in Å?"),
        ("warning", ERROR_DISTANCE_RATIO, WARNING_DISTANCE_RATIO, "is this intended?"),
    ):
        close = sorted(
            (f for f in facts if low <= f.closeness < high), key=lambda f: f.closeness
        )
        if close:
            pair = min(close[0].minimum_distances.items(), key=lambda p: _fraction(*p))
            yield Finding(
                "error" if severity == "error" else "warning",
                "distances",
                f"atoms of {counted(len(close), 'structure')} are very close (down to "
                f"{pair[0]} {pair[1]:.3g} Å): {remark}",
                first_sources([f.source for f in close]),
            )


def _fraction(pair: str, distance: float) -> float:
    return distance / sum(covalent_radii[z] for z in parse_pair(pair))


def _summary(
    path: str, structures: Sequence[Structure], facts: Sequence[Facts]
) -> FileSummary:
    sizes = [f.num_atoms for f in facts] or [0]
    per_atom = [f.energy / f.num_atoms for f in facts if np.isfinite(f.energy)]
    forces = [f.forces for f in facts if np.isfinite(f.forces).all()]
    joined = np.concatenate(forces) if forces else np.zeros((0, 3))
    stress = [f.stress for f in facts if np.isfinite(f.stress).all()]
    pressure = [-float(np.trace(s)) / 3 * GPA_PER_EV_PER_A3 for s in stress]
    elements = sorted({z for f in facts for z in f.composition})
    return FileSummary(
        path=path,
        structures=len(facts),
        isolated=sum(s.isolated for s in structures),
        atoms=(min(sizes), max(sizes)),
        elements=tuple(chemical_symbols[z] for z in elements),
        labels={
            name: sum(name in f.structure.has for f in facts)
            for name in ("energy", "forces", "stress")
        },
        energy_per_atom=(min(per_atom), max(per_atom)) if per_atom else None,
        force_rms=float(np.sqrt((joined**2).mean())) if len(joined) else None,
        force_max=float(np.linalg.norm(joined, axis=1).max()) if len(joined) else None,
        pressure=(min(pressure), max(pressure)) if pressure else None,
        config_types=dict(Counter(f.structure.config_type for f in facts)),
    )
