"""Archives of Hessians that run code, or announce more than they are for."""

import io
import os
import zipfile

import numpy as np
import pytest
from ase.io import write
from fuzzing.archives import STRUCTURES, archive, hessian, npy, with_header

from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import read_structures


@pytest.fixture
def read(tmp_path):
    """Read the structures of two H2 with an archive of this content."""
    (tmp_path / "a.xyz").write_bytes(STRUCTURES)

    def read(content):
        (tmp_path / "a.npz").write_bytes(content)
        return read_structures(tmp_path / "a.xyz", None, tmp_path / "a.npz")

    return read


def lying(descr="'<f8'", shape="(6, 6)"):
    """Array whose header says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return with_header(text.encode())


def named(*names):
    return archive([(name, npy(hessian())) for name in names])


def broken(field):
    """Archive whose directory has another number at a place."""
    content = bytearray(named("0.npy"))
    place = content.rfind(b"PK\x01\x02") + field
    content[place : place + 2] = b"\x63\x63"
    return bytes(content)


HEADERS = {
    "must have shape": [
        {"shape": "(1000000000000,)"},
        {"shape": "(4294967296, 4294967296)"},
        {"shape": "(0, 6)"},
        {"shape": "(6, -6)"},
    ],
    "must hold numbers": [
        {"descr": "'<c16'"},
        {"descr": "'<M8[s]'"},
        {"descr": "'<U99999999'"},
        {"descr": "'|V1000000000'"},
        {"descr": "[('a', '<f8')]"},
    ],
    "fixed-type tuple": [{"descr": "[('a', '<f8', (99999, 99999))]"}],
    "too many brackets": [{"shape": "(" * 200}, {"shape": "(6, 6" + "{" * 2000}],
    "cannot be read as .npz": [
        {"shape": "(6.0, 6)"},
        {"shape": "None"},
        {"descr": "None"},
    ],
}
"""Headers of arrays, by message."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (archive([("0.npy", lying(**header))]), message)
            for message, headers in HEADERS.items()
            for header in headers
        ),
        (lying(shape="(1000000000000,)"), "BadZipFile"),  # an array, no archive
        *((broken(field), r"a\.npz") for field in (8, 10, 16, 42)),
        (named("0.npy", "0.npy"), "two entries '0'"),
        (named("0", "0.npy"), "two entries '0'"),
        (named("0.npy", "00.npy"), "belong to no structure"),
        (named("9" * 5000 + ".npy"), "has an entry with the name"),
        (named("\u0663.npy"), "belong to no structure"),
        (named("0\n.npy"), "has an entry with the name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archives_that_lie_are_refused_before_an_array_is_read(
    read, content, message, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("an array was read")

    monkeypatch.setattr(np.lib.format, "read_array", refuse)

    with pytest.raises(DataError, match=message):
        read(content)


def test_zip_bombs_are_not_decompressed(read, monkeypatch):
    bomb = archive([("0.npy", npy(np.zeros((3000, 3000))))])
    assert len(bomb) < 10**5
    taken = []
    original = zipfile.ZipExtFile.read

    def count(self, n=-1):
        out = original(self, n)
        taken.append(len(out))
        return out

    monkeypatch.setattr(zipfile.ZipExtFile, "read", count)

    with pytest.raises(DataError, match="must have shape"):
        read(bomb)
    assert sum(taken) < 1000


def test_pickled_arrays_are_refused_and_not_executed(read, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    content = npy(np.array([[Payload()]], dtype=object))

    with pytest.raises(DataError, match="can run any code"):
        read(archive([("0.npy", content)]))
    assert not (tmp_path / "canary").exists()


def test_huge_numbers_of_a_hessian_are_refused(read, tmp_path):
    for factor in (1e9, 1e155, 1e300):
        with pytest.raises(DataError, match="expected numbers in eV"):
            read(archive([("0.npy", npy(hessian() * factor))]))
    frames = [s.atoms for s in read_structures(tmp_path / "a.xyz")]
    frames[0].info["REF_hessian"] = (hessian() * 1e306).reshape(-1)
    text = io.StringIO()
    write(text, frames, format="extxyz")
    (tmp_path / "b.xyz").write_text(text.getvalue())

    with pytest.raises(DataError, match="expected numbers in eV"):
        read_structures(tmp_path / "b.xyz")
