"""Read structures with labels from files, and check them."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.labels import WEIGHTED, Labels
from equipot.data.reading.errors import DataError
from equipot.data.reading.frames import iterate_frames
from equipot.data.reading.geometry import check_geometry
from equipot.data.reading.hessians import attach_hessians, in_text
from equipot.data.reading.unit_conversion import converted_geometry, size_of
from equipot.data.structure import ISOLATED, Structure
from equipot.storage.provenance import ENERGY_SPREAD, FORCES_SPREAD, KEYS

MAX_NAME_LENGTH = 200
STRUCTURAL = {"numbers", "positions"}
NO_LABELS = {*KEYS, ENERGY_SPREAD, FORCES_SPREAD}
"""Keys of results of this package that are not labels: provenance and spreads."""
UNIT_OF_LABEL = re.compile(
    "(energy|energies|force|forces|stress|stresses|virial|virials)_?units?"
    "|units?_?(of_)?(energy|energies|force|forces|stress|virial|virials)"
)
"""Keys that specify the unit of a label, in lower case."""
WEIGHT_KEYS = [
    f"config_{name}_weight" for name in ("energy", "forces", "stress", "virials")
]
"""Keys that specify the weight of one label of a structure."""


def read_structures(
    path: Path | str,
    keys: KeysConfig | None = None,
    hessians: Path | None = None,
    units: UnitsConfig | None = None,
) -> list[Structure]:
    """Read all structures of a file with their labels.

    Args:
        path: File in any ASE format, except pickles.
        keys: Names of the labels; labels whose keys the file lacks are missing (NaN).
        hessians: File of NumPy (.npz) with Hessians of some or all of the structures;
            see `equipot.config.data.DataConfig.hessians`.
        units: Units of the file (default: eV and Å).

    Returns:
        The structures in the order of the file, including isolated atoms.

    Raises:
        DataError: At the first frame that cannot be read or is invalid.
    """
    keys = keys or KeysConfig()
    structures = [
        parse_structure(atoms, keys, source, units)
        for atoms, source in iterate_sources(Path(path))
    ]
    entries = [lookup(s.atoms, keys.hessian) for s in structures]
    if hessians is not None:
        attached = attach_hessians(structures, hessians, entries)
        return [_without_ignored_labels(s) for s in attached]
    for structure, entry in zip(structures, entries, strict=True):
        if entry is not None and structure.labels.hessian is None:
            raise DataError(
                f"{structure.source}: {keys.hessian} is the Hessian {str(entry)!r} "
                "of another file; set that file in data.hessians"
            )
    return structures


def iterate_sources(path: Path) -> Iterator[tuple[Atoms, str]]:
    """Frames of a file, and their names for messages."""
    for n, atoms in enumerate(iterate_frames(path)):
        yield atoms, f"{path}#{n}"


def parse_structure(
    atoms: Atoms, keys: KeysConfig, source: str, units: UnitsConfig | None = None
) -> Structure:
    """Check a structure and extract its labels.

    Args:
        atoms: Structure as read by ASE.
        keys: Names of the labels.
        source: File and frame, for messages.
        units: Units of positions and labels (default: eV and Å).

    Returns:
        The structure in eV and Å. Keys that differ from `keys` only in case are
        renamed in `atoms`. A stress of zeros on a structure that is not 3D-periodic,
        which some programs write, counts as missing.

    Raises:
        DataError: If positions, cell, elements or a label are invalid.
    """
    units = units or UnitsConfig()
    atoms = converted_geometry(atoms, units)
    check_geometry(atoms, source)
    _adopt_spelling(atoms, keys, source)
    if not units.stated:
        _check_units(atoms, source)
    labels = Labels(
        energy=torch.tensor([_energy(atoms, keys.energy, source)], dtype=torch.float64),
        forces=torch.from_numpy(_forces(atoms, keys.forces, source)),
        stress=torch.from_numpy(_stress(atoms, keys, source))[None],
        hessian=in_text(
            lookup(atoms, keys.hessian), atoms, f"{source}: {keys.hessian}"
        ),
        weights=_weights(atoms, keys, source),
    )
    if units.stated:
        labels = _converted(labels, keys, units, source)
    structure = _without_ignored_labels(
        Structure(
            atoms, labels, _config_type(lookup(atoms, keys.config_type), source), source
        )
    )
    if structure.isolated and len(atoms) != 1:
        raise DataError(
            f"{source}: is marked {keys.config_type}={ISOLATED}, but has "
            f"{len(atoms)} atoms"
        )
    if structure.isolated and "energy" not in structure.has:
        raise DataError(
            f"{source}: an {ISOLATED} row needs an energy under the key "
            f"{keys.energy!r}; it has {', '.join(available_keys(atoms)) or 'none'}"
        )
    return structure


def _converted(
    labels: Labels, keys: KeysConfig, units: UnitsConfig, source: str
) -> Labels:
    """Convert labels to eV, eV/Å and eV/Å^3, and positions to Å."""
    if labels.hessian is not None:
        raise DataError(
            f"{source}: has a Hessian, which data.units does not convert: write it in "
            "eV/Å^2 with all other labels in eV and Å, or set "
            "keys.hessian to null"
        )
    by_virials = keys.virials is not None
    changed = sorted({"energy", "length"} & set(units.stated))
    silent = "stress" not in units.model_fields_set and not by_virials
    if changed and silent and not labels.stress.isnan().all():
        raise DataError(
            f"{source}: data.units has the unit of {' and '.join(changed)}, but not "
            "that of the stress label: set it as well, such as "
            "stress: eV/Å^3"
        )
    return replace(
        labels,
        energy=labels.energy * size_of(units.energy),
        forces=labels.forces * size_of(units.forces),
        stress=labels.stress * size_of(units.energy if by_virials else units.stress),
    )


def lookup(atoms: Atoms, key: str | None) -> Any:
    """Value under a key, in ``info``, ``arrays`` or a calculator; None if missing.

    ASE moves its standard names (energy, forces, stress) to a calculator. Its results
    are read directly: `Atoms.get_forces` would set forces on fixed atoms to zero.
    """
    if key is None:
        return None
    results = {} if atoms.calc is None else atoms.calc.results
    for place in (atoms.info, atoms.arrays, results):
        if key in place:
            return place[key]
    return None


def _check_units(atoms: Atoms, source: str) -> None:
    """Reject labels for which the file specifies other units."""
    for key, value in atoms.info.items():
        unit_of_label = UNIT_OF_LABEL.fullmatch(str(key).lower())
        if unit_of_label and not str(value).strip().lower().startswith("ev"):
            raise DataError(
                f"{source}: {key}={str(value)[:40]!r}, but labels must be in eV, eV/Å "
                "and eV/Å^3; convert them, and correct or remove the key, or state "
                "data.units"
            )


def _weights(
    atoms: Atoms, keys: KeysConfig, source: str
) -> Float[torch.Tensor, "1 4"] | None:
    """Weights of the labels in the loss; None if all are 1."""
    if keys.weight is None:
        return None
    stress = "stress" if keys.virials is None else "virials"
    names = {"energy": "energy", "forces": "forces", "stress": stress}
    whole = _weight(atoms, keys.weight, source)
    single = {
        label: _weight(atoms, f"config_{name}_weight", source)
        for label, name in names.items()
    }
    weights = [whole * single.get(label, 1.0) for label in WEIGHTED]
    if all(weight == 1 for weight in weights):
        return None
    return torch.tensor([weights], dtype=torch.float64)


def _weight(atoms: Atoms, key: str, source: str) -> float:
    value = lookup(atoms, key)
    if value is None:
        return 1.0
    array = _numbers(value, key, source)
    if array.size != 1 or not np.isfinite(array).all() or (array < 0).any():
        raise DataError(
            f"{source}: {key} must be a nonnegative number, got {str(value)[:60]!r}"
        )
    return float(array.reshape(()))


def _without_ignored_labels(structure: Structure) -> Structure:
    """Mark labels of weight 0 as missing; reference energies have no weight."""
    labels = structure.labels
    if labels.weights is None:
        return structure
    if structure.isolated:
        return replace(structure, labels=replace(labels, weights=None))
    zero = dict(zip(WEIGHTED, (labels.weights[0] == 0).tolist(), strict=True))
    absent = {
        name: torch.full_like(getattr(labels, name), math.nan)
        for name in ("energy", "forces", "stress")
        if zero[name]
    }
    hessian = None if zero["hessian"] else labels.hessian
    return replace(
        structure,
        labels=replace(labels, hessian=hessian, **absent),
        ignored=all(zero.values()),
    )


def _adopt_spelling(atoms: Atoms, keys: KeysConfig, source: str) -> None:
    """Rename labels that a file spells in another case."""
    results = {} if atoms.calc is None else atoms.calc.results
    places: tuple[dict[str, Any], ...] = (atoms.info, atoms.arrays, results)
    weights = [] if keys.weight is None else WEIGHT_KEYS
    wanted = {key.lower(): key for key in (*weights, *keys.all)}
    for place in places:
        for found in [k for k in map(str, place) if k.lower() in wanted]:
            key = wanted[found.lower()]
            if found == key:
                continue
            value, known = place[found], lookup(atoms, key)
            if known is not None and not np.array_equal(
                np.asarray(known).ravel(), np.asarray(value).ravel()
            ):
                raise DataError(
                    f"{source}: {key} and {found} have different values; rename or "
                    "remove one of them"
                )
            place[key] = place.pop(found)


def available_keys(atoms: Atoms) -> list[str]:
    """Keys that `lookup` finds, without those that are not labels."""
    results = {} if atoms.calc is None else atoms.calc.results
    names = {*map(str, atoms.info), *atoms.arrays, *results}
    return sorted(names - STRUCTURAL - NO_LABELS)


def keys_of(structures: Iterable[Structure]) -> list[str]:
    """Sorted keys of all structures, each once."""
    return sorted({key for s in structures for key in available_keys(s.atoms)})


def _config_type(value: Any, source: str) -> str:
    """Group of a structure, printable in messages and reports."""
    name = "default" if value is None else str(value)
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise DataError(
            f"{source}: its group must have up to {MAX_NAME_LENGTH} printable "
            f"characters, got {name[:60]!r}"
        )
    return name


def _numbers(value: Any, key: str, source: str) -> Float[np.ndarray, "..."]:
    """Label as a float64 array; NaN marks missing values."""
    try:
        array = np.asarray(value)
        if array.dtype == bool:
            raise TypeError("a logical value")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{source}: {key} must contain numbers, got {str(value)[:60]!r}"
        ) from error
    if np.isinf(array).any():
        raise DataError(
            f"{source}: {key} contains infinite values; omit the label, or "
            "write nan, where it was not computed"
        )
    return array


def _energy(atoms: Atoms, key: str | None, source: str) -> float:
    value = lookup(atoms, key)
    if key is None or value is None:
        return math.nan
    array = _numbers(value, key, source)
    if array.size != 1:
        raise DataError(f"{source}: {key} must be one number, got shape {array.shape}")
    return float(array.reshape(()))


def _forces(atoms: Atoms, key: str | None, source: str) -> Float[np.ndarray, "atoms 3"]:
    value = lookup(atoms, key)
    if key is None or value is None:
        return np.full((len(atoms), 3), np.nan)
    array = _numbers(value, key, source)
    if array.shape != (len(atoms), 3):
        raise DataError(
            f"{source}: {key} must have shape ({len(atoms)}, 3), got {array.shape}"
        )
    masks = [n for n in atoms.arrays if re.search("forc.*mask|mask.*forc", n.lower())]
    if masks:
        raise DataError(
            f"{source}: the column {masks[0]} is not supported: write nan in {key} "
            "for atoms without a label, and remove the column"
        )
    array = array.copy()
    array[np.isnan(array).any(axis=1)] = np.nan
    return array


def _stress(atoms: Atoms, keys: KeysConfig, source: str) -> Float[np.ndarray, "3 3"]:
    key = keys.stress if keys.virials is None else keys.virials
    value = lookup(atoms, key)
    absent = np.full((3, 3), np.nan)
    if key is None or value is None:
        return absent
    numbers = _numbers(value, key, source)
    if np.isnan(numbers).any():
        if np.isnan(numbers).all():
            return absent
        raise DataError(f"{source}: {key} is nan in some components and not in others")
    tensor = _as_matrix(numbers, key, source)
    if not atoms.pbc.all():
        if not tensor.any():
            return absent
        raise DataError(
            f"{source}: {key} is given for a structure that is periodic in "
            f"{int(atoms.pbc.sum())} of 3 directions and so has no volume; set pbc to "
            '"T T T" if the cell was used in the calculation, or remove the label'
        )
    if keys.virials is None:
        return tensor
    return -tensor / atoms.get_volume()


def _as_matrix(
    array: Float[np.ndarray, "..."], key: str, source: str
) -> Float[np.ndarray, "3 3"]:
    """Convert 6 numbers in ASE's order, 9 numbers, or 3x3 to a symmetric matrix."""
    if array.size == 6 and array.ndim in {1, 2}:
        xx, yy, zz, yz, xz, xy = array.reshape(6)
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if array.shape not in {(9,), (1, 9), (3, 3)}:
        raise DataError(
            f"{source}: {key} must be 3x3, 9 numbers, or 6 in the order "
            f"xx yy zz yz xz xy; got shape {array.shape}"
        )
    matrix = array.reshape(3, 3)
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > 1e-3 * np.abs(matrix).max():
        raise DataError(
            f"{source}: {key} is not symmetric (xy, xz, yz differ from yx, zx, zy by "
            f"up to {asymmetry:.3g}); is it a stress?"
        )
    return (matrix + matrix.T) / 2
