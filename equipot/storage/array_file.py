"""Write NumPy archives atomically."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from equipot.storage.atomic_file import write_atomically


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace a file by a compressed archive (.npz) of arrays, in one step.

    Args:
        path: File.
        arrays: Numbers by name.

    Raises:
        OSError: If that fails; the message names the file, which is unchanged.
    """
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_atomically(path, content.getvalue())
