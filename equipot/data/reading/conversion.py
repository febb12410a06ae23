"""Convert sets of molecules in NumPy archives, such as rMD17, to eV and Å."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile, ZipInfo

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from jaxtyping import Float, Int

from equipot.data.reading.declared_sizes import (
    MAX_DECOMPRESSION_RATIO,
    MAX_UNCHECKED_BYTES,
)
from equipot.data.reading.errors import DataError
from equipot.data.reading.geometry import check_geometry
from equipot.data.reading.npz_file import header, members, opened

ENERGIES: Final = {
    "ev": 1.0,
    "mev": 1e-3,
    "kcal/mol": units.kcal / units.mol,
    "kj/mol": units.kJ / units.mol,
    "ha": units.Hartree,
    "hartree": units.Hartree,
    "ry": units.Rydberg,
}
"""Units of energy in eV."""
LENGTHS: Final = {
    "å": 1.0,
    "a": 1.0,
    "ang": 1.0,
    "angstrom": 1.0,
    "bohr": units.Bohr,
    "nm": 10.0,
}
"""Units of length in Å."""
ROLES: Final = {
    "positions": ("r", "coords", "coordinates", "positions", "pos"),
    "numbers": ("z", "nuclear_charges", "numbers", "atomic_numbers"),
    "energies": ("e", "energies", "energy"),
    "forces": ("f", "forces", "force"),
    "counts": ("n",),
    "indices": ("old_indices",),
}
"""Accepted names of entries, in lower case."""
CELLS: Final = ("lattice", "cell", "cells", "box", "pbc")
RMD17: Final = {
    "nuclear_charges",
    "coords",
    "energies",
    "forces",
    "old_indices",
    "old_energies",
    "old_forces",
}
"""Entries of the files of rMD17, which are in kcal/mol and Å.

Source: A. S. Christensen and O. A. von Lilienfeld, Mach. Learn.: Sci. Technol. 1,
045018 (2020), doi 10.1088/2632-2153/abba6f; the description of its files, doi
10.6084/m9.figshare.12672038."""
NEAREST_NEIGHBOR_RANGE: Final = (0.55, 1.45)
"""Range of the median nearest-neighbor distance over the sum of covalent radii."""
NUM_STRUCTURES_CHECKED: Final = 50
"""Number of structures used to check distances."""


@dataclass(frozen=True)
class Units:
    """Units of a set; None if unknown."""

    energy: str | None = None
    """Unit of energy, such as ``kcal/mol``."""
    length: str | None = None
    """Unit of length, such as ``bohr``."""
    forces: str | None = None
    """Unit of forces, such as ``Ha/bohr``; energy over length by default."""


@dataclass(frozen=True)
class ConvertedSet:
    """Structures of an archive, with labels in eV and eV/Å."""

    frames: list[Atoms]
    """Structures with ``REF_energy``, ``REF_forces``, and ``old_index`` if present."""
    units: Units
    """Units of the archive."""
    units_source: str
    """Source of the units."""
    left_out: list[str]
    """Names of entries that were not converted."""


def read_npz_set(
    path: Path, given: Units, chosen: Sequence[int] | None = None
) -> ConvertedSet:
    """Read an archive of molecules with energies and forces.

    Args:
        path: File (.npz) with positions (``R``, ``coords``), nuclear charges (``z``,
            ``nuclear_charges``), and energies (``E``, ``energies``) or forces (``F``,
            ``forces``); nuclear charges of one molecule, or of every structure, filled
            up with zeros.
        given: Units; those left out must be stated in the file (``e_unit``,
            ``r_unit``) or follow from its layout, as for rMD17.
        chosen: Indices of the structures to convert, from 0, in the order of the
            output (default: all).

    Returns:
        The structures.

    Raises:
        DataError: If the units are unknown, or the file is invalid.
    """
    with opened(path) as archive:
        entries = members(archive, path)
        roles = _roles(path, list(entries))
        _check_size(archive, entries, path)
        used = _units(archive, entries, path, given)
        arrays = {
            role: _array(archive, entries[name], f"{path}[{name!r}]")
            for role, name in roles.items()
        }
    used_names = {*roles.values(), "e_unit", "r_unit"}
    factors = _factors(used[0], path)
    numbers = _numbers_of_frames(arrays, path)
    _check_shapes(arrays, len(numbers), path)
    return ConvertedSet(
        frames=_frames(arrays, numbers, factors, _chosen(chosen, len(numbers), path)),
        units=used[0],
        units_source=used[1],
        left_out=sorted(set(entries) - used_names),
    )


def check_lengths(converted: ConvertedSet, path: Path) -> None:
    """Reject structures whose nearest-neighbor distances are no bond lengths.

    Raises:
        DataError: If the median distance is out of range.
    """
    ratios = []
    step = max(1, len(converted.frames) // NUM_STRUCTURES_CHECKED)
    for atoms in converted.frames[::step]:
        if len(atoms) < 2:
            continue
        distance = atoms.get_all_distances()
        np.fill_diagonal(distance, np.inf)
        radii = covalent_radii[atoms.numbers]
        ratios.append((distance / (radii[:, None] + radii)).min(axis=1))
    if not ratios:
        return
    median = float(np.median(np.concatenate(ratios)))
    if not NEAREST_NEIGHBOR_RANGE[0] < median < NEAREST_NEIGHBOR_RANGE[1]:
        raise DataError(
            f"{path}: the median nearest-neighbor distance would be {median:.2f} times "
            f"the sum of covalent radii; are lengths in {converted.units.length}? Pass "
            "--length-unit"
        )


def _roles(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Entry of every role; rejects missing, ambiguous and periodic data."""
    roles: dict[str, str] = {}
    for role, spellings in ROLES.items():
        found = [name for name in names if name.lower() in spellings]
        if len(found) > 1:
            raise DataError(
                f"{path}: {' and '.join(found)} are both {role}; keep one of them"
            )
        if found:
            roles[role] = found[0]
    shown = ", ".join(name[:40] for name in names[:20]) or "nothing"
    for role in ("positions", "numbers"):
        if role not in roles:
            raise DataError(
                f"{path}: has no {role}: looked for {', '.join(ROLES[role])} in any "
                f"case; it contains {shown}"
            )
    if not {"energies", "forces"} & set(roles):
        raise DataError(
            f"{path}: has neither energies ({', '.join(ROLES['energies'])}) nor forces "
            f"({', '.join(ROLES['forces'])}); it contains {shown}"
        )
    if cells := [name for name in names if name.lower() in CELLS]:
        raise DataError(
            f"{path}: contains {cells[0]}, but only non-periodic structures are "
            "converted; write extxyz with the program that made the file"
        )
    return roles


