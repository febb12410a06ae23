"""Reject files with missing elements or fractional occupancies.

The readers of ASE guess elements from masses, type numbers, atom names or comments, and
assign the most frequent element to a site shared by several.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from ase.io.cif import parse_cif, rhombohedral_spacegroups
from ase.io.formats import open_with_compression
from ase.neighborlist import neighbor_list
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import SpacegroupNotFoundError
from jaxtyping import Int

from equipot.data.reading.chemical_symbols import (
    ISOTOPE_MASS_TOLERANCE,
    ISOTOPES,
    read_symbols,
)
from equipot.data.reading.errors import DataError

ATOM_NAMES: Final = "it contains atom names, but not their elements"
NO_ELEMENTS: Final = {
    "gpumd": "it contains type numbers, but no elements",
    "gromacs": ATOM_NAMES,
    "gromos": ATOM_NAMES,
}
"""Formats without elements, and what they contain instead."""
UNITS: Final = ("metal", "real")
"""LAMMPS unit styles with lengths in Å."""
MIN_DISTANCE: Final = 0.3
"""Distance in Å below which two atoms share a site."""
OCCUPANCY_TOLERANCE: Final = 1e-3
"""Tolerance within which an occupancy is 1."""
ELEMENT_MASS_TOLERANCE: Final = 0.5
"""Difference in u above which a mass is that of an isotope or of another element."""
MAX_ISOTOPE_SHIFT: Final = 6.0
"""Maximum difference in u between the masses of an isotope and of its element."""
ALWAYS_PERIODIC: Final = ("eon", "sys")
"""Formats with periodic cells whose ASE readers do not set ``pbc``."""
FIRST_ORTHORHOMBIC: Final = 16
SETTING_TAG: Final = "_symmetry_space_group_setting"
SYMMETRY_TAGS: Final = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
CIF_DEUTERIUM_MASS: Final = 2.01355
"""Mass in u that ASE's CIF reader assigns to deuterium."""


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
        with open_with_compression(str(path), "rb") as file:
            for block in parse_cif(file):
                _check_case(block)
                if block.has_structure():
                    _check_cif(block)
    elif format_name in CHECKS:
        with open_with_compression(str(path), "r") as file:
            return CHECKS[format_name](file.read().splitlines())
    return {}


def is_lammps_data(path: Path) -> bool:
    """Whether a file of any name begins like a LAMMPS data file.

    Args:
        path: Existing file.
    """
    with open_with_compression(str(path), "rb") as file:
        head = file.read(2**12).decode("latin-1")
    number = r"[-+.\deE]+"
    return all(
        re.search(rf"^\s*{pattern}", head, re.MULTILINE)
        for pattern in (r"\d+\s+atoms\b", rf"{number}\s+{number}\s+xlo\s+xhi\b")
    )


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
        _check_distances(atoms)
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


def _check_distances(atoms: Atoms) -> None:
    """Reject images of a site that almost coincide."""
    first, second, distances = neighbor_list("ijd", atoms, MIN_DISTANCE)
    if len(first):
        n = int(np.argmin(distances))
        i, j = int(first[n]), int(second[n])
        raise DataError(
            f"{atoms.symbols[i]} and {atoms.symbols[j]} are {distances[n]:.3f} Å "
            "apart: either a duplicated site, or a special position with too few "
            "digits (0.333333, not 0.333); correct the coordinates"
        )


def _check_case(block: Any) -> None:
    """Reject symbols with which the reader fails."""
    for symbol in _column(block, "_atom_site_type_symbol"):
        if str(symbol)[:1].islower():
            raise DataError(f"write symbols such as Cu, not {str(symbol)[:20]}")


