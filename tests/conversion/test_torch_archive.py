"""What `torch.save` writes is read back bit for bit, without running any of it."""

import os
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Global, Record, module_tensors, modules
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive

SHARED = Path(os.environ.get("EQUIPOT_SHARED", Path(__file__).parents[3] / "shared"))
WEIGHTS = SHARED / "weights"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="needs the published weights in ../shared"
)
FORBIDDEN = {"import", "exec", "compile", "pickle.find_class", "os.system"}
EVENTS: list[str] | None = None
"""Audit events, while they are recorded."""


def _audit(event: str, args: object) -> None:
    if EVENTS is not None:
        EVENTS.append(event)


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert torch.equal(
        found.contiguous().reshape(-1).view(torch.uint8),
        expected.contiguous().reshape(-1).view(torch.uint8),
    )


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    ],
)
def test_tensors_of_every_type_are_read_bit_for_bit(dtype, tmp_path):
    values = torch.arange(24).reshape(2, 3, 4).to(dtype)
    torch.save({"a": values}, tmp_path / "a.pt")

    assert_same(read_torch_archive(tmp_path / "a.pt").root["a"], values)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[1:, ::2],
        lambda x: x[0, 0],
        lambda x: x[:0],
        lambda x: x[:, :1].expand(6, 5),
        nn.Parameter,
    ],
    ids=["transposed", "strided", "number", "empty", "expanded", "parameter"],
)
def test_views_are_read_as_they_look(view, tmp_path):
    values = view(torch.randn(6, 4, dtype=torch.float64))
    torch.save([values, values], tmp_path / "a.pt")

    found = read_torch_archive(tmp_path / "a.pt").root

    assert_same(found[0], values.detach())
    assert found[0] is found[1]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_read_from_every_protocol(protocol, tmp_path):
    content = {
        "text": "Å",
        "numbers": (1, -(2**40), 2.5, True, None),
        "bytes": b"\x00\xff",
        7: [1, [2, {"x": ()}]],
        "ordered": OrderedDict(a=1, b=2),
        "size": torch.Size([2, 3]),
    }
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)

    found = read_torch_archive(tmp_path / "a.pt").root

    assert found == {**content, "ordered": {"a": 1, "b": 2}, "size": (2, 3)}


def test_arrays_and_numbers_of_numpy_are_read(tmp_path):
    content = {
        "c": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "number": np.float64(0.1),
        "empty": np.zeros((0, 3)),
    }
    torch.save(content, tmp_path / "a.pt")

    found = read_torch_archive(tmp_path / "a.pt").root

    for name in ("c", "fortran", "empty"):
        assert_same(found[name], torch.from_numpy(np.ascontiguousarray(content[name])))
    assert found["number"] == 0.1


def test_a_module_is_a_record_with_the_tensors_of_its_state_dict(tmp_path):
    network = nn.Sequential(nn.Linear(3, 4), nn.ModuleList([nn.BatchNorm1d(4)]))
    network.register_buffer("constant", torch.randn(2), persistent=False)
    torch.save(network, tmp_path / "a.pt")

    archive = read_torch_archive(tmp_path / "a.pt")

    found, expected = module_tensors(archive.root), network.state_dict()
    assert set(found) == {*expected, "constant"}
    for name, values in expected.items():
        assert_same(found[name], values)
    assert archive.root.kind == "Sequential"
    assert [path for path, _ in modules(archive.root)] == ["", "0", "1", "1.0"]
    assert archive.root.get("0").attributes() == {"in_features": 3, "out_features": 4}
    assert archive.root.get("1.0.eps") == 1e-5
    assert archive.root.get("1.0.eps2", None) is None
    with pytest.raises(ConversionError, match=r"Sequential has no 1\.1"):
        archive.root.get("1.1")


def test_objects_are_records_and_classes_are_names(tmp_path):
    torch.save({"device": torch.device("cpu"), "type": torch.float32}, tmp_path / "a")

    root = read_torch_archive(tmp_path / "a").root

    assert isinstance(root["device"], Record)
    assert (root["device"].name, root["device"].args) == ("torch.device", ("cpu",))
    assert root["type"] == Global("torch.float32")


def test_shapes_are_read_without_numbers(tmp_path):
    torch.save({"a": torch.randn(5, 7)}, tmp_path / "a.pt")

    found = read_torch_archive(tmp_path / "a.pt", numbers=False).root["a"]

    assert found.is_meta
    assert found.shape == (5, 7)


def test_nothing_is_imported_compiled_or_executed(tmp_path):
    torch.save(nn.Sequential(nn.Linear(3, 4), nn.SiLU()), tmp_path / "a.pt")
    read_torch_archive(tmp_path / "a.pt")  # imports of the standard library
    global EVENTS  # noqa: PLW0603 - hooks stay, what they record does not
    sys.addaudithook(_audit)
    EVENTS = []
    try:
        read_torch_archive(tmp_path / "a.pt")
        events = set(EVENTS)
    finally:
        EVENTS = None

    assert "open" in events
    assert not events & FORBIDDEN


def test_other_files_are_no_archives(tmp_path):
    (tmp_path / "text").write_text("{}")
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("a/b", "c")

    assert not is_torch_archive(tmp_path / "text")
    assert not is_torch_archive(tmp_path / "zip")
    assert not is_torch_archive(tmp_path)
    assert not is_torch_archive(tmp_path / "absent")


def published(*endings: str) -> list[Path]:
    return sorted(p for e in endings for p in WEIGHTS.rglob(f"*{e}"))


@needs_weights
def test_published_modules_are_read_with_all_their_storages():
    paths = published(".model")
    assert len(paths) == 9
    for path in paths:
        tensors = module_tensors(read_torch_archive(path).root)
        with zipfile.ZipFile(path) as file:
            largest = max(
                (m for m in file.infolist() if "/data/" in m.filename),
                key=lambda m: m.file_size,
            )
            content = file.read(largest)
        assert all(values.isfinite().all() for values in tensors.values())
        alike = [t for t in tensors.values() if t.numel() * t.itemsize == len(content)]
        assert any(_holds(values, content) for values in alike), path


def _holds(values, content):
    """Whether a tensor consists of the numbers of a storage, in any order."""
    numbers = np.frombuffer(content, values.numpy().dtype)
    return np.array_equal(np.sort(values.numpy().ravel()), np.sort(numbers))


@needs_weights
def test_published_tensors_equal_those_of_torch():
    reconstruct = np._core.multiarray._reconstruct
    safe = [(reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    safe += [type(np.dtype(name)) for name in ("f8", "f4", "i8", "i4")]
    paths = published(".pt", ".pth")
    assert len(paths) == 3
    for path in paths:
        with torch.serialization.safe_globals(safe):
            expected = torch.load(path, map_location="cpu", weights_only=True)
        _assert_equal(read_torch_archive(path).root, expected)


def _assert_equal(found, expected):
    """Same structure, and the same bits."""
    if isinstance(expected, torch.Tensor):
        assert_same(found, expected)
    elif isinstance(expected, np.ndarray):
        assert_same(found, torch.from_numpy(np.ascontiguousarray(expected)))
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            _assert_equal(found[name], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            _assert_equal(a, b)
    elif isinstance(expected, str | int | float | bool | None):
        assert found == expected
    else:
        assert isinstance(found, Record | Global)
