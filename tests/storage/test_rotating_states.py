"""States of a run: the newest that is intact."""

import pytest
import torch

from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.storage.tensor_file import write_tensor_file

KIND = "state of a test"


@pytest.fixture
def states(tmp_path):
    """Three states saved, of which two are kept."""
    states = RotatingCheckpoints(tmp_path, KIND, version=1, keep=2)
    for step in (1, 2, 3):
        weight = torch.full((3,), float(step), dtype=torch.float64)
        states.save({"step": step}, {"weight": weight, "step": torch.tensor(step)})
    return states


def test_two_generations_are_kept(states, tmp_path):
    messages = []

    record, tensors = states.load(messages.append)

    assert record == {"step": 3}
    assert tensors["weight"].tolist() == [3.0, 3.0, 3.0]
    assert tensors["step"].shape == ()
    assert messages == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
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
def test_damaged_state_is_passed_over_loudly(states, harm, message):
    messages = []
    harm(states.paths[0])

    record, _ = states.load(messages.append)

    assert record == {"step": 2}
    assert len(messages) == 1
    assert message in messages[0]
    assert "using the previous checkpoint" in messages[0]


@pytest.mark.parametrize("harm", [lambda path: None, truncate, lambda p: p.unlink()])
def test_a_save_that_was_not_finished_is_finished_by_a_load(states, tmp_path, harm):
    messages = []
    fresh = tmp_path / "state.new.safetensors"
    write_tensor_file(fresh, KIND, {"version": 1, "record": {"step": 4}}, {})
    harm(states.paths[0])

    record, _ = states.load(messages.append)

    assert record == {"step": 4}
    assert messages == []
    assert not fresh.exists()
    truncate(states.paths[0])
    record, _ = states.load(messages.append)
    assert record["step"] in (2, 3)


def test_a_damaged_state_never_takes_the_place_of_the_one_before(states):
    truncate(states.paths[0])
    states.load(lambda _: None)
    states.save({"step": 4}, {})
    truncate(states.paths[0])

    record, _ = states.load(lambda _: None)

    assert record == {"step": 2}


def test_no_intact_state_is_an_error(states):
    for path in states.paths:
        truncate(path)

    with pytest.raises(StateError, match=r"(?s)no intact checkpoint.*damaged.*damaged"):
        states.load(lambda _: None)


def test_state_of_another_version_is_refused(states):
    write_tensor_file(states.paths[0], KIND, {"version": 99, "record": {}}, {})

    with pytest.raises(StateError, match="has version 99, this equipot resumes"):
        states.load(lambda _: None)
