"""Training, validation and test sets of a run."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from equipot.config.data import DataConfig
from equipot.data.checks.facts import gather_facts
from equipot.data.checks.label_checks import (
    UNIT_CHECKS,
    check_labels,
    check_stated_units,
)
from equipot.data.labels import WEIGHTED, Example
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import keys_of, read_structures
from equipot.data.structure import Structure
from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import build_graph
from equipot.storage.provenance import file_sha256

ISOLATED_ENERGY_TOLERANCE = 0.02
"""Maximum difference in eV between energies of one isolated atom."""
NUM_STRUCTURES_CHECKED = 300
"""Approximate number of structures used to check units."""
MIN_DISTANCE = 0.05
"""Distance in Å below which two atoms are regarded as duplicates."""


@dataclass(frozen=True)
class Dataset:
    """Structures with labels, split into sets."""

    train: list[Example]
    """Training structures."""
    valid: list[Example]
    """Validation structures; may be empty."""
    test: dict[str, list[Example]]
    """Test structures, by name of the set."""
    isolated: dict[int, float]
    """Energies of isolated atoms in eV by atomic number."""
    hashes: dict[str, str]
    """SHA-256 of every file, by its path in the configuration."""
    warnings: tuple[str, ...] = ()
    """Evidence that labels are not in eV and Å, if no units are stated."""


def load_dataset(
    config: DataConfig,
    cutoff: float,
    seed: int = 0,
    *,
    further_elements: Collection[int] = (),
    progress: Callable[[str], None] | None = None,
) -> Dataset:
    """Read, check and split the files of a configuration.

    Args:
        config: Files, keys and split.
        cutoff: Cutoff radius in Å of the edges.
        seed: Seed of the split if `config.split_seed` is not set.
        further_elements: Atomic numbers that validation and test sets may contain
            besides those of the training set.
        progress: Called with a message before each file.

    Returns:
        The sets, in the order of the files. Isolated atoms are in none of them.

    Raises:
        DataError: If a file cannot be read, has no labels, or lacks a key that the
            configuration names; if a set has an element that the training set lacks.
    """
    validation_files = config.valid if isinstance(config.valid, list) else []
    groups = {"train": config.train, "valid": validation_files}
    files: dict[str, list[Structure]] = {}
    named = [f for g in (*groups.values(), *config.test.values()) for f in g]
    _check_files(named, config)
    for file in named:
        if file not in files:
            if progress is not None:
                progress(f"reading {config.path(file)}")
            hessians = config.hessians.get(file)
            files[file] = read_structures(
                config.path(file),
                config.keys,
                None if hessians is None else config.path(hessians),
                config.units,
            )
            _check_labels(file, files[file], config)
    _check_named_keys([s for structures in files.values() for s in structures], config)
    _check_weights(files, config)
    train = _weighted(_structures(config.train, files), config.weights)
    valid = _weighted(_structures(validation_files, files), config.weights)
    if not isinstance(config.valid, list):
        split_seed = seed if config.split_seed is None else config.split_seed
        train, valid = split(train, config.valid, split_seed)
    warnings = _check_units(train, config)
    test = {name: _structures(names, files) for name, names in config.test.items()}
    _check_elements(train, {"valid": valid, **test}, further_elements)
    if progress is not None:
        progress("finding neighbors")
    learned = [make_example(s, cutoff) for s in train]
    selected = [make_example(s, cutoff) for s in valid]
    apart = [
        s
        for s, e in zip((*train, *valid), (*learned, *selected), strict=True)
        if not e.graph.num_edges
    ]
    return Dataset(
        train=_with_pairs(learned, "train"),
        valid=_with_pairs(selected, None),
        test={name: [make_example(s, cutoff) for s in test[name]] for name in test},
        isolated=free_atom_energies(
            [s for group in files.values() for s in group], apart
        ),
        hashes={
            file: file_sha256(config.path(file))
            for file in (*files, *config.hessians.values())
        },
        warnings=warnings,
    )


def _with_pairs(examples: Sequence[Example], name: str | None) -> list[Example]:
    """Examples with at least one edge.

    The others are isolated atoms, whose energies are reference energies.
    """
    found = [e for e in examples if e.graph.num_edges]
    if name is not None and examples and not found:
        raise DataError(
            f"no structure of {name} has two atoms within the cutoff: raise "
            "model.cutoff, or are lengths in another unit than Å?"
        )
    return found


def make_example(structure: Structure, cutoff: float) -> Example:
    """Graph and labels of a structure.

    Args:
        structure: Structure with labels.
        cutoff: Radius in Å of the edges.

    Returns:
        Example with positions in float64.

    Raises:
        DataError: If two atoms coincide.
    """
    graph = build_graph(structure.atoms, cutoff, dtype=torch.float64)
    if graph.num_edges:
        distance = edge_vectors(graph).norm(dim=1)
        if (shortest := float(distance.min())) < MIN_DISTANCE:
            pair = graph.edge_index[:, int(distance.argmin())].tolist()
            raise DataError(
                f"{structure.source}: atoms {pair[0]} and {pair[1]} are {shortest:.3g} "
                "Å apart; is one of them a duplicate?"
            )
    return Example(graph, structure.labels, structure.config_type, structure.source)


def split(
    structures: Sequence[Structure], amount: float | int, seed: int
) -> tuple[list[Structure], list[Structure]]:
    """Split off structures at random so that the rest contains every element.

    Args:
        structures: Structures to split.
        amount: Number of structures to split off, or a fraction below 1.
        seed: Seed of the random choice.

    Returns:
        The rest and the structures split off, each in the order of `structures`.

    Raises:
        DataError: If this is not possible without losing an element from the rest.
    """
    total = len(structures)
    wanted = amount if isinstance(amount, int) else max(1, round(amount * total))
    elements = [set(s.atoms.numbers.tolist()) for s in structures]
    left = Counter(z for present in elements for z in present)
    taken: set[int] = set()
    for n in np.random.default_rng(seed).permutation(total).tolist():
        if len(taken) == wanted:
            break
        if all(left[z] > 1 for z in elements[n]):
            left.subtract(elements[n])
            taken.add(n)
    if len(taken) < wanted:
        raise DataError(
            f"cannot take {wanted} of {total} structures for validation without losing "
            "an element from training; use fewer or name validation files"
        )
    rest = [s for n, s in enumerate(structures) if n not in taken]
    return rest, [structures[n] for n in sorted(taken)]


def free_atom_energies(
    isolated: Iterable[Structure], apart: Sequence[Structure] = ()
) -> dict[int, float]:
    """Reference energies in eV by atomic number, from isolated atoms.

    Args:
        isolated: Structures, of which those marked as isolated atoms are used.
        apart: Structures without any neighbors, under any name. Single atoms are used
            like marked ones; the others only for elements that are not determined
            otherwise.

    Returns:
        Energies of the elements that are determined.

    Raises:
        DataError: If two energies of an element contradict each other.
    """
    found = {z: (e, "") for z, e in isolated_energies(isolated).items()}
    for s in apart:
        if len(s.atoms) > 1 or "energy" not in s.has:
            continue
        z, energy = int(s.atoms.numbers[0]), float(s.labels.energy)
        known, source = found.setdefault(z, (energy, s.source))
        if abs(known - energy) > ISOLATED_ENERGY_TOLERANCE:
            raise DataError(
                f"two energies of the isolated atom {chemical_symbols[z]}: {known} eV "
                f"{f'in {source}' if source else 'in an IsolatedAtom row'} and "
                f"{energy} eV in {s.source}, which has no neighbor either; keep one"
            )
    energies = {z: energy for z, (energy, _) in found.items()}
    several = [s for s in apart if len(s.atoms) > 1 and "energy" in s.has]
    return dict(sorted({**_determined(several, energies), **energies}.items()))


def _determined(
    structures: Sequence[Structure], known: dict[int, float]
) -> dict[int, float]:
    """Energies of further elements, determined by sums over isolated atoms."""
    numbers = [s.atoms.numbers for s in structures]
    unknown = sorted({int(z) for row in numbers for z in row} - set(known))
    if not unknown:
        return {}
    counts = np.array([[(row == z).sum() for z in unknown] for row in numbers], float)
    energies = np.array(
        [
            float(s.labels.energy)
            - sum(known.get(int(z), 0.0) for z in s.atoms.numbers)
            for s in structures
        ]
    )
    solution = np.linalg.lstsq(counts, energies, rcond=None)[0]
    spans = np.linalg.pinv(counts) @ counts
    return {
        z: float(solution[n])
        for n, z in enumerate(unknown)
        if abs(spans[n, n] - 1) < 1e-9
    }


def isolated_energies(
    structures: Iterable[Structure], tolerance: float = 1e-6
) -> dict[int, float]:
    """Reference energies in eV by atomic number, from rows of isolated atoms.

    Args:
        structures: Structures, including those of isolated atoms.
        tolerance: Maximum difference in eV between rows of one element.

    Returns:
        Energies of the elements with a row.

    Raises:
        DataError: If rows of one element contradict each other.
    """
    found: dict[int, tuple[float, str]] = {}
    for s in structures:
        if not s.isolated:
            continue
        z, energy = int(s.atoms.numbers[0]), float(s.labels.energy)
        known, source = found.setdefault(z, (energy, s.source))
        if abs(known - energy) > tolerance:
            raise DataError(
                f"two energies of the isolated atom {chemical_symbols[z]}: {known} eV "
                f"in {source} and {energy} eV in {s.source}; keep one"
            )
    return {z: found[z][0] for z in sorted(found)}


def _structures(
    names: Iterable[str], files: dict[str, list[Structure]]
) -> list[Structure]:
    return [s for name in names for s in files[name] if not (s.isolated or s.ignored)]


def _weighted(
    structures: Sequence[Structure], weights: Mapping[str, float]
) -> list[Structure]:
    """Structures with the weights of their groups; weight 0 excludes a structure."""
    factors = [weights.get(s.config_type, 1.0) for s in structures]
    return [
        s if factor == 1 else _times(s, factor)
        for s, factor in zip(structures, factors, strict=True)
        if factor > 0
    ]


def _times(structure: Structure, factor: float) -> Structure:
    """Structure with all weights multiplied by a factor."""
    old = structure.labels.weights
    one = torch.ones(1, len(WEIGHTED), dtype=torch.float64)
    labels = replace(structure.labels, weights=factor * (one if old is None else old))
    return replace(structure, labels=labels)


def _check_weights(files: dict[str, list[Structure]], config: DataConfig) -> None:
    """Reject weights of groups that do not exist."""
    groups = {s.config_type for structures in files.values() for s in structures}
    if unknown := sorted(set(config.weights) - groups):
        raise DataError(
            f"data.weights contains {', '.join(unknown)}, but no structure has such a "
            f"{config.keys.config_type or 'group'}; available: "
            f"{', '.join(sorted(groups)[:20])}"
        )
    if not any(_weighted(_structures(config.train, files), config.weights)):
        raise DataError(
            "no training structure has a positive weight: see data.weights and "
            f"{config.keys.weight}"
        )


def _check_files(names: Iterable[str], config: DataConfig) -> None:
    """Reject missing files, all at once, before any file is read."""
    missing = [str(p) for p in map(config.path, names) if not p.exists()]
    if missing:
        raise DataError(
            f"no such file: {', '.join(dict.fromkeys(missing))}; paths are relative to "
            f"data.root, which is {config.root or 'not set'}, and data.root to the "
            f"working directory, {Path.cwd()}"
        )


def _check_units(
    structures: Sequence[Structure], config: DataConfig
) -> tuple[str, ...]:
    """Reject stated units that the labels contradict; warn about unstated ones."""
    every = max(1, len(structures) // NUM_STRUCTURES_CHECKED)
    facts = [gather_facts(s, 0) for s in structures[::every] if len(s.atoms) > 1]
    if not facts:
        return ()
    found = list(check_labels(facts, config.keys))
    for finding in check_stated_units(found, config.units):
        raise DataError(f"data.units: {finding.message}")
    return tuple(
        f"labels do not look like eV and Å: {finding.message}"
        for finding in found
        if finding.severity == "error" and finding.check in UNIT_CHECKS
    )


def _check_labels(
    file: str, structures: Sequence[Structure], config: DataConfig
) -> None:
    """Reject a file without any usable label."""
    if any(s.has for s in structures):
        return
    raise DataError(
        f"{config.path(file)}: has no labels under the keys "
        f"{', '.join(config.keys.sources)}; its "
        f"keys are {_found_keys(structures)}; set data.keys"
    )


def _check_named_keys(structures: Sequence[Structure], config: DataConfig) -> None:
    """Reject configured keys that no structure has."""
    if missing := config.keys.absent(keys_of(structures)):
        names = ", ".join(f"{name} = {key!r}" for name, key in missing.items())
        raise DataError(
            f"data.keys sets {names}, but no structure has it; the keys in the files "
            f"are {_found_keys(structures)}"
        )


def _found_keys(structures: Sequence[Structure]) -> str:
    keys = keys_of(structures)
    return ", ".join(keys[:30]) + (", ..." if len(keys) > 30 else "") or "none"


def _check_elements(
    train: Sequence[Structure],
    others: dict[str, list[Structure]],
    further: Collection[int],
) -> None:
    """Reject sets with elements that the training set lacks, except further ones."""
    known = {*further, *(z for s in train for z in s.atoms.numbers.tolist())}
    for name, structures in others.items():
        for s in structures:
            if unknown := set(s.atoms.numbers.tolist()) - known:
                symbols = ", ".join(chemical_symbols[z] for z in sorted(unknown))
                raise DataError(
                    f"{s.source} (set {name!r}) contains {symbols}, but no training "
                    "structure does; remove the structure or train on the element"
                )