def _check_size(archive: ZipFile, entries: Mapping[str, ZipInfo], path: Path) -> None:
    """Reject archives that declare more data than they can contain."""
    largest = max(MAX_UNCHECKED_BYTES, MAX_DECOMPRESSION_RATIO * path.stat().st_size)
    declared = 0
    for member in entries.values():
        shape, dtype = header(archive, member)
        declared += math.prod(shape) * dtype.itemsize
    if declared > largest:
        raise DataError(f"{path}: declares {declared} bytes of arrays")


def _array(archive: ZipFile, member: ZipInfo, name: str) -> np.ndarray:
    _, dtype = header(archive, member)
    if dtype.hasobject or dtype.kind not in "fiu" or dtype.itemsize > 16:
        raise DataError(f"{name}: must contain numbers, got {str(dtype)[:60]}")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _text(archive: ZipFile, member: ZipInfo) -> str:
    """Text of an entry, such as a unit."""
    shape, dtype = header(archive, member)
    if dtype.kind not in "SU" or math.prod(shape) != 1 or dtype.itemsize > 400:
        raise ValueError(f"{member.filename[:60]} is not a text")
    with archive.open(member) as file:
        value = np.lib.format.read_array(file, allow_pickle=False).reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _units(
    archive: ZipFile, entries: Mapping[str, ZipInfo], path: Path, given: Units
) -> tuple[Units, str]:
    """Units and their source."""
    stated = {
        kind: _text(archive, entries[name])
        for kind, name in (("energy", "e_unit"), ("length", "r_unit"))
        if name in entries
    }
    for kind, value in stated.items():
        passed = getattr(given, kind)
        if passed is not None and _plain(passed) != _plain(value):
            raise DataError(
                f"{path}: the stated unit of {kind} is {value}, but --{kind}-unit "
                f"is {passed}"
            )
    layout = dict.fromkeys(("energy", "length"), "")
    if set(entries) >= RMD17 - {"old_energies", "old_forces"}:
        layout = {"energy": "kcal/mol", "length": "Å"}
    energy = given.energy or stated.get("energy") or layout["energy"]
    length = given.length or stated.get("length") or layout["length"]
    if not energy or not length:
        missing = "--energy-unit" if not energy else "--length-unit"
        raise DataError(
            f"{path}: does not state its units, and they do not follow from its "
            f"layout: pass {missing}, such as "
            f"{'kcal/mol' if not energy else 'Å'}, see the description of the set"
        )
    forces = given.forces or f"{energy}/{length}"
    if given.energy and given.length:
        source = "as given"
    elif stated:
        source = "as stated in the file"
    else:
        source = "as in all files of rMD17"
    return Units(energy, length, forces), source


