"""Checks of CIF files for disorder, unclear elements and unclear space groups."""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io.cif import parse_cif, rhombohedral_spacegroups
from ase.io.formats import open_with_compression
from ase.neighborlist import neighbor_list
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import SpacegroupNotFoundError
from jaxtyping import Int

from equipot.data.reading.chemical_symbols import read_symbols
from equipot.data.reading.errors import DataError

OCCUPANCY_TOLERANCE: Final = 1e-3
"""Tolerance within which an occupancy is 1."""
MIN_DISTANCE: Final = 0.3
"""Distance in Å below which two atoms share a site."""
FIRST_ORTHORHOMBIC: Final = 16
SETTING_TAG: Final = "_symmetry_space_group_setting"
SYMMETRY_TAGS: Final = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
CIF_DEUTERIUM_MASS: Final = 2.01355
"""Mass in u that ASE's CIF reader assigns to deuterium."""


def check_cif_file(path: Path) -> None:
    """Reject a CIF file if a structure in it is disordered or unclear.

    Args:
        path: CIF file, may be compressed.

    Raises:
        DataError: If elements would be guessed, or sites are not fully occupied.
        Exception: Whatever broken contents lead to.
    """
    with open_with_compression(str(path), "rb") as file:
        for block in parse_cif(file):
            _check_case(block)
            if block.has_structure():
                _check_cif(block)


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


def check_distances(atoms: Atoms) -> None:
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
