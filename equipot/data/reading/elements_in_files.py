"""Checks that reject files without elements, or with partially occupied sites.

Readers of ASE guess elements from masses, from numbers of types, from names of atoms,
or from a comment, and take the most frequent element of a site that several share.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from ase.io.formats import open_with_compression

from equipot.data.reading.chemical_symbols import ISOTOPES, check_element, read_symbols
from equipot.data.reading.cif_sites import (
    CIF_DEUTERIUM_MASS,
    OCCUPANCY_TOLERANCE,
    check_cif_file,
    check_distances,
)
from equipot.data.reading.errors import DataError
from equipot.data.reading.lammps_files import check_lammps_data, check_lammps_dump

ATOM_NAMES: Final = "it contains atom names, but not their elements"
NO_ELEMENTS: Final = {
    "gpumd": "it contains type numbers, but no elements",
    "gromacs": ATOM_NAMES,
    "gromos": ATOM_NAMES,
}
"""Formats without elements, and what they contain instead."""
MAX_ISOTOPE_SHIFT: Final = 6.0
"""Maximum difference in u between the masses of an isotope and of its element."""
ALWAYS_PERIODIC: Final = ("eon", "sys")
"""Formats with periodic cells whose ASE readers do not set ``pbc``."""


def reader_options(path: Path, format_name: str) -> dict[str, Any]:
    """Check that a file specifies its elements, and return options for its reader.

    Args:
        path: File with structures.
        format_name: Its ASE format.

    Returns:
        Arguments for the ASE reader of the format.

    Raises:
        DataError: If elements would be guessed, or sites are partially occupied.
        Exception: Any error of a parser on invalid content.
    """
    if format_name == "cif":
        check_cif_file(path)
    elif format_name in CHECKS:
        with open_with_compression(str(path), "r") as file:
            return CHECKS[format_name](file.read().splitlines())
    return {}


def check_frame(atoms: Atoms, format_name: str) -> Atoms:
    """Reject partially occupied sites, and drop results without a unit.

    Args:
        atoms: Structure from the ASE reader, modified in place.
        format_name: Its ASE format.

    Returns:
        The structure, with the atomic mass of deuterium.

    Raises:
        DataError: If a site is partially occupied, or an atom has a label instead of
            an element.
    """
    if format_name.startswith("lammps"):
        # velocities and forces may be in unknown units, and the energy added by the
        # reader is meaningless
        atoms.calc = None
        atoms.arrays.pop("momenta", None)
    _check_occupancies(atoms)
    labels = atoms.arrays.get("dlp4_labels")
    if labels is not None and any(labels):
        bad = next(n for n, label in enumerate(labels) if label)
        raise DataError(
            f"atom {bad} has the label {atoms.symbols[bad]}{labels[bad]}; write the "
            "element, or convert the file to extxyz"
        )
    if format_name in ALWAYS_PERIODIC and atoms.cell.rank == 3:
        atoms.pbc = True
    if format_name == "proteindatabank":
        _without_placeholder(atoms)
    if format_name == "cif":
        check_distances(atoms)
    masses = atoms.arrays.get("masses")
    if format_name == "cif" and masses is not None:
        masses[(atoms.numbers == 1) & (masses == CIF_DEUTERIUM_MASS)] = ISOTOPES["D"]
    return atoms


def _check_occupancies(atoms: Atoms) -> None:
    """Reject sites that are shared or partially occupied."""
    advice = (
        "; make an ordered structure with one atom on each occupied site, and "
        "remove the occupancies"
    )
    for name, values in atoms.arrays.items():
        if name.lower() not in ("occupancy", "occupancies", "occ", "site_occupancy"):
            continue
        numbers = np.asarray(values, dtype=np.float64)
        if not numbers.any():
            continue  # programs without support for occupancies write zeros
        if (np.abs(numbers - 1) > OCCUPANCY_TOLERANCE).any():
            n = int(np.flatnonzero(np.abs(numbers - 1) > OCCUPANCY_TOLERANCE)[0])
            raise DataError(f"atom {n} has the occupancy {numbers[n]:g}{advice}")
    sites = atoms.info.get("occupancy")
    if isinstance(sites, dict):
        for site, shares in sites.items():
            if isinstance(shares, dict) and not (
                len(shares) == 1 and all(map(_is_full, shares.values()))
            ):
                parts = ", ".join(f"{value} {key}" for key, value in shares.items())
                raise DataError(f"site {site} is occupied by {parts[:80]}{advice}")


def _is_full(share: Any) -> bool:
    return share in (".", "?") or abs(float(share) - 1) <= OCCUPANCY_TOLERANCE


def _without_placeholder(atoms: Atoms) -> None:
    """Remove the placeholder cell of 1 Å or 0 of PDB files without a cell."""
    lengths = atoms.cell.lengths()
    if np.allclose(lengths, 1) or np.allclose(lengths, 0):
        atoms.pbc = False
        atoms.cell = np.zeros((3, 3))


def _espresso(lines: Sequence[str]) -> dict[str, Any]:
    """Masses of species are dropped by the reader, so they must be the defaults."""
    inside = False
    for line in lines:
        words = line.split("!")[0].split()
        if words and words[0].upper() == "ATOMIC_SPECIES":
            inside = True
        elif len(words) != 3:
            inside = False
        elif inside and (found := re.match("[A-Za-z][a-z]?", words[0])):
            symbol = found[0].capitalize()
            if symbol in chemical_symbols and _may_be_isotope(symbol, words[1]):
                check_element(symbol, words[1])
    return {}


def _may_be_isotope(symbol: str, mass: str) -> bool:
    """Whether a mass is near that of an element; many inputs use 1 for all of them."""
    try:
        expected = atomic_masses[chemical_symbols.index(symbol)]
        return bool(abs(float(mass) - expected) < MAX_ISOTOPE_SHIFT)
    except ValueError:
        return False


def _turbomole(lines: Sequence[str]) -> dict[str, Any]:
    """Reject everything but molecules in bohr."""
    for line in lines:
        words = line.lower().split()
        if words[:1] == ["$coord"] and set(words[1:]) & {"frac", "angs"}:
            raise DataError(
                f"{line.strip()[:40]!r}: coordinates are read in Bohr only; convert "
                "the file to extxyz"
            )
        if words and words[0] in ("$periodic", "$cell", "$lattice"):
            raise DataError(
                f"{line.strip()[:40]!r} is not supported, so the structure would not "
                "be periodic; convert the file to extxyz"
            )
    return {}


def _vasp(lines: Sequence[str]) -> dict[str, Any]:
    """Reject files without a line of element symbols above the numbers of atoms."""
    if len(lines) < 7:
        return {}  # the reader reports what is missing
    names, counts = lines[5].split(), lines[6].split("!")[0].split()
    if names and re.match(r"[-+\d]", names[0]):
        raise DataError(
            "there is no line with element symbols above the numbers of atoms (as in "
            "files of VASP 4), so elements would be guessed; add it"
        )
    if len(names) != len(counts):
        raise DataError(
            f"there are {len(names)} element symbols ({' '.join(names)[:60]}) and "
            f"{len(counts)} numbers of atoms ({' '.join(counts)[:60]}); correct them"
        )
    _, isotopes = read_symbols([re.split("[_/]", name)[0] for name in names])
    if isotopes is not None:
        raise DataError(
            "isotopes of hydrogen are supported in extxyz and CIF only; write H and "
            "the masses, or convert the file"
        )
    return {}


def _pdb(lines: Sequence[str]) -> dict[str, Any]:
    alternatives: set[str] = set()
    symbols: list[str] = []
    for line in lines:
        if line.startswith(("ATOM  ", "HETATM")):
            symbols.append(line[76:78].strip())
            alternatives.add(line[16:17].strip())
            if not symbols[-1]:
                raise DataError(
                    f"atom {len(symbols) - 1} has no element in columns 77 and 78, and "
                    f"names such as {line[12:16].strip()!r} do not determine it; add it"
                )
    if symbols:
        read_symbols(symbols)
        if isotopes := ISOTOPES.keys() & set(symbols):
            raise DataError(
                f"the element {min(isotopes)} is supported in extxyz and CIF only; "
                "convert the file"
            )
    groups = {line[55:66].strip() for line in lines if line.startswith("CRYST1")}
    other = {g for g in groups if g.replace(" ", "").upper() not in ("", "P1")}
    if other:
        raise DataError(
            f"the space group is {min(other)[:20]}, but its symmetry is not applied: "
            "write all atoms of the cell and P 1"
        )
    if len(alternatives) > 1:
        raise DataError(
            "atoms have alternative locations (column 17); keep one of each"
        )
    return {}


def _mol(lines: Sequence[str]) -> dict[str, Any]:
    if any(line[20:22] == "2D" for line in lines[1:2]):
        raise DataError("contains a two-dimensional drawing, not a structure")
    if any(line.startswith("M  ISO") for line in lines):
        raise DataError(
            "contains isotopes (M  ISO), which are not read; convert it to extxyz with "
            "a column masses:R:1"
        )
    return {}


CHECKS: Final[dict[str, Callable[[Sequence[str]], dict[str, Any]]]] = {
    "espresso-in": _espresso,
    "lammps-data": check_lammps_data,
    "lammps-dump-text": check_lammps_dump,
    "mol": _mol,
    "proteindatabank": _pdb,
    "sdf": _mol,
    "turbomole": _turbomole,
    "vasp": _vasp,
}
"""Formats whose readers guess elements, and the check of each."""