def _check_cif(block: Any) -> None:
    """Reject disorder, and elements that the reader would infer from a label."""
    symbols = _column(block, "_atom_site_type_symbol")
    labels = _column(block, "_atom_site_label") or symbols
    for n, share in enumerate(_column(block, "_atom_site_occupancy")):
        text = re.sub(r"\(.*\)", "", str(share))
        if text not in (".", "?", "") and abs(float(text) - 1) > OCCUPANCY_TOLERANCE:
            raise DataError(
                f"site {labels[n]} has the occupancy {share}: the structure is "
                "disordered; make an ordered structure with one atom on each "
                "occupied site and occupancies of 1"
            )
    for n, group in enumerate(_column(block, "_atom_site_disorder_group")):
        if str(group) not in (".", "?", "", "1"):
            raise DataError(
                f"site {labels[n]} is in the disorder group {group}: keep the atoms of "
                "one group and remove the column"
            )
    for n, flag in enumerate(_column(block, "_atom_site_calc_flag")):
        if str(flag) == "dum":
            raise DataError(f"site {labels[n]} is a dummy atom; remove it")
    for n, count in enumerate(_column(block, "_atom_site_attached_hydrogens")):
        if str(count) not in (".", "?", "", "0"):
            raise DataError(
                f"site {labels[n]} has {count} hydrogen atoms without positions; add "
                "them"
            )
    found = [_cif_symbol(s, bool(symbols)) for s in symbols or labels]
    numbers, _ = read_symbols(found)
    _check_formula(block, set(numbers.tolist()))
    if numbers.tolist() != Atoms(block.get_symbols()).numbers.tolist():
        raise DataError("ASE reads other elements; write symbols such as Cu, not CU")
    _check_origin(block)
    _check_shared_sites(block, numbers)


def _check_origin(block: Any) -> None:
    """Reject a space group with two origins if the file does not specify one."""
    if any(tag in block for tag in (*SYMMETRY_TAGS, SETTING_TAG)):
        return
    group = block.get_spacegroup(subtrans_included=True)
    if group.no in rhombohedral_spacegroups:
        hexagonal = np.allclose(block.get_cell().angles(), [90, 90, 120], atol=0.01)
        certain = hexagonal == (group.setting == 1)
    else:
        # monoclinic cells determine their unique axis
        certain = group.no < FIRST_ORTHORHOMBIC or not _has_two_settings(group.no)
    if not certain:
        raise DataError(
            f"the space group {group.symbol} has two settings, and the file does not "
            "specify it: add the symmetry operations (_space_group_symop_operation_xyz)"
        )


def _has_two_settings(number: int) -> bool:
    try:
        Spacegroup(number, 2)
    except SpacegroupNotFoundError:
        return False
    return True


def _check_shared_sites(block: Any, numbers: Int[np.ndarray, " sites"]) -> None:
    """Reject two elements at one position, of which the reader would keep one."""
    kind, coordinates = block._get_site_coordinates()
    cell = block.get_cell()
    if kind != "scaled" or cell.rank < 3 or len(set(numbers.tolist())) < 2:
        return
    group = block.get_spacegroup(subtrans_included=True)
    seen = np.zeros((0, 3))
    for element in sorted(set(numbers.tolist())):
        sites = np.asarray(coordinates[numbers == element], dtype=np.float64)
        images, _ = group.equivalent_sites(sites, onduplicates="replace")
        for image in images:
            step = seen - image
            distances = np.linalg.norm((step - step.round()) @ cell.array, axis=1)
            if (distances < MIN_DISTANCE).any():
                raise DataError(
                    f"{chemical_symbols[element]} has the same position "
                    f"{image.round(4).tolist()} as another element; make an ordered "
                    "structure with one atom on each site"
                )
        seen = np.concatenate([seen, images])


def _cif_symbol(symbol: Any, typed: bool) -> str:
    """Element of a symbol such as Cu2+, or of a label such as Cu1."""
    pattern = r"([A-Za-z]{1,2})(?:\d*[+-]|[+-]\d+|0)?" if typed else r"([A-Z][a-z]?)\d*"
    found = re.fullmatch(pattern, str(symbol).strip())
    if found is None or (not typed and len(str(symbol)) == 1 and symbol in "DT"):
        raise DataError(
            f"the element of site {str(symbol)[:20]!r} is ambiguous; give "
            "_atom_site_type_symbol, such as Cu"
        )
    return found[1].capitalize()


def _check_formula(block: Any, present: set[int]) -> None:
    """Reject a structure without the elements of its formula."""
    formula = block.get("_chemical_formula_sum")
    if not isinstance(formula, str):
        return
    words = re.findall(r"([A-Z][a-z]?)[\d.]*", formula)
    if not words or not re.fullmatch(r"(?:[A-Z][a-z]?[\d.]*\s*)+", formula.strip()):
        return
    for symbol in words:
        numbers, _ = read_symbols([symbol])
        if numbers[0] not in present:
            raise DataError(
                f"_chemical_formula_sum is {formula[:60]!r}, but there are no atoms of "
                f"{symbol}; add them, or correct the formula"
            )


