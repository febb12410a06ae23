"""Files of Nequix: a line of JSON, and arrays of NumPy."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from equipot.conversion.array_stream import is_array_stream, read_array_stream
from equipot.conversion.errors import ConversionError

SHARED = Path(os.environ.get("EQUIPOT_SHARED", Path(__file__).parents[3] / "shared"))
NEQUIX = SHARED / "weights" / "nequix"
ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([], dtype=np.float32),
    np.arange(4.0),
    np.arange(3),
]


def saved(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), **options)
    return buffer.getvalue()


def content(arrays=ARRAYS, header=b'{"cutoff": 6.0}\n', end=b""):
    return header + b"".join(map(saved, arrays)) + end


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_arrays_are_read_bit_for_bit_in_their_order(end, tmp_path):
    path = tmp_path / "a.nqx"
    path.write_bytes(content([*ARRAYS, 1.5, 2], end=end))

    found = read_array_stream(path)

    assert is_array_stream(path)
    assert found.header == {"cutoff": 6.0}
    assert found.scalars == [1.5, 2.0]
    for array, expected in zip(found.arrays, ARRAYS, strict=True):
        assert array.shape == expected.shape
        assert array.numpy().dtype == expected.dtype
        assert array.numpy().tobytes() == expected.tobytes()


REFUSED = {
    "objects": (
        content([]) + saved(np.array([{}], dtype=object), allow_pickle=True),
        "of a kind that is not read",
    ),
    "big-endian numbers": (content([np.arange(3.0).astype(">f8")]), "not read: >f8"),
    "the order of Fortran": (content([np.zeros((2, 3), order="F")]), "is not read"),
    "a structured type": (
        content([np.zeros(2, dtype=[("a", "f4")])]),
        "unreadable header",
    ),
    "a size beyond the file": (
        content([]) + saved(ARRAYS[2]).replace(b"(4,)", b"(5,)"),
        "reaches beyond the file",
    ),
    "format 2.0": (content([]) + saved(ARRAYS[2], version=(2, 0)), "format 1.0"),
    "a header of no array": (content([]) + b"\x93NUMPY\x01\x00\x04\x00abc\n", "header"),
    "a header that runs code": (
        content([]) + b"\x93NUMPY\x01\x00\x1e\x00" + b"__import__('os').mkdir('mark')",
        "unreadable header",
    ),
    "a header that is cut": (
        content([])[:-1] + b"\n\x93NUMPY\x01\x00\xff\xffabc",
        "trunc",
    ),
    "bytes after the arrays": (content(end=b"rest"), "no array after array 4"),
    "two newlines": (content(end=b"\n\n"), "no array after array 4"),
    "an array after scalars": (content([1.0, ARRAYS[0]]), "arrays after the scalars"),
    "a first line that is no JSON": (content(header=b"{x\n"), "not JSON"),
    "a first line that is a list": (content(header=b"[1]\n"), "not a JSON object"),
    "a first line without an end": (b'{"a": 1}', "not a JSON object"),
    "a deep first line": (b'{"a":' * 100_000 + b"\n", "not JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_damaged_file_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole, reason = REFUSED[what]
    (tmp_path / "a.nqx").write_bytes(whole)

    with pytest.raises(ConversionError, match=reason):
        read_array_stream(tmp_path / "a.nqx")

    assert not (tmp_path / "mark").exists()


def test_a_file_truncated_inside_of_an_array_is_refused(tmp_path):
    whole = content()
    path = tmp_path / "a.nqx"
    complete = {len(content(ARRAYS[:n])) for n in range(5)}
    for end in set(range(1, len(whole), 3)) - complete:
        path.write_bytes(whole[:end])
        with pytest.raises(ConversionError):
            read_array_stream(path)


def test_other_files_are_no_array_streams(tmp_path):
    path = tmp_path / "file"
    for whole in (b"", b"{}", b"{}\n", json.dumps([1]).encode(), b"PK\x03\x04"):
        path.write_bytes(whole)
        assert not is_array_stream(path)
    assert not is_array_stream(tmp_path)


@pytest.mark.skipif(not NEQUIX.is_dir(), reason="needs the weights in ../shared")
def test_published_files_equal_what_numpy_reads():
    paths = sorted(NEQUIX.glob("*.nqx"))
    assert len(paths) == 3
    for path in paths:
        found = read_array_stream(path)
        assert len(found.arrays) == 63
        assert len(found.scalars) == (209 if "oam" in path.name else 0)
        with path.open("rb") as file:
            assert json.loads(file.readline()) == found.header
            for array in found.arrays:
                expected = np.load(file, allow_pickle=False)
                assert array.dtype == torch.float32
                assert array.numpy().tobytes() == expected.tobytes()
