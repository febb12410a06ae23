"""Learning-rate finder: short runs from the same weights, each with its own rate."""

import copy
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from rich.console import Console

from equipot.config.train import TrainConfig
from equipot.models.build import check_model
from equipot.system.settings import compute_settings
from equipot.training.build import build_trainer
from equipot.training.logs import Journal
from equipot.training.prepare import Prepared, prepare
from equipot.training.rng import seed_everything
from equipot.training.run_directory import RunDirectory
from equipot.training.schedule import Cosine, set_learning_rate
from equipot.training.start import read_start, with_architecture_of
from equipot.training.step import NonFiniteError, make_batch, train_step
from equipot.training.trainer import Trainer

RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)
"""Learning rates that are compared."""
STEPS = 200
"""Steps of each run: warmup, then annealing to zero."""
WARMUP = 0.1
"""Fraction of the steps with a growing rate."""
TOLERANCE = 1.5
"""Ratio of a loss to the lowest one that still counts as good."""


@dataclass(frozen=True)
class RateTrial:
    """A short run with one learning rate."""

    rate: float
    """Maximum learning rate."""
    loss: float
    """Validation loss at the end; infinite if the run diverged."""


def find_learning_rate(
    config: TrainConfig, console: Console | None = None
) -> list[RateTrial]:
    """Train for a few steps with each learning rate; nothing is kept.

    Args:
        config: Configuration of the run that a rate is chosen for; it needs a
            validation set. Its learning rate and schedule do not matter.
        console: Terminal for messages; standard output by default.

    Raises:
        ValueError: If the data do not match the configuration, or there is no
            validation set.
    """
    start = read_start(config)
    if start is not None:
        config = with_architecture_of(config, start)
    check_model(config.model)
    training = config.training
    with (
        tempfile.TemporaryDirectory() as folder,
        compute_settings(training.num_threads, training.deterministic),
    ):
        files = RunDirectory(Path(folder))
        journal = Journal(files.log, console or Console())
        prepared = prepare(config, files, journal, start, resume=False)
        if not prepared.dataset.valid:
            raise ValueError(
                "learning rates are compared by the validation loss: set data.valid"
            )
        return [RateTrial(rate, _final_loss(prepared, rate)) for rate in RATES]


def suggested_rate(trials: Sequence[RateTrial]) -> float:
    """The lowest rate whose loss is at most `TOLERANCE` times the lowest one.

    Long runs prefer lower rates than short ones do.

    Raises:
        ValueError: If all runs diverged.
    """
    lowest = min(trial.loss for trial in trials)
    if not math.isfinite(lowest):
        raise ValueError("the loss was not finite with any learning rate")
    return min(t.rate for t in trials if t.loss <= TOLERANCE * lowest)


def _final_loss(prepared: Prepared, rate: float) -> float:
    """Validation loss after a short run from the initial weights."""
    trainer = build_trainer(
        prepared.config,
        copy.deepcopy(prepared.potential),
        prepared.dataset,
        prepared.statistics,
        save_state=lambda state: None,
        save_model=lambda model, best, epoch: None,
    )
    seed_everything(prepared.config.seed)
    schedule = Cosine(STEPS, min_factor=0.0, warmup_epochs=WARMUP * STEPS)
    trainer.model.train()
    try:
        for step, batch in enumerate(islice(_batches(trainer), STEPS)):
            set_learning_rate(trainer.optimizer, rate * schedule.factor(step + 0.5))
            train_step(
                trainer.model,
                trainer.optimizer,
                trainer.loss,
                make_batch([trainer.train[n] for n in batch]).to(trainer.device),
                epoch=0,
                gradient_clip=trainer.gradient_clip,
                key=(trainer.sampler.seed, step),
            )
    except NonFiniteError:
        return math.inf
    loss, _ = trainer.evaluate(trainer.model)
    return math.inf if loss is None or math.isnan(loss) else loss


def _batches(trainer: Trainer) -> Iterator[Sequence[int]]:
    """Batches of one epoch after another."""
    for epoch in count():
        yield from trainer.sampler.batches(epoch)
