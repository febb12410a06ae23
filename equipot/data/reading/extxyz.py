"""Read extended XYZ and plain XYZ files in all common dialects."""

import sys
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_masses
from ase.io.formats import open_with_compression
from jaxtyping import Float, Shaped

from equipot.data.reading.chemical_symbols import read_symbols, set_isotopes
from equipot.data.reading.errors import DataError
from equipot.data.reading.extxyz_columns import read_columns
from equipot.data.reading.extxyz_header import MAX_LINE_LENGTH, parse_header

PER_ATOM: Final = {"forces", "charges", "magmoms", "energies", "stresses"}
"""Per-atom calculation results, stored as columns; all other results are keys."""
MASS_UNITS: Final = {"eV fs^2/Å^2 (QUIP)": 103.6426957, "electron masses": 1822.888486}
"""Value of 1 u in other units of mass."""
MIN_UNIT_RATIO: Final = 30.0
"""Ratio of masses to those of the elements that indicates another unit."""


def extxyz_frames(path: Path) -> Iterator[Atoms]:
    """Frames of a file, with calculation results in a calculator, as in ASE.

    Args:
        path: File, which may be compressed.

    Yields:
        One structure per frame.

    Raises:
        DataError: If a frame is invalid or ambiguous; the message has the file, the
            frame and its line.
    """
    # comments may have any encoding; everything else is ASCII
    with (
        open_with_compression(str(path), "rb") as binary,
        TextIOWrapper(binary, encoding="utf-8-sig", errors="replace") as file,
    ):
        line_number, count = 0, 0
        while header := _line(file.readline):
            line_number += 1
            if not header.strip():
                continue
            where = f"{path}#{count}, line {line_number}"
            try:
                num_atoms = _count(header)
                yield _frame(list(_block(file.readline, num_atoms)))
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            except Exception as error:  # ASE raises any type
                kind = type(error).__name__
                raise DataError(
                    f"{where}: is not extxyz: {kind}: {str(error)[:500]}"
                ) from error
            line_number += num_atoms + 1
            count += 1


def _line(readline: Callable[[int], str]) -> str:
    """Next line, of limited length."""
    line = readline(MAX_LINE_LENGTH + 1)
    if len(line) > MAX_LINE_LENGTH:
        raise DataError(
            f"a line has more than {MAX_LINE_LENGTH} characters: is this extended XYZ?"
        )
    return line


def _count(header: str) -> int:
    """Number of atoms in the first line of a frame."""
    word = header.strip()
    digits = word.removeprefix("+").removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 40:
        raise DataError(f"expected a number of atoms, got {word[:60]!r}")
    if int(word) < 1:
        raise DataError(f"declares {int(word)} atoms")
    return int(word)


def _block(readline: Callable[[int], str], num_atoms: int) -> Iterator[str]:
    """Second line of a frame, and one line per atom."""
    lines = iter(lambda: _line(readline), "")
    found = -1
    for line in islice(lines, min(num_atoms, sys.maxsize - 1) + 1):
        found += 1
        yield line
    if found < num_atoms:
        raise DataError(f"declares {num_atoms} atoms, got {max(found, 0)}")


def _frame(block: Sequence[str]) -> Atoms:
    header = parse_header(block[0])
    arrays = read_columns(header.properties, block[1:])
    numbers, isotopes = _elements(arrays)
    atoms = Atoms(
        numbers,
        positions=arrays.pop("positions"),
        cell=header.cell,
        pbc=header.pbc,
        info=header.info,
    )
    if "masses" in arrays:
        _set_masses(atoms, arrays.pop("masses"))
    set_isotopes(atoms, isotopes)
    if "move_mask" in arrays:
        _fix(atoms, ~arrays.pop("move_mask"))
    _distribute(atoms, arrays)
    return atoms


def _elements(
    arrays: dict[str, Any],
) -> tuple[Shaped[np.ndarray, "..."], Float[np.ndarray, " atoms"] | None]:
    """Atomic numbers from symbols, numbers, or both if they agree."""
    symbols, numbers = arrays.pop("symbols", None), arrays.pop("numbers", None)
    if symbols is None:
        return numbers, None
    found, isotopes = read_symbols(symbols)
    if numbers is not None and (found != numbers).any():
        bad = int(np.flatnonzero(found != numbers)[0])
        raise DataError(
            f"atom {bad} has the symbol {symbols[bad]} and the atomic number "
            f"{numbers[bad]}; correct one of them"
        )
    return found, isotopes


def _set_masses(atoms: Atoms, masses: Float[np.ndarray, " atoms"]) -> None:
    with np.errstate(all="ignore"):
        ratio = np.median(masses / atomic_masses[np.clip(atoms.numbers, 0, 118)])
    if MIN_UNIT_RATIO < ratio < np.inf or 0 < ratio < 1 / MIN_UNIT_RATIO:
        near = [n for n, u in MASS_UNITS.items() if u / 2 < ratio < 2 * u]
        advice = f", not {near[0]}" if near else ""
        raise DataError(
            f"masses are {ratio:.4g} times those of the elements, expected u{advice}: "
            "convert them"
        )
    atoms.set_array("masses", masses)


def _fix(atoms: Atoms, fixed: Shaped[np.ndarray, "..."]) -> None:
    if fixed.ndim == 1:
        atoms.set_constraint(FixAtoms(mask=fixed))
        return
    whole = fixed.all(axis=1)
    partly = np.flatnonzero(fixed.any(axis=1) & ~whole)
    constraints: list[Any] = [FixAtoms(mask=whole)] if whole.any() else []
    constraints += [FixCartesian(int(n), mask=fixed[n]) for n in partly]
    atoms.set_constraint(constraints)


def _distribute(atoms: Atoms, arrays: dict[str, Any]) -> None:
    """Move columns and keys to where ASE stores them."""
    results = {}
    for name, value in arrays.items():
        if name in PER_ATOM:
            results[name] = value
        else:
            atoms.set_array(name, value)
    for key in [k for k in atoms.info if k in all_properties and k not in PER_ATOM]:
        value = atoms.info.pop(key)
        results[key] = _voigt(value) if key == "stress" else value
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)


def _voigt(value: Any) -> Any:
    """Convert nine numbers of a symmetric stress to six, in ASE's order."""
    array = np.asarray(value)
    if array.size != 9 or array.dtype.kind not in "fi":
        return value
    matrix = array.reshape(3, 3).astype(np.float64)
    if np.abs(matrix - matrix.T).max() > 1e-3 * np.abs(matrix).max():
        raise DataError("stress is not symmetric; is it a stress?")
    return ((matrix + matrix.T) / 2).reshape(9)[[0, 4, 8, 5, 2, 1]]
