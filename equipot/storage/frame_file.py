"""Write structures as extended XYZ atomically."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import ase.io
from ase import Atoms

from equipot.storage.atomic_file import write_atomically


def extxyz(frames: Atoms | Sequence[Atoms]) -> bytes:
    """Structures as extended XYZ text, with all their data.

    Args:
        frames: One or several structures.
    """
    text = StringIO()
    ase.io.write(text, frames, format="extxyz")
    return text.getvalue().encode()


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Replace a file by structures, in one step.

    Raises:
        OSError: If that fails; the message names the file, which is unchanged.
    """
    write_atomically(path, extxyz(frames))
