"""Training is killed at chosen moments of writing, and must come to the same end."""

import itertools

import pytest
from crashing.points import KillAt
from crashing.processes import Order
from crashing.runs import Training
from crashing.writers import save_states
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equipot.storage.rotation import RotatingCheckpoints
from equipot.training.logs import TensorBoardLog
from equipot.training.observer import Limits
from equipot.training.progress import TrainingProgress

KIND = "state of a test"
BEFORE_IT = "using the previous checkpoint"


@pytest.fixture
def save(crash_server, tmp_path):
    """Saves states in a process, killed before an operation; whether it was killed."""

    def run(number, steps):
        arguments = (tmp_path / "run", KIND, steps)
        order = Order(save_states, arguments, tmp_path / "out", KillAt(number))
        ended = crash_server.execute(order)
        assert ended.code in (0, -9), ended.text
        return ended.code == -9

    (tmp_path / "run").mkdir()
    return run


@pytest.mark.parametrize("damaged", [False, True])
def test_no_moment_of_saving_is_without_an_intact_state(save, tmp_path, damaged):
    folder = tmp_path / "run"
    for number in itertools.count(1):
        for file in folder.iterdir():
            file.unlink()
        save(0, [1, 2])
        if damaged:
            newest = folder / "state.safetensors"
            newest.write_bytes(newest.read_bytes()[:-9])
        killed = save(number, [3, 4])

        warnings = []
        record, tensors = RotatingCheckpoints(folder, KIND, 1).load(warnings.append)

        assert record["step"] in ((1, 3, 4) if damaged else (2, 3, 4))
        assert tensors["weight"].tolist() == [float(record["step"])] * 40
        assert bool(warnings) == (record["step"] == 1)
        if not killed:
            break
    assert number > 20
    assert record["step"] == 4


@pytest.mark.parametrize("share", [0.04, 0.42, 0.6, 0.9])
def test_training_killed_while_it_writes_comes_to_the_same_end(
    crash_server, undisturbed, tmp_path, share
):
    run = Training(tmp_path / "run", undisturbed.config)

    ended = run.go(crash_server, KillAt(int(share * undisturbed.ended.points)))
    harmed = run.harmed()
    resumed = run.go(crash_server)

    assert ended.code == -9, ended.text
    assert harmed == []
    assert resumed.code == 0, resumed.text
    assert run.differences(undisturbed) == []


def test_a_torn_state_and_a_torn_model_give_way(crash_server, undisturbed, tmp_path):
    run = Training(tmp_path / "run", undisturbed.config)
    ended = run.go(crash_server, KillAt(undisturbed.ended.points - 33))
    assert ended.code == -9, ended.text
    for name in ("state.safetensors", "model.safetensors", "environment.json"):
        file = run.folder / name
        file.write_bytes(file.read_bytes()[:-30])

    resumed = run.go(crash_server)

    assert resumed.code == 0, resumed.text
    assert BEFORE_IT in resumed.text
    assert "rewritten from the checkpoint" in resumed.text
    assert run.differences(undisturbed) == []


def test_the_best_model_of_a_finished_run_is_kept_in_its_state(
    crash_server, undisturbed, tmp_path
):
    run = Training(tmp_path / "run", undisturbed.config)
    run.go(crash_server)
    (run.folder / "model.safetensors").unlink()

    resumed = run.go(crash_server)

    assert "no such file" in resumed.text
    assert run.differences(undisturbed) == []


def test_curves_of_a_run_killed_before_its_second_state_have_no_point_twice(tmp_path):
    for epochs in ((1, 2), (1,)):
        log = TensorBoardLog(tmp_path)
        log.on_start(TrainingProgress(), Limits(epochs=2))
        for epoch in epochs:
            log.on_epoch({"epoch": epoch, "step": 6 * epoch, "train_loss": 0.5}, {})

    events = EventAccumulator(str(tmp_path))
    events.Reload()

    assert [point.step for point in events.Scalars("train/loss")] == [6]


def test_a_run_whose_states_are_gone_is_not_started_over(
    crash_server, undisturbed, tmp_path
):
    run = Training(tmp_path / "run", undisturbed.config)
    run.go(crash_server, KillAt(undisturbed.ended.points - 33))
    for path in run.states.paths:
        path.unlink()

    ended = run.go(crash_server)

    assert ended.code == 1
    assert "contains none: restore it" in ended.text
