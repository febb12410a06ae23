"""Files of tensors: whole or refused, and never code."""

import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file

from equipot.storage.tensor_file import (
    TensorFileError,
    read_tensor_file,
    read_tensor_file_header,
    write_tensor_file,
)

TENSORS = {
    "a": torch.tensor([[1.0, float("nan")], [-0.0, 1e-310]], dtype=torch.float64),
    "b": torch.arange(5),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.safetensors"
    write_tensor_file(path, "potential", {"numbers": [1, 2]}, TENSORS)
    return path


def test_round_trip_is_bit_exact(path):
    header, tensors = read_tensor_file(path, "potential")

    assert header["numbers"] == [1, 2]
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert tensors[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_equal_content_gives_equal_bytes(path, tmp_path):
    for n in range(8):
        again = tmp_path / f"{n}.safetensors"
        write_tensor_file(again, "potential", {"numbers": [1, 2]}, TENSORS)
        assert again.read_bytes() == path.read_bytes()


def test_tensors_that_share_memory_are_stored_each(tmp_path):
    base = torch.arange(6.0)
    write_tensor_file(tmp_path / "x", "k", {}, {"all": base, "part": base[2:4]})

    _, tensors = read_tensor_file(tmp_path / "x", "k")

    assert tensors["part"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncated_file_is_refused(path, fraction):
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])

    with pytest.raises(TensorFileError, match=r"truncated|not a safetensors"):
        read_tensor_file(path, "potential")


def test_altered_byte_is_refused(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(TensorFileError, match="does not match its SHA-256"):
        read_tensor_file(path, "potential")


def test_pickle_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(TensorFileError, match="pickled models are rejected"):
        read_tensor_file(path, "potential")
    assert not (tmp_path / "exploded").exists()


def test_header_that_claims_more_than_the_file_is_refused(tmp_path):
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{" + b" " * 100)

    with pytest.raises(
        TensorFileError, match="its header declares 1152921504606846976"
    ):
        read_tensor_file(path, "potential")


def test_safetensors_of_others_are_refused(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"a": torch.zeros(2)}, path)

    with pytest.raises(TensorFileError, match="of another program"):
        read_tensor_file_header(path, "potential")


def test_other_kind_is_refused(path):
    with pytest.raises(
        TensorFileError, match="contains a potential, expected a training"
    ):
        read_tensor_file_header(path, "training state")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_tensor_file(tmp_path / "nothing", "potential")


def test_header_values_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_tensor_file(tmp_path / "x", "k", {"loss": float("nan")}, {})
