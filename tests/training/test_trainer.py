import copy
import itertools
import signal

import pytest
import torch

from equipot.config.train import TrainConfig
from equipot.data.dataset import load_dataset
from equipot.data.statistics import compute_statistics
from equipot.models import build_potential
from equipot.system.interrupt import Interruption
from equipot.training.build import build_trainer
from equipot.training.observer import Observer
from equipot.training.progress import OUT_OF_TIME, PLANNED_EPOCHS
from equipot.training.trainer import BadBatchError, DivergedError


class Recorder(Observer):
    """Keeps what a run saves and reports."""

    def __init__(self):
        self.states, self.models, self.rows = [], [], []
        self.after_step = lambda progress: None

    def save_state(self, state):
        self.states.append(copy.deepcopy(state))

    def save_model(self, model, best, epoch):
        self.models.append((best, epoch))

    def on_step(self, progress, num_batches, result):
        self.after_step(progress)

    def on_epoch(self, row, errors):
        self.rows.append(dict(row))


@pytest.fixture
def trainer_of(config_tree):
    """Makes trainers with some keys of the section ``training`` changed."""

    def make(**training):
        tree = {**config_tree, "training": {**config_tree["training"], **training}}
        config = TrainConfig.model_validate(tree)
        dataset = load_dataset(config.data, config.model.cutoff, config.seed)
        statistics = compute_statistics(dataset.train)
        potential = build_potential(config.model, statistics, seed=config.seed)
        recorder = Recorder()
        trainer = build_trainer(
            config,
            potential,
            dataset,
            statistics,
            save_state=recorder.save_state,
            save_model=recorder.save_model,
            observers=[recorder],
        )
        return trainer, recorder

    return make


def assert_same_state(one, other):
    """Equal to the bit, but for the time it took."""
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name
    records = [copy.deepcopy(state.record) for state in (one, other)]
    for record in records:
        record["random"].pop("python")  # type checks under test draw from it
        record["position"].pop("seconds")
        for row in record["position"]["history"]:
            row.pop("seconds")
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": {"kind": "plateau"}, "ema": None},
        {"optimizer": {"kind": "adam", "lr": 0.02, "amsgrad": False}},
    ],
    ids=["default", "plateau_without_average", "adam"],
)
def test_every_state_leads_to_the_same_end_to_the_bit(trainer_of, settings):
    trainer, recorder = trainer_of(checkpoint_steps=5, **settings)
    trainer.fit(Interruption())
    *states, end = recorder.states
    assert [s.record["position"]["batch"] for s in states] == [0, 5, 4, 3]

    for state in states:
        resumed, again = trainer_of(checkpoint_steps=5, **settings)
        torch.rand(7)  # another process has other random numbers
        resumed.load_state(state)
        resumed.fit(Interruption())

        assert_same_state(again.states[-1], end)


def test_a_lower_learning_rate_is_remembered(trainer_of):
    settings = {"schedule": {"kind": "plateau", "patience": 1}, "checkpoint_steps": 4}
    trainer, recorder = trainer_of(**settings)
    trainer.schedule.observe(-1.0)  # no validation can be better
    trainer.fit(Interruption())

    resumed, again = trainer_of(**settings)
    resumed.load_state(recorder.states[-2])
    resumed.fit(Interruption())

    assert [row["learning_rate"] for row in recorder.rows] == [0.01, 0.005, 0.0025]
    assert again.rows[-1]["learning_rate"] == 0.0025
    assert_same_state(again.states[-1], recorder.states[-1])


def test_training_lowers_the_loss(trainer_of):
    trainer, recorder = trainer_of(epochs=15, ema=None, schedule={"kind": "constant"})

    trainer.fit(Interruption())

    assert recorder.rows[-1]["train_loss"] < 0.5 * recorder.rows[0]["train_loss"]
    assert trainer.progress.finished == "all epochs are done"


def test_averaged_weights_are_validated_and_the_raw_ones_kept(trainer_of):
    trainer, recorder = trainer_of()

    trainer.fit(Interruption())

    tensors = recorder.states[-1].tensors
    raw = {k.removeprefix("model."): v for k, v in tensors.items() if "model." in k[:6]}
    averaged = dict(trainer.averaged_model.state_dict())
    assert trainer.averaged_model is not trainer.model
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)


def test_validation_happens_when_asked_for_and_at_the_end(trainer_of):
    trainer, recorder = trainer_of(epochs=5, validate_every=3)

    trainer.fit(Interruption())

    assert [row["epoch"] for row in recorder.rows if "valid_loss" in row] == [3, 5]


def test_the_bound_on_edges_holds_in_validation(trainer_of):
    sizes = []
    trainer, _ = trainer_of(epochs=1, max_edges=1)
    trainer.model.register_forward_pre_hook(
        lambda _, arguments: sizes.append(arguments[0].num_graphs)
    )
    trainer.averaged_model.register_forward_pre_hook(
        lambda _, arguments: sizes.append(arguments[0].num_graphs)
    )

    trainer.fit(Interruption())

    assert sizes == [1] * (12 + 3)


