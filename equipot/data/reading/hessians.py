"""Hessians as labels: read from structures or from .npz files, and checked."""

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

LARGEST_TEXT: Final = 100_000
"""Entries of a Hessian beyond which it must be in a .npz file: 105 atoms."""
LARGEST: Final = 1e9
"""Entry in eV/Å^2 that nothing has."""
ASYMMETRY: Final = 0.02
"""Largest difference from the transpose, relative to the largest entry."""
CM1_PER_ROOT: Final = 521.4708983725064
"""Wave number in 1/cm of a curvature of 1 eV/Å^2/u."""
HIGHEST: Final = 6000.0
"""Wave number in 1/cm above which units must be wrong: that of H2 is 4400."""
LOWEST: Final = 30.0
"""Highest wave number in 1/cm of a structure below which units must be wrong: that of
caesium, the softest of metals, is 40."""
LOWEST_HYDROGEN: Final = 600.0
"""The same with hydrogen bound to an atom that is not a metal."""
NONMETALS: Final = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
"""Atomic numbers of elements whose bonds to hydrogen are stiff."""


def parse_hessian(
    value: Any, atoms: Atoms, name: str
) -> Float[np.ndarray, "rows rows"]:
    """Check a Hessian and make it symmetric.

    Args:
        value: Numbers in eV/Å^2: ``(3 N, 3 N)``, ``(N, 3, N, 3)``, or flat.
        atoms: Structure that it belongs to.
        name: File and entry for messages.

    Returns:
        The mean of the matrix and its transpose, in float64.

    Raises:
        DataError: If it does not hold finite numbers, has another shape, is not
            symmetric, or gives frequencies that no structure has in eV/Å^2.
    """
    rows = 3 * len(atoms)
    try:
        array = np.asarray(value).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name}: must hold numbers, got {str(value)[:60]!r}"
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
            f"{name}: holds values that are not finite; leave the Hessian out where it "
            "was not computed"
        )
    if (largest := np.abs(matrix).max()) > LARGEST:
        raise DataError(f"{name}: holds {largest:.3g}, expected numbers in eV/Å^2")
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > ASYMMETRY * np.abs(matrix).max():
        raise DataError(
            f"{name}: differs from its transpose by up to {asymmetry:.3g} eV/Å^2, the "
            f"largest entry is {np.abs(matrix).max():.3g}; a Hessian is symmetric: are "
            "its rows and columns (atom, xyz)?"
        )
    matrix = (matrix + matrix.T) / 2
    _check_units(matrix, atoms, name)
    return matrix


def highest_frequency(hessian: Float[np.ndarray, "rows rows"], atoms: Atoms) -> float:
    """Highest harmonic frequency of a structure in 1/cm.

    Args:
        hessian: In eV/Å^2.
        atoms: Their masses are used.
    """
    root = np.repeat(atoms.get_masses(), 3) ** -0.5
    largest = np.linalg.eigvalsh(hessian * root[:, None] * root)[-1]
    return float(CM1_PER_ROOT * np.sqrt(max(largest, 0.0)))


def in_text(value: Any, atoms: Atoms, name: str) -> RaggedMatrices | None:
    """Hessian that a file of structures holds itself; None for the name of an entry.

    Raises:
        DataError: If it does not make sense, or is too large for text.
    """
    if value is None or isinstance(value, str | int | np.integer):
        return None
    if np.size(value) > LARGEST_TEXT:
        raise DataError(
            f"{name}: {np.size(value)} numbers of a Hessian in a text file lose digits "
            "and take minutes to read; put it into a .npz file and name that in "
            "data.hessians"
        )
    return as_label(parse_hessian(value, atoms, name))


def as_label(hessian: Float[np.ndarray, "rows rows"]) -> RaggedMatrices:
    """Label of one structure."""
    return RaggedMatrices.of([torch.from_numpy(hessian.copy())])


def attach_hessians(
    structures: Sequence[Structure], path: Path, entries: Sequence[Any]
) -> list[Structure]:
    """Give structures the Hessians of a .npz file.

    Args:
        structures: All frames of one file, in its order.
        path: File of arrays.
        entries: What each structure says of its Hessian: the name of an entry, or None
            for the entry of its number in the file, if there is one.

    Returns:
        The structures; those without an entry as they were.

    Raises:
        DataError: If the file cannot be read; if an entry belongs to no structure, or
            one that is named is missing; if two Hessians are given for a structure or
            one does not make sense.
    """
    with opened(path, ", which data.hessians names") as archive:
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
        # readers of text turn 007 into 7
        named = entry if isinstance(entry, str) else by_number.get(int(entry))
        if named not in available:
            raise DataError(
                f"{structure.source}: names the Hessian {str(entry)[:60]!r}, which "
                f"{path} does not hold; it has {_some(available)}"
            )
        names.append(named)
    if left := sorted(set(available) - set(names)):
        raise DataError(
            f"{path}: {len(left)} of {len(available)} entries belong to no structure "
            f"({_some(left)}), of {len(structures)} in the file; name entries by the "
            "number of the frame, from 0, or by data.keys.hessian in the structures"
        )
    return names


def _read_member(
    archive: ZipFile, member: ZipInfo, atoms: Atoms, name: str
) -> np.ndarray:
    """Array of an entry, of which nothing is read before its header makes sense.

    A few bytes can announce, and decompress to, any amount of numbers.
    """
    shape, dtype = header(archive, member)
    rows = 3 * len(atoms)
    if dtype.hasobject:
        raise DataError(
            f"{name}: cannot be read as .npz: Object arrays are pickles, and reading "
            "one can run any code; save numbers"
        )
    if dtype.kind not in "fiu" or dtype.itemsize > 16:
        raise DataError(f"{name}: must hold numbers, got {str(dtype)[:60]}")
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
    """Refuse frequencies that no structure has in eV/Å^2."""
    if len(atoms) < 2:
        return
    highest = highest_frequency(hessian, atoms)
    numbers = set(atoms.numbers.tolist())
    stiff = 1 in numbers and numbers <= NONMETALS
    lowest = LOWEST_HYDROGEN if stiff else LOWEST
    if lowest <= highest <= HIGHEST:
        return
    raise DataError(
        f"{name}: the highest frequency would be {highest:.4g}/cm, expected "
        f"{lowest:.0f} to {HIGHEST:.0f}; is the Hessian in eV/Å^2? Multiply by 97.17 "
        "from Hartree/Bohr^2, by 0.04336 from kcal/mol/Å^2, by 0.06242 from N/m; do "
        "not divide by masses"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:5]) + (
        ", ..." if len(names) > 5 else ""
    )
