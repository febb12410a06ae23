"""Archives of Hessians (.npz): honest ones, and ones with lies in every field."""

import io
import struct
import warnings
import zipfile
from random import Random

import numpy as np

from fuzzing.mutators import BINARY, change_digits, change_number, damage

STRUCTURES = b"""2
Properties=species:S:1:pos:R:3 pbc="F F F"
H 0.0 0.0 0.0
H 0.0 0.0 0.75
2
Properties=species:S:1:pos:R:3 pbc="F F F"
H 0.0 0.0 0.0
H 0.0 0.0 0.76
"""
"""Structures that the Hessians belong to."""


class _Payload:
    """Pickled, it would make a folder where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os  # noqa: PLC0415

        return os.mkdir, ("equipot-fuzzer-was-here",)


def hessian() -> np.ndarray:
    """Hessian of H2 in eV/Å^2."""
    out = np.zeros((6, 6))
    out[2, 2] = out[5, 5] = 36.0
    out[2, 5] = out[5, 2] = -36.0
    return out


def npy(array: np.ndarray) -> bytes:
    """Array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def archive(entries: list[tuple[str, bytes]], compression: int = 8) -> bytes:
    """Zip of files; a name may occur twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def hessian_seeds() -> dict[str, bytes]:
    """Archives that are read."""
    arrays = [("000.npy", npy(hessian())), ("1.npy", npy(hessian().astype("f4")))]
    flat = [("0.npy", npy(np.asfortranarray(hessian()))), ("1.npy", npy(hessian()))]
    return {
        "deflated": archive(arrays),
        "stored": archive(flat, 0),
        "flat": archive([("0.npy", npy(hessian().reshape(-1)))], 0),
        "one": archive([("1.npy", npy(hessian().reshape(2, 3, 2, 3)))], 14),
    }


def mutated_archive(rng: Random, seeds: dict[str, bytes]) -> tuple[str, bytes]:
    """Mutation and archive."""
    match rng.randrange(10):
        case 0 | 1:
            name = rng.choice(list(seeds))
            return "bytes", damage(seeds[name], BINARY, rng)
        case 2 | 3 | 4:
            content = _header(rng)
            compression = rng.choice((0, 8))
            entries = [(rng.choice(("0.npy", "1.npy")), content)]
            return "header", archive(entries, compression)
        case 5:
            return "array", archive([("0.npy", npy(_array(rng)))], rng.choice((0, 8)))
        case 6:
            entries = [
                (rng.choice(NAMES), npy(hessian())) for _ in range(rng.randint(1, 4))
            ]
            return "names", archive(entries, rng.choice((0, 8, 12, 14)))
        case 7:
            return "sizes", _lie(rng, archive([("0.npy", npy(hessian()))]))
        case 8:
            content = damage(npy(hessian()), BINARY, rng)
            return "npy", archive([("0.npy", content)], rng.choice((0, 8)))
        case _:
            return rng.choice(FIXED)


NAMES = (
    "0.npy", "1.npy", "00.npy", "0", "2.npy", "-1.npy", "a.npy", "../x.npy", "/0.npy",
    "\u0663.npy", "0.npy.npy", "\x00.npy", ".npy", "9" * 5000 + ".npy", "0\n.npy",
    "\u00b2.npy", "1e0.npy",
)  # fmt: skip


def _header(rng: Random) -> bytes:
    """Array whose header says something else."""
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (6, 6), }"
    match rng.randrange(4):
        case 0:
            text = text.replace(b"(6, 6)", rng.choice(SHAPES))
        case 1:
            text = text.replace(b"'<f8'", rng.choice(TYPES))
        case 2:
            text = rng.choice((change_number, change_digits))(text, rng)
        case _:
            text = damage(text, BINARY, rng)
    version = rng.choice(
        (b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00")
    )
    size = len(text) + 1
    if rng.random() < 0.1:
        size = rng.choice((0, 1, 65535, 2**31 - 1))
    length = (
        struct.pack("<H", min(size, 65535))
        if version == b"\x01\x00"
        else struct.pack("<I", size)
    )
    return b"\x93NUMPY" + version + length + text + b"\n" + hessian().tobytes()


SHAPES = (
    b"(36,)", b"(2, 3, 2, 3)", b"(6, -6)", b"(1000000000000,)", b"(2**40,)",
    b"(4294967296, 4294967296)", b"(0, 6)", b"()", b"(True, 36)", b"(6.0, 6)",
    b"(" * 500 + b")" * 500, b"(6, 6, " + b"1, " * 100 + b")", b"'66'", b"None",
    b"(9223372036854775807, 2)", b"(100000, 100000)", b"(" + b"9" * 5000 + b",)",
)  # fmt: skip
TYPES = (
    b"'|O'", b"'<f4'", b"'>f8'", b"'<f2'", b"'<c16'", b"'|S1000000000'", b"'<U99999999'",
    b"'<M8[s]'", b"'|V1000000000'", b"[('a', '<f8'), ('b', '<f8', (1000000, 1000))]",
    b"'<f16'", b"'|b1'", b"'<i8'", b"8", b"None", b"'|u1'", b"'object'", b"'<m8'",
)  # fmt: skip


def _array(rng: Random) -> np.ndarray:
    array = hessian()
    match rng.randrange(7):
        case 0:
            array[rng.randrange(6), rng.randrange(6)] = rng.choice(
                (np.nan, np.inf, -np.inf, 1e308, 1e-320, 1e200)
            )
        case 1:
            array *= rng.choice((0.0, -1.0, 1e-9, 1e9, 1e155, 1e300, np.nan))
        case 2:
            return np.array(
                [[rng.choice((None, "a", _Payload(), {}, 1.5))]], dtype=object
            )
        case 3:
            return np.zeros((2000, 2000))
        case 4:
            return array.astype(
                rng.choice(("f2", "i1", "c8", "bool", "S8", "U8", "u8"))
            )
        case 5:
            return np.zeros(rng.choice(((0,), (), (6,), (12, 12), (0, 6), (3, 12))))
        case _:
            return np.array(["x" * 100000] * 3)
    return array


def _lie(rng: Random, data: bytes) -> bytes:
    """Overwrite a field of the directory of a zip: size, offset, method, flags."""
    place = data.rfind(b"PK\x01\x02")
    field, size = rng.choice(
        ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (42, 4), (28, 2))
    )
    value = rng.choice(
        (0, 1, 2, 8, 12, 14, 93, 99, 2 ** (8 * size) - 1, 2 ** (8 * size - 1) - 1)
    )
    out = bytearray(data)
    out[place + field : place + field + size] = value.to_bytes(size, "little")
    return bytes(out)


def _bomb() -> bytes:
    """64 MB of zeros, declared as what they are."""
    return archive([("0.npy", npy(np.zeros((2828, 2828))))])


def _text(name: str) -> bytes:
    return archive([(name, b"not an array"), ("1.npy", npy(hessian()))])


FIXED = (
    ("bomb", _bomb()),
    ("pickle", archive([("0.npy", npy(np.array([_Payload()], dtype=object)))])),
    ("text entry", _text("0")),
    ("text entry", _text("0.npy")),
    ("many entries", archive([(f"{n}.npy", npy(np.zeros(1))) for n in range(300)], 0)),
    ("one array", npy(hessian())),
    ("one array", _header(Random(3))),
    ("empty archive", archive([])),
    ("empty", b""),
)