def test_early_stopping_gives_up(trainer_of):
    trainer, _ = trainer_of(epochs=50, early_stop={"patience": 2, "min_delta": 0.99})

    trainer.fit(Interruption())

    assert trainer.progress.epoch == 3
    assert "no better validation loss in 2 validations" in trainer.progress.finished


def test_a_spent_budget_validates_and_ends_between_steps(trainer_of):
    trainer, recorder = trainer_of(epochs=50, max_minutes=1.0)

    def pretend_to_take_long(progress):
        if progress.step == 8:
            progress.seconds = 61.0

    recorder.after_step = pretend_to_take_long
    trainer.fit(Interruption())

    assert trainer.progress.finished == "the time budget is spent"
    assert recorder.rows[-1]["epoch"] == 1 + 2 / 6
    assert recorder.rows[-1]["valid_loss"] > 0
    assert [row["epoch"] for row in trainer.progress.history] == [1, 1 + 2 / 6]
    assert recorder.states[-1].record["position"]["batch"] == 2


def test_a_budget_spent_at_the_end_of_an_epoch_still_validates(trainer_of, monkeypatch):
    clock = itertools.count()  # every look at it takes a second
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))

    for budget in range(10, 40):
        trainer, recorder = trainer_of(
            epochs=50, max_minutes=budget / 60, validate_every=50
        )
        trainer.fit(Interruption())

        assert trainer.progress.finished in (OUT_OF_TIME, PLANNED_EPOCHS)
        assert recorder.rows[-1]["valid_loss"] > 0


def test_a_longer_budget_goes_on_as_if_nothing_had_happened(trainer_of):
    through, expected = trainer_of()
    through.fit(Interruption())
    stopped, recorder = trainer_of(max_minutes=1.0)
    recorder.after_step = lambda p: setattr(p, "seconds", 61.0 if p.step >= 8 else 0.0)
    stopped.fit(Interruption())

    resumed, again = trainer_of(max_minutes=100.0)
    resumed.load_state(recorder.states[-1])
    resumed.fit(Interruption())

    assert [row["epoch"] for row in resumed.progress.history] == [1, 2, 3]
    last, reference = again.states[-1].tensors, expected.states[-1].tensors
    assert all(torch.equal(last[name], reference[name]) for name in reference)


def test_an_interruption_finishes_the_step_and_saves(trainer_of):
    trainer, recorder = trainer_of()
    interruption = Interruption()

    def interrupt(progress):
        if progress.step == 9:
            interruption.signal = signal.SIGINT

    recorder.after_step = interrupt
    trainer.fit(interruption)

    assert trainer.progress.finished is None
    assert recorder.states[-1].record["position"]["step"] == 9


def test_a_loss_that_is_not_finite_names_its_structures(trainer_of):
    trainer, recorder = trainer_of()

    def poison(progress):
        if progress.step == 4:
            weight = next(p for p in trainer.model.parameters() if p.ndim == 2)
            weight.data.fill_(float("nan"))

    recorder.after_step = poison
    with pytest.raises(
        BadBatchError, match=r"step 5 \(epoch 1\): the loss is nan"
    ) as e:
        trainer.fit(Interruption())

    assert len(e.value.examples) == 2
    assert all(example.source in str(e.value) for example in e.value.examples)
    assert len(recorder.states) == 1


def test_divergence_ends_training_and_keeps_the_best_model(trainer_of):
    trainer, recorder = trainer_of(epochs=9, ema=None)

    def spoil(progress):
        if progress.step > 6:
            for weight in trainer.model.head.parameters():
                weight.data.fill_(100.0)

    recorder.after_step = spoil
    with pytest.raises(DivergedError, match="training diverged"):
        trainer.fit(Interruption())

    losses = [row["valid_loss"] for row in recorder.rows]
    assert min(losses[1:]) > 100 * losses[0]
    assert len(losses) == 4
    assert [best for best, _ in recorder.models] == [True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"early_stop": {}}, "early_stop needs a validation set"),
        ({"schedule": {"kind": "plateau"}}, "plateau schedule needs a validation set"),
    ],
)
def test_selection_without_a_validation_set_is_refused(
    trainer_of, config_tree, settings, message
):
    config_tree["data"]["valid"] = 0

    with pytest.raises(ValueError, match=message):
        trainer_of(**settings)


def test_without_a_validation_set_the_last_weights_are_the_best(
    trainer_of, config_tree
):
    config_tree["data"]["valid"] = 0
    trainer, recorder = trainer_of()

    trainer.fit(Interruption())

    assert recorder.models == [(True, 1.0), (True, 2.0), (True, 3.0)]
    assert trainer.progress.best_epoch == 3


def test_a_weight_on_labels_that_are_absent_is_refused(trainer_of, config_tree):
    config_tree["data"]["keys"] = {"stress": None}

    with pytest.raises(ValueError, match=r"loss\.stress\.weight is positive, but no"):
        trainer_of()
