"""Checks that text files contain the atoms that they declare, and nothing is ignored.

Readers of ASE take the atoms that there are, as if nothing were missing, and of several
molecules in an SDF file the first.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

from ase.io.formats import open_with_compression

from equipot.data.reading.errors import DataError

Words = list[str]
"""Words of a line."""


def refuse_missing_atoms(path: Path, format_name: str) -> None:
    """Reject a file that declares more atoms than it contains.

    Args:
        path: File of structures.
        format_name: Its format in ASE; only those of `COUNTED` are examined.

    Raises:
        DataError: If atoms are missing; the message states both numbers.
        Exception: Whatever broken contents lead to.
    """
    if format_name not in COUNTED:
        return
    with open_with_compression(str(path), "r") as file:
        lines = file.read().splitlines()
    for declared, found in COUNTED[format_name](lines):
        if found < declared:
            raise DataError(f"declares {declared} atoms, got {found}")


def _gen(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    declared = int(lines[0].split()[0])
    yield declared, _leading(lines[2 : 2 + declared], lambda w: len(w) >= 5)


def _mol(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Rows ``x y z symbol``; bonds, which follow them, are numbers only."""
    declared = int(lines[3][:3])
    yield (
        declared,
        _leading(lines[4 : 4 + declared], lambda w: w[3:] != [] and w[3][0].isalpha()),
    )


def _sdf(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The molecule of a file; `DataError` if there are several."""
    ends = [n for n, line in enumerate(lines) if line.strip() == "$$$$"]
    if ends and any(line.strip() for line in lines[ends[0] + 1 :]):
        raise DataError(
            "contains several molecules, of which the reader supports only the first; "
            "write each to a file of its own, or convert them to extxyz"
        )
    return _mol(lines)


def _lammps_dump(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    starts = [n for n, line in enumerate(lines) if line.startswith("ITEM: NUMBER")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        frame = [line.split() for line in lines[start:stop]]
        items = [n for n, words in enumerate(frame) if words[1:2] == ["ATOMS"]]
        rows = frame[items[0] + 1 :] if items else []
        found = len(list(takewhile(lambda words: words[:1] != ["ITEM:"], rows)))
        yield int(lines[start + 1]), found


def _rmc6f(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    titles = [line.partition(":")[0].strip() for line in lines]
    if "Number of atoms" in titles and "Atoms" in titles:
        declared = int(lines[titles.index("Number of atoms")].split(":")[1])
        yield declared, _leading(lines[titles.index("Atoms") + 1 :], bool)


def _dl_poly(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Two lines or more per atom, the first with its name."""
    if counts := lines[1].split()[2:3]:
        yield int(counts[0]), sum(line[:1].isalpha() for line in lines[2:])


def _leading(lines: Sequence[str], is_atom: Callable[[Words], bool]) -> int:
    """Number of rows of atoms before the first line that is none."""
    return len(list(takewhile(is_atom, (line.split() for line in lines))))


COUNTED: Final[dict[str, Callable[[Sequence[str]], Iterator[tuple[int, int]]]]] = {
    "dlp4": _dl_poly,
    "gen": _gen,
    "lammps-dump-text": _lammps_dump,
    "mol": _mol,
    "rmc6f": _rmc6f,
    "sdf": _sdf,
}
"""Formats with a number of atoms; declared and found numbers of their structures."""