def _column(block: Any, name: str) -> list[Any]:
    value = block.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _lammps_dump(lines: Sequence[str]) -> dict[str, Any]:
    columns: list[str] = []
    atoms: set[tuple[str, str]] = set()
    for line, following in pairwise([*lines, ""]):
        words = line.split()
        if words[:1] == ["ITEM:"]:
            columns = words[2:] if words[1:2] == ["ATOMS"] else []
        elif columns and len(words) == len(columns):
            known = dict(zip(columns, words, strict=True))
            atoms.add((known["element"], known.get("mass", "")))
        if words[:2] == ["ITEM:", "ATOMS"] and "element" not in words:
            raise DataError(
                "the dump has no column 'element', and types are not elements; write "
                "it with 'dump custom ... element' and 'dump_modify ... element', or "
                "convert it to extxyz"
            )
        if words[:3] == ["ITEM:", "BOX", "BOUNDS"] and not any(
            "p" in word or word in ("ff", "ss", "mm", "fs", "fm", "sm")
            for word in words[3:]
        ):
            raise DataError(
                "'ITEM: BOX BOUNDS' does not specify periodic directions, such as pp "
                "pp ff; add them"
            )
        if words[:2] == ["ITEM:", "UNITS"]:
            _check_units(following.strip())
    for symbol, mass in sorted(atoms):
        _check_element(symbol, mass)
    return {}


def _check_element(symbol: str, mass: str) -> None:
    """Reject symbols that an ASE reader does not support, and masses that it drops."""
    numbers, isotopes = read_symbols([symbol])
    expected = chemical_symbols[numbers[0]]
    if isotopes is not None:
        raise DataError(
            f"the element {symbol} is supported in extxyz and CIF only; convert it"
        )
    if symbol != expected:
        raise DataError(f"the element is written {symbol}; write {expected}")
    try:
        different = (
            abs(float(mass) - atomic_masses[numbers[0]]) > ELEMENT_MASS_TOLERANCE
        )
    except ValueError:
        return  # no mass
    if different:
        raise DataError(
            f"{symbol} has the mass {mass[:20]} u, which the reader drops; convert "
            "the file to extxyz with a column masses:R:1"
        )


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
                _check_element(symbol, words[1])
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


def _lammps_data(lines: Sequence[str]) -> dict[str, Any]:
    if lines and (found := re.search(r"units\s*=\s*(\w+)", lines[0])):
        _check_units(found[1])
    labels, masses = _lammps_types(lines)
    if not labels:
        raise DataError(
            "atom types are not elements; write the element of each type as a "
            "comment in the section Masses, such as '1 28.0855 # Si', or as a label in "
            "the section Atom Type Labels, or convert the file to extxyz"
        )
    numbers, isotopes = read_symbols(list(labels.values()))
    expected = atomic_masses[numbers] if isotopes is None else isotopes
    for (kind, symbol), mass in zip(labels.items(), expected, strict=True):
        if kind in masses and abs(masses[kind] - mass) > 10 * ISOTOPE_MASS_TOLERANCE:
            raise DataError(
                f"type {kind} is called {symbol}, but has the mass {masses[kind]:g} u; "
                "correct one of them"
            )
    return {"Z_of_type": dict(zip(labels, numbers.tolist(), strict=True))}


def _lammps_types(lines: Sequence[str]) -> tuple[dict[int, str], dict[int, float]]:
    """Elements and masses of the atom types; no elements unless all are specified."""
    labels: dict[int, str] = {}
    comments: dict[int, str] = {}
    masses: dict[int, float] = {}
    section = ""
    for line in lines[1:]:
        text, _, comment = line.partition("#")
        words = text.split()
        if not words:
            continue
        if not re.match(r"[-+.\d]", words[0]):
            section = " ".join(words)
        elif section == "Masses" and len(words) == 2:
            masses[int(words[0])] = float(words[1])
            comments[int(words[0])] = comment.strip()
        elif section == "Atom Type Labels":
            labels[int(words[0])] = words[1]
    if not labels and all(comments.values()):
        labels = comments
    return labels, masses


def _check_units(units: str) -> None:
    if units not in UNITS:
        raise DataError(
            f"has LAMMPS units {units[:20]!r}; positions must be in Å, as in the units "
            f"{' and '.join(UNITS)}: convert the file to extxyz"
        )


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
    "lammps-data": _lammps_data,
    "lammps-dump-text": _lammps_dump,
    "mol": _mol,
    "proteindatabank": _pdb,
    "sdf": _mol,
    "turbomole": _turbomole,
    "vasp": _vasp,
}
"""Formats whose readers guess elements, and the check of each."""
