"""Archives of Hessians that run code, or announce more than they are for."""

import io
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


def test_honest_archives_are_read(read):
    first, second = read(archive([("000.npy", npy(hessian()))]))

    assert first.labels.hessian is not None
    assert second.labels.hessian is None


def test_pickled_arrays_are_refused_and_not_executed(read, tmp_path, monkeypatch):
    class Payload:
        def __reduce__(self):
            import os

            return os.mkdir, (str(tmp_path / "canary"),)

    content = npy(np.array([[Payload()]], dtype=object))

    with pytest.raises(DataError, match="can execute any code"):
        read(archive([("0.npy", content)]))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"shape": "(1000000000000,)"}, "must have shape"),
        ({"shape": "(4294967296, 4294967296)"}, "must have shape"),
        ({"shape": "(0, 6)"}, "must have shape"),
        ({"shape": "(6, -6)"}, "must have shape"),
        ({"shape": "(6.0, 6)"}, "cannot be read as .npz"),
        ({"shape": "None"}, "cannot be read as .npz"),
        ({"descr": "'<c16'"}, "must contain numbers"),
        ({"descr": "'<M8[s]'"}, "must contain numbers"),
        ({"descr": "None"}, "cannot be read as .npz"),
        ({"descr": "'<U99999999'"}, "must contain numbers"),
        ({"descr": "'|V1000000000'"}, "must contain numbers"),
        ({"descr": "[('a', '<f8', (99999, 99999))]"}, "fixed-type tuple"),
        ({"descr": "[('a', '<f8')]"}, "must contain numbers"),
        ({"shape": "(" * 200}, "cannot be read as .npz"),
    ],
)
def test_headers_that_lie_are_refused_before_memory_is_asked_for(
    read, header, message, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError("the array was read")

    monkeypatch.setattr(np.lib.format, "read_array", refuse)

    with pytest.raises(DataError, match=message):
        read(archive([("0.npy", lying(**header))]))


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


def test_an_array_instead_of_an_archive_is_refused_unread(read):
    with pytest.raises(DataError, match="BadZipFile"):
        read(lying(shape="(1000000000000,)"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.npy", "0.npy"], "two entries '0'"),
        (["0", "0.npy"], "two entries '0'"),
        (["0.npy", "00.npy"], "match no structure"),
        (["9" * 5000 + ".npy"], "has an entry with the name"),
        (["\u0663.npy"], "match no structure"),
        (["0\n.npy"], "has an entry with the name"),
    ],
)
def test_names_of_entries_are_unique_and_sane(read, names, message):
    with pytest.raises(DataError, match=message):
        read(archive([(name, npy(hessian())) for name in names]))


@pytest.mark.parametrize("field", [8, 10, 16, 42])
def test_broken_directories_of_archives_are_refused(read, field):
    content = bytearray(archive([("0.npy", npy(hessian()))]))
    place = content.rfind(b"PK\x01\x02") + field
    content[place : place + 2] = b"\x63\x63"

    with pytest.raises(DataError, match=r"a\.npz"):
        read(bytes(content))


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
