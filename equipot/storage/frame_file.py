"""Structures as extended XYZ, written whole or not at all."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import ase.io
from ase import Atoms

from equipot.storage.atomic_file import write_atomically


def extxyz(frames: Atoms | Sequence[Atoms]) -> bytes:
    """Text of structures with what they carry.

    Args:
        frames: One structure, or several.
    """
    text = StringIO()
    ase.io.write(text, frames, format="extxyz")
    return text.getvalue().encode()


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Replace a file by structures, in one step.

    Raises:
        OSError: If that fails; names the file, which is then as it was.
    """
    write_atomically(path, extxyz(frames))
