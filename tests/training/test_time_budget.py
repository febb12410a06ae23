"""A time budget ends a run with its learning rate at the end, and runs can go on."""

import io
import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from equipot.checkpoint.file import read_header
from equipot.cli.info import describe
from equipot.cli.train import app
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.storage.rotation import StateError
from equipot.system.interrupt import Interruption
from equipot.training.observer import Limits
from equipot.training.progress import OUT_OF_TIME, TrainingProgress
from equipot.training.progress import PLANNED_EPOCHS as PLANNED
from equipot.training.run import run_training
from equipot.training.schedule import Constant, Cosine
from equipot.training.time_budget import (
    duration,
    epochs_within,
    make_plan,
    not_annealed,
    replan,
)
from tests.training.test_trainer import assert_same_state, trainer_of

__all__ = ["trainer_of"]

LOWEST = 0.01 * 0.01
"""Learning rate at the end of the schedule of these runs."""


@pytest.fixture
def timed(trainer_of, monkeypatch):
    """Trainers that take a second for a step, six for an epoch, and none for more."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)

    def make(**training):
        trainer, recorder = trainer_of(**training)
        recorder.notes = []
        recorder.on_note = recorder.notes.append
        recorder.after_step = lambda p: setattr(p, "seconds", float(p.step))
        return trainer, recorder

    return make


@pytest.mark.parametrize(
    ("seconds", "epochs", "steps"), [(60, 9.5, 57), (13, 2.05, 13), (4, 0.63, 4)]
)
def test_the_learning_rate_has_fallen_when_the_time_is_over(
    timed, seconds, epochs, steps
):
    trainer, recorder = timed(epochs=1000, max_minutes=seconds / 60)

    progress = trainer.fit(Interruption())

    assert progress.planned == epochs
    assert progress.step == steps
    assert progress.seconds <= seconds
    assert progress.finished == PLANNED
    assert recorder.rows[-1]["learning_rate"] < 1.5 * LOWEST
    assert recorder.rows[-1]["valid_loss"] > 0
    assert any(
        "the learning-rate schedule is shortened to" in note for note in recorder.notes
    )


def test_what_to_expect_is_said_after_the_first_epoch(timed):
    trainer, recorder = timed(epochs=3)
    trainer.fit(Interruption())

    assert recorder.notes == ["an epoch takes about 6 s, all 3 about 18 s"]


def test_a_budget_that_is_enough_changes_nothing(timed):
    through, expected = timed()
    through.fit(Interruption())
    within, recorder = timed(max_minutes=1.0)
    within.fit(Interruption())

    tensors, reference = (r.states[-1].tensors for r in (recorder, expected))
    assert all(torch.equal(tensors[name], reference[name]) for name in reference)


@pytest.mark.parametrize("seconds", [20, 4])
def test_every_state_of_a_fitted_run_leads_to_the_same_end(timed, seconds):
    settings = {"epochs": 100, "max_minutes": seconds / 60, "checkpoint_steps": 1}
    trainer, recorder = timed(**settings)
    trainer.fit(Interruption())
    *states, end = recorder.states
    assert len(states) > 4

    for state in states[:: len(states) // 4]:
        resumed, again = timed(**settings)
        resumed.load_state(state)
        resumed.fit(Interruption())

        assert_same_state(again.states[-1], end)


def test_weights_that_will_not_be_reached_are_named(timed, config_tree):
    steps = [{"from_epoch": 0, "weight": 1}, {"from_epoch": 500, "weight": 9}]
    loss = {**config_tree["training"]["loss"], "energy": {"weight": steps}}
    trainer, recorder = timed(epochs=1000, max_minutes=0.5, loss=loss)
    trainer.fit(Interruption())

    assert "loss.energy.weight changes at epoch 500, which" in recorder.notes[-1]


def test_a_constant_learning_rate_is_told_that_it_has_no_end():
    progress = TrainingProgress(epoch=1, seconds=6.0)

    text = make_plan(progress, Constant(), Limits(100, max_seconds=60.0), 1.0)

    assert "stopped at about epoch 9.5" in text
    assert "training.schedule.kind: cosine is adapted" in text
    assert progress.planned is None
    assert progress.budget == 60


def test_many_epochs_are_whole_ones():
    assert epochs_within(3600.0, 6.0, 1.0) == 570
    assert epochs_within(61.0, 6.0, 1.0) == 9.65
    assert epochs_within(1.0, 6.0, 0.5) == 0.5


def test_a_long_growth_is_cut_where_the_run_is_short():
    schedule = Cosine(1000, 0.01, warmup_epochs=20.0)

    schedule.end_at(10.0, 1.0)

    assert schedule.factor(2.0) == 1.0
    assert schedule.factor(10.0) == pytest.approx(0.01)


def test_a_new_schedule_starts_where_the_old_one_ended():
    schedule = Cosine(10, 0.1, warmup_epochs=1.0)

    schedule.begin_again(10.0, 20.0)

    assert schedule.factor(10.0) == pytest.approx(0.1)
    assert schedule.factor(11.0) == pytest.approx(1.0)
    assert schedule.factor(20.0) == pytest.approx(0.1)
    other = Cosine(10, 0.1, warmup_epochs=1.0)
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert [other.factor(e / 7) for e in range(140)] == [
        schedule.factor(e / 7) for e in range(140)
    ]


def test_states_of_earlier_versions_say_nothing_of_a_cosine():
    schedule = Cosine(10, 0.1)

    schedule.load_state_dict({})

    assert schedule.end == 10


def limits(epochs=10, minutes=None):
    return Limits(epochs, max_seconds=None if minutes is None else 60.0 * minutes)


def test_a_larger_budget_for_a_fitted_run_begins_a_new_schedule():
    schedule = Cosine(9.5, 0.01, 1.0)
    progress = TrainingProgress(
        epoch=9,
        batch=3,
        seconds=57.0,
        budget=60.0,
        planned=9.5,
        finished=PLANNED,
    )

    text = replan(progress, schedule, limits(1000, 1), limits(1000, 2), 9.5)

    assert "a new schedule begins" in text
    assert progress.planned == schedule.end == 19
    assert progress.finished is None


def test_a_larger_budget_before_the_end_moves_it():
    schedule = Cosine(9.5, 0.01, 1.0)
    progress = TrainingProgress(epoch=5, seconds=30.0, budget=60.0, planned=9.5)

    assert "epoch 19" in replan(progress, schedule, limits(99, 1), limits(99, 2), 5.0)
    assert schedule.start == 0

    text = replan(progress, schedule, limits(99, 2), limits(99), 5.0)
    assert text == "the learning rate now falls until epoch 99"
    assert progress.planned is None


def test_the_same_limits_change_nothing():
    progress = TrainingProgress(epoch=5, seconds=30.0, budget=60.0, planned=9.5)
    before = vars(progress).copy()

    assert (
        replan(progress, Cosine(9.5, 0.01), limits(99, 1), limits(99, 1), 5.0) is None
    )

    assert vars(progress) == before


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (limits(10), r"training.epochs is 10, but the run already has 10 epochs"),
        (limits(5), r"training.epochs is 5, but the run already has 10 epochs"),
        (limits(20, 1), r"no time for more epochs; raise training.max_minutes as well"),
    ],
)
def test_a_run_cannot_go_on_to_where_it_has_been(now, message):
    progress = TrainingProgress(epoch=10, seconds=59.0, finished="all epochs are done")

    with pytest.raises(ValueError, match=message):
        replan(progress, Cosine(9, 0.01), limits(9), now, 10.0)


def test_a_run_that_time_ended_before_its_schedule_is_told_of():
    assert "at epoch 5 of 10 with 50%" in not_annealed(Cosine(10, 0.01), 5.0)
    assert not_annealed(Cosine(10, 0.01), 9.5) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.2 s"), (90, "2 min"), (9960, "2 h 46 min"), (360_000, "4.2 days")],
)
def test_durations_are_short(seconds, text):
    assert duration(float(seconds)) == text


@pytest.fixture
def train(tmp_path, write_config):
    def run(*overrides, resume=False, name="run"):
        config = load_config(write_config(), overrides, TrainConfig)
        console = Console(file=io.StringIO(), width=200)
        result = run_training(config, tmp_path / name, resume=resume, console=console)
        return result, console.file.getvalue()

    return run


def test_a_finished_run_is_lengthened_by_a_new_schedule(train):
    train()

    result, printed = train("training.epochs=5", resume=True)

    assert "finished at epoch 3: a new schedule begins" in printed
    rows = result.progress.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    rates = [row["learning_rate"] for row in rows]
    assert rates[2] == pytest.approx(LOWEST)
    assert rates[3] > 10 * LOWEST
    assert rates[4] == pytest.approx(LOWEST)
    header = read_header(result.directory.best)
    assert dict(describe(header))["training"] == "5 of 5 epochs; 30 steps"
    # the longer run is now the run: to be resumed as it is
    again, printed = train("training.epochs=5", resume=True)
    assert "new schedule" not in printed
    assert again.progress.epoch == 5


def test_a_run_that_is_under_way_keeps_its_schedule(train, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("equipot.training.finish.evaluate_best_model", stop)
        patch.setattr("equipot.training.trainer.Trainer._end_reason", lambda _: None)
        patch.setattr("equipot.training.trainer.Trainer._end_epoch", stop)
        with pytest.raises(Stopped):
            train("training.checkpoint_steps=2")

    with pytest.raises(StateError, match=r"training\.epochs once the run has ended"):
        train("training.epochs=5", "training.checkpoint_steps=2", resume=True)


def test_info_says_how_far_a_run_came_and_that_time_stopped_it(train, monkeypatch):
    monkeypatch.setattr(
        "equipot.training.trainer.Trainer._tick",
        lambda self: setattr(self.progress, "seconds", float(self.progress.step)),
    )

    result, printed = train("training.epochs=1000", f"training.max_minutes={13 / 60}")

    shortened = "the learning-rate schedule is shortened to 2.05 epochs"
    assert f"the time budget is 13 s: {shortened}" in printed
    text = dict(describe(read_header(result.directory.best)))["training"]
    assert text == (
        "2.167 of 1000 epochs, stopped by the time budget, with the schedule adapted "
        "to it; 13 steps"
    )
    header = read_header(result.directory.best)
    for name in ("finished", "epochs_done", "epochs_asked"):
        header["training"].pop(name)  # as an earlier version wrote it
    text = dict(describe(header))["training"]
    assert text == "2.167 of 1000 epochs, not finished; 13 steps"
    header["training"]["finished"] = OUT_OF_TIME
    text = dict(describe(header))["training"]
    assert text == "2.167 of 1000 epochs, stopped by the time budget; 13 steps"


def test_the_command_says_what_hinders_a_longer_run(train, tmp_path, write_config):
    train("training.epochs=2")

    result = CliRunner().invoke(
        app,
        [
            *(str(write_config()), "--output", str(tmp_path / "run"), "--resume"),
            *("--set", "training.epochs=1"),
        ],
    )

    assert result.exit_code == 1
    assert "the run already has 2 epochs; set a larger" in result.output