def _factors(used: Units, path: Path) -> dict[str, float]:
    """Factors to eV, Å and eV/Å."""
    energy, length = _plain(used.energy or ""), _plain(used.length or "")
    of_energy, _, per_length = _plain(used.forces or "").rpartition("/")
    for name, unit, table in (
        ("energy", energy, ENERGIES),
        ("length", length, LENGTHS),
        ("forces", of_energy, ENERGIES),
        ("forces", per_length, LENGTHS),
    ):
        if unit not in table:
            raise DataError(
                f"{path}: unknown unit of {name} {getattr(used, name)!r}; supported: "
                f"{', '.join(ENERGIES)} and {', '.join(LENGTHS)}, and for forces two "
                "of them, such as Ha/bohr"
            )
    return {
        "energies": ENERGIES[energy],
        "positions": LENGTHS[length],
        "forces": ENERGIES[of_energy] / LENGTHS[per_length],
    }


def _plain(unit: str) -> str:
    return re.sub(r"\s", "", unit).lower().replace("\u212b", "å")


def _numbers_of_frames(
    arrays: Mapping[str, Any], path: Path
) -> list[Int[np.ndarray, "_"]]:
    """Atomic numbers of every structure, without padding."""
    positions, numbers = arrays["positions"], arrays["numbers"]
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise DataError(
            f"{path}: positions must have shape (structures, atoms, 3), got "
            f"{positions.shape}"
        )
    frames, size = positions.shape[:2]
    if numbers.shape not in {(size,), (frames, size)}:
        raise DataError(
            f"{path}: nuclear charges must have shape ({size},) or ({frames}, {size}), "
            f"as the positions have, got {numbers.shape}"
        )
    if (numbers != numbers.round()).any() or numbers.min() < 0 or numbers.max() > 118:
        raise DataError(f"{path}: nuclear charges must be integers from 1 to 118")
    table = np.broadcast_to(numbers, (frames, size)).astype(int)
    counts = (table > 0).sum(axis=1)
    if not all((row[:n] > 0).all() for row, n in zip(table, counts, strict=True)):
        raise DataError(f"{path}: padding with 0 must follow the nuclear charges")
    if not counts.all():
        raise DataError(f"{path}: structure {int(counts.argmin())} has no atoms")
    if "counts" in arrays and not np.array_equal(arrays["counts"].reshape(-1), counts):
        raise DataError(f"{path}: numbers of atoms do not match the nuclear charges")
    return [row[:n] for row, n in zip(table, counts, strict=True)]


def _check_shapes(arrays: Mapping[str, Any], frames: int, path: Path) -> None:
    expected = {
        "energies": [(frames,), (frames, 1)],
        "indices": [(frames,), (frames, 1)],
        "forces": [arrays["positions"].shape],
    }
    for role, shapes in expected.items():
        if role in arrays and arrays[role].shape not in shapes:
            raise DataError(
                f"{path}: {role} must have shape {shapes[0]}, got {arrays[role].shape}"
            )
    for role in ("energies", "forces"):
        if role in arrays and np.isinf(arrays[role]).any():
            raise DataError(f"{path}: {role} contain infinite values")


def _chosen(chosen: Sequence[int] | None, frames: int, path: Path) -> Sequence[int]:
    if chosen is None:
        return range(frames)
    wrong = [n for n in chosen if not 0 <= n < frames]
    if wrong or len(set(chosen)) < len(chosen) or not chosen:
        what = f"{wrong[0]}" if wrong else "a number twice, or none"
        raise DataError(
            f"{path}: has structures 0 to {frames - 1}, but the list of structures to "
            f"convert has {what}"
        )
    return chosen


def _frames(
    arrays: Mapping[str, Any],
    numbers: Sequence[Int[np.ndarray, "_"]],
    factors: Mapping[str, float],
    chosen: Sequence[int],
) -> list[Atoms]:
    positions: Float[np.ndarray, "frames atoms 3"] = (
        arrays["positions"].astype(np.float64) * factors["positions"]
    )
    frames = []
    for n in chosen:
        size = len(numbers[n])
        atoms = Atoms(numbers[n], positions[n, :size])
        check_geometry(atoms, f"structure {n}")
        if "energies" in arrays:
            energy = float(arrays["energies"].reshape(-1)[n])
            if not math.isnan(energy):
                atoms.info["REF_energy"] = energy * factors["energies"]
        if "forces" in arrays:
            forces = arrays["forces"][n, :size].astype(np.float64)
            atoms.set_array("REF_forces", forces * factors["forces"])
        if "indices" in arrays:
            atoms.info["old_index"] = int(arrays["indices"].reshape(-1)[n])
        frames.append(atoms)
    return frames
