"""Archives of Hessians (.npz), and the structures that they belong to."""

import io
import warnings
import zipfile
from functools import cache

import numpy as np

STRUCTURES = b"""2
Properties=species:S:1:pos:R:3 pbc="F F F"
H 0.0 0.0 0.0
H 0.0 0.0 0.75
2
Properties=species:S:1:pos:R:3 pbc="F F F"
H 0.0 0.0 0.0
H 0.0 0.0 0.76
"""


def hessian() -> np.ndarray:
    """Hessian of H2 in eV/Å^2, shape (6, 6)."""
    out = np.zeros((6, 6))
    out[2, 2] = out[5, 5] = 36.0
    out[2, 5] = out[5, 2] = -36.0
    return out


def npy(array: np.ndarray) -> bytes:
    """Array as .npy, pickled where its type needs it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(text: bytes) -> bytes:
    """The Hessian as .npy, behind a header of any text."""
    size = min(len(text) + 1, 65535).to_bytes(2, "little")
    return b"\x93NUMPY\x01\x00" + size + text + b"\n" + hessian().tobytes()


def archive(entries: list[tuple[str, bytes]], compression: int = 8) -> bytes:
    """Zip of files; a name may occur twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


@cache
def hessian_seeds() -> list[bytes]:
    """Archives that are read: deflated, stored, of other shapes and precision."""
    full = hessian()
    return [
        archive([("000.npy", npy(full)), ("1.npy", npy(full.astype("f4")))]),
        archive([("0.npy", npy(np.asfortranarray(full)))], 0),
        archive([("0.npy", npy(full.reshape(-1)))], 0),
        archive([("1.npy", npy(full.reshape(2, 3, 2, 3)))], 14),
    ]
