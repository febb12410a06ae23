"""Read and check Hessians from structure files and .npz files."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from equipot.data.ragged import RaggedMatrices
from equipot.data.reading.errors import DataError
from equipot.data.reading.npz_file import header, members, opened
from equipot.data.structure import Structure

MAX_TEXT_ENTRIES: Final = 100_000
"""Maximum number of entries of a Hessian in a text file: 105 atoms."""
MAX_ENTRY: Final = 1e9
"""Maximum entry in eV/Å^2."""
MAX_ASYMMETRY: Final = 0.02
"""Maximum difference from the transpose, relative to the largest entry."""
CM1_PER_ROOT: Final = 521.4708983725064
"""Wavenumber in 1/cm of the square root of 1 eV/Å^2/u."""
MAX_WAVENUMBER: Final = 6000.0
"""Maximum wavenumber in 1/cm of a Hessian in eV/Å^2; H2 has 4400."""
MIN_WAVENUMBER: Final = 30.0
"""Minimum of the highest wavenumber in 1/cm of a structure; caesium, the softest
metal, has 40."""
MIN_WAVENUMBER_HYDROGEN: Final = 600.0
"""The same if hydrogen is bonded to a nonmetal."""
NONMETALS: Final = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
"""Atomic numbers of elements with stiff bonds to hydrogen."""


def parse_hessian(
    value: Any, atoms: Atoms, name: str
) -> Float[np.ndarray, "rows rows"]:
    """Check and symmetrize a Hessian.

    Args:
        value: Numbers in eV/Å^2: ``(3 N, 3 N)``, ``(N, 3, N, 3)``, or flat.
        atoms: Structure of the Hessian.
        name: File and entry, for messages.

    Returns:
        The mean of the matrix and its transpose, in float64.

    Raises:
        DataError: If it is not finite, has another shape, is not symmetric, or has
            frequencies that are impossible for eV/Å^2.
    """
    rows = 3 * len(atoms)
    try:
        array = np.asarray(value).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name}: must contain numbers, got {str(value)[:60]!r}"
        ) from error
    if array.size != rows**2 or array.shape not in {
        (rows, rows),
        (len(atoms), 3, len(atoms), 3),
        (rows**2,),
    }:
        raise DataError(_wrong_shape(name, atoms, array.shape))
    matrix = array.reshape(rows, rows)
    if not np.isfinite(matrix).all():
        raise DataError(
            f"{name}: contains values that are not finite; omit the Hessian where it "
            "was not computed"
        )
    if (largest := np.abs(matrix).max()) > MAX_ENTRY:
        raise DataError(f"{name}: contains {largest:.3g}, expected numbers in eV/Å^2")
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > MAX_ASYMMETRY * np.abs(matrix).max():
        raise DataError(
            f"{name}: differs from its transpose by up to {asymmetry:.3g} eV/Å^2, the "
            f"largest entry is {np.abs(matrix).max():.3g}; a Hessian is symmetric: are "
            "its rows and columns (atom, xyz)?"
        )
    matrix = (matrix + matrix.T) / 2
    _check_units(matrix, atoms, name)
    return matrix


def highest_frequency(hessian: Float[np.ndarray, "rows rows"], atoms: Atoms) -> float:
    """Highest harmonic frequency of a structure, as a wavenumber in 1/cm.

    Args:
        hessian: Hessian in eV/Å^2.
        atoms: Structure, for its masses.
    """
    root = np.repeat(atoms.get_masses(), 3) ** -0.5
    largest = np.linalg.eigvalsh(hessian * root[:, None] * root)[-1]
    return float(CM1_PER_ROOT * np.sqrt(max(largest, 0.0)))


def in_text(value: Any, atoms: Atoms, name: str) -> RaggedMatrices | None:
    """Hessian within a structure file; None if the value is the name of an entry.

    Raises:
        DataError: If it is invalid, or too large for text.
    """
    if value is None or isinstance(value, str | int | np.integer):
        return None
    if np.size(value) > MAX_TEXT_ENTRIES:
        raise DataError(
            f"{name}: {np.size(value)} numbers of a Hessian in a text file lose digits "
            "and take minutes to read; store it in a .npz file and set that in "
            "data.hessians"
        )
    return as_label(parse_hessian(value, atoms, name))


def as_label(hessian: Float[np.ndarray, "rows rows"]) -> RaggedMatrices:
    """Convert the Hessian of one structure to a label."""
    return RaggedMatrices.of([torch.from_numpy(hessian.copy())])


def attach_hessians(
    structures: Sequence[Structure], path: Path, entries: Sequence[Any]
) -> list[Structure]:
    """Add the Hessians of a .npz file to structures.

    Args:
        structures: All frames of one file, in order.
        path: File of arrays.
        entries: Name of the entry for each structure; None for the entry named by the
            index of the frame, if there is one.

    Returns:
        The structures; those without an entry are unchanged.

    Raises:
        DataError: If the file cannot be read, an entry matches no structure, a named
            entry is missing, a structure has two Hessians, or a Hessian is invalid.
    """
    with opened(path, ", set in data.hessians") as archive:
        entries_of_file = members(archive, path)
        names = _assign(structures, path, entries, list(entries_of_file))
        out = []
        for structure, name in zip(structures, names, strict=True):
            if name is None:
                out.append(structure)
                continue
            if structure.labels.hessian is not None:
                raise DataError(
                    f"{structure.source}: has a Hessian in the structure file and "
                    f"one in {path}; remove one"
                )
            where = f"{path}[{name!r}]"
            array = _read_member(archive, entries_of_file[name], structure.atoms, where)
            label = as_label(parse_hessian(array, structure.atoms, where))
            labels = replace(structure.labels, hessian=label)
            out.append(replace(structure, labels=labels))
    return out


def _assign(
    structures: Sequence[Structure],
    path: Path,
    entries: Sequence[Any],
    available: Sequence[str],
) -> list[str | None]:
    """Entry of every structure."""
    by_number = {
        int(name): name for name in available if name.isascii() and name.isdecimal()
    }
    names: list[str | None] = []
    for n, (structure, entry) in enumerate(zip(structures, entries, strict=True)):
        if not isinstance(entry, str | int | np.integer):
            names.append(by_number.get(n))
            continue
        # parsers of text convert 007 to 7
        named = entry if isinstance(entry, str) else by_number.get(int(entry))
        if named not in available:
            raise DataError(
                f"{structure.source}: has the Hessian {str(entry)[:60]!r}, which "
                f"{path} does not contain; it has {_some(available)}"
            )
        names.append(named)
    if left := sorted(set(available) - set(names)):
        raise DataError(
            f"{path}: {len(left)} of {len(available)} entries match no structure "
            f"({_some(left)}), of {len(structures)} in the file; name entries by the "
            "index of the frame, from 0, or by data.keys.hessian in the structures"
        )
    return names


def _read_member(
    archive: ZipFile, member: ZipInfo, atoms: Atoms, name: str
) -> np.ndarray:
    """Read the array of an entry after its header is checked.

    A few bytes can declare, and decompress to, any amount of data.
    """
    shape, dtype = header(archive, member)
    rows = 3 * len(atoms)
    if dtype.hasobject:
        raise DataError(
            f"{name}: cannot be read as .npz: Object arrays are pickles, and reading "
            "a pickle can execute any code; save numbers"
        )
    if dtype.kind not in "fiu" or dtype.itemsize > 16:
        raise DataError(f"{name}: must contain numbers, got {str(dtype)[:60]}")
    if math.prod(shape) != rows**2:
        raise DataError(_wrong_shape(name, atoms, shape))
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _wrong_shape(name: str, atoms: Atoms, shape: tuple[int, ...]) -> str:
    rows = 3 * len(atoms)
    return (
        f"{name}: the Hessian of {len(atoms)} atoms must have shape "
        f"({rows}, {rows}), rows and columns in the order of atoms and xyz; got "
        f"{str(shape)[:100]}"
    )


def _check_units(
    hessian: Float[np.ndarray, "rows rows"], atoms: Atoms, name: str
) -> None:
    """Reject frequencies that are impossible for a Hessian in eV/Å^2."""
    if len(atoms) < 2:
        return
    highest = highest_frequency(hessian, atoms)
    numbers = set(atoms.numbers.tolist())
    stiff = 1 in numbers and numbers <= NONMETALS
    lowest = MIN_WAVENUMBER_HYDROGEN if stiff else MIN_WAVENUMBER
    if lowest <= highest <= MAX_WAVENUMBER:
        return
    raise DataError(
        f"{name}: the highest frequency would be {highest:.4g}/cm, expected "
        f"{lowest:.0f} to {MAX_WAVENUMBER:.0f}; is the Hessian in eV/Å^2? Multiply "
        "by 97.17 from Hartree/Bohr^2, by 0.04336 from kcal/mol/Å^2, by 0.06242 "
        "from N/m; do not divide by masses"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:5]) + (
        ", ..." if len(names) > 5 else ""
    )
