import pytest
import torch

from equipot.tensor_file import write_tensor_file
from equipot.training.state import State, StateError, StateFiles


def state(step: int) -> State:
    weight = torch.full((3,), float(step), dtype=torch.float64)
    return State({"model.weight": weight, "step": torch.tensor(step)}, {"step": step})


@pytest.fixture
def files(tmp_path):
    """Three states saved, of which two are kept."""
    files = StateFiles(tmp_path, keep=2)
    for step in (1, 2, 3):
        files.save(state(step))
    return files


def test_two_generations_are_kept(files):
    messages = []

    loaded = files.load(messages.append)

    assert loaded.record == {"step": 3}
    assert loaded.tensors["model.weight"].tolist() == [3.0, 3.0, 3.0]
    assert loaded.tensors["step"].shape == ()
    assert messages == []
    assert sorted(p.name for p in files.directory.iterdir()) == [
        "state.1.safetensors",
        "state.safetensors",
    ]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, "damaged"),
        (flip_a_bit, "damaged"),
        (lambda path: path.write_bytes(b""), "not a safetensors file"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_damaged_state_is_passed_over_loudly(files, harm, message):
    messages = []
    harm(files.paths[0])

    loaded = files.load(messages.append)

    assert loaded.record == {"step": 2}
    assert len(messages) == 1
    assert message in messages[0]
    assert "trying the state before it" in messages[0]


def test_no_intact_state_is_an_error(files):
    for path in files.paths:
        truncate(path)

    with pytest.raises(StateError, match="holds no intact state"):
        files.load(lambda _: None)


def test_state_of_another_version_is_refused(files):
    write_tensor_file(
        files.paths[0], "training state", {"version": 99, "record": {}}, {}
    )

    with pytest.raises(StateError, match="has version 99, this equipot resumes"):
        files.load(lambda _: None)
