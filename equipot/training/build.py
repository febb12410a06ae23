"""Build the trainer and its parts from a configuration."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from ase.data import atomic_numbers, chemical_symbols
from torch import nn

from equipot.config.train import TrainConfig
from equipot.config.training import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    HessianLossConfig,
    LossConfig,
    LossTermConfig,
    PlateauScheduleConfig,
    TrainingConfig,
)
from equipot.data.batching import EdgeBudgetSampler
from equipot.data.dataset import Dataset
from equipot.data.statistics import Statistics
from equipot.training.ema import WeightAverage
from equipot.training.loss import HESSIANS, EnergyForcesStressLoss, LossTerm, Term
from equipot.training.observer import Limits, Observer
from equipot.training.optimizer import build_optimizer
from equipot.training.radial import interpolate_radial
from equipot.training.schedule import Constant, Cosine, Plateau, Schedule
from equipot.training.state import State
from equipot.training.step import labeled_outputs
from equipot.training.trainer import Trainer


def build_trainer(
    config: TrainConfig,
    potential: nn.Module,
    dataset: Dataset,
    statistics: Statistics,
    *,
    save_state: Callable[[State], None],
    save_model: Callable[[nn.Module, bool, float], None],
    observers: Sequence[Observer] = (),
) -> Trainer:
    """Build the trainer of a potential.

    Args:
        config: Loss, optimizer, schedule and limits.
        potential: Potential on the device of the run.
        dataset: Training and validation sets.
        statistics: Statistics of the training set.
        save_state: Called with each state to save.
        save_model: Called with a potential to save, whether it is the best so far, and
            the number of epochs it was trained for.
        observers: Training callbacks.

    Raises:
        ValueError: If the loss needs missing labels, a setting needs a missing
            validation set, or radial functions cannot be interpolated as requested.
    """
    training = config.training
    check_direct(config)
    check_labels(training.loss, statistics)
    check_validation(training, dataset)
    average = None
    if (ema := training.ema) is not None:
        average = WeightAverage(potential, ema.decay, ema.start_epoch)
    interpolate_radial(potential, training.radial_intervals, statistics)
    optimizer = training.optimizer
    return Trainer(
        model=potential,
        average=average,
        optimizer=build_optimizer(
            potential,
            optimizer.kind,
            lr=optimizer.lr,
            weight_decay=optimizer.weight_decay,
            betas=optimizer.betas,
            amsgrad=optimizer.amsgrad,
            relative_steps=optimizer.relative_steps,
            lr_factors=training.start_from.lr_factors if training.start_from else None,
        ),
        learning_rate=optimizer.lr,
        schedule=build_schedule(training),
        loss=build_loss(training.loss),
        train=dataset.train,
        valid=dataset.valid,
        sampler=EdgeBudgetSampler(
            [example.graph.num_edges for example in dataset.train],
            training.batch_size,
            training.max_edges,
            seed=config.seed,
        ),
        valid_batch_size=training.valid_batch_size,
        gradient_clip=training.gradient_clip,
        limits=build_limits(training),
        save_state=save_state,
        save_model=save_model,
        observers=observers,
        reference_energies=statistics.reference_energies,
    )


def build_loss(config: LossConfig) -> EnergyForcesStressLoss:
    """Loss with all terms whose weight is positive in some epoch."""
    return EnergyForcesStressLoss(
        {
            "energy": _term(config.energy, per_atom=config.energy.per_atom),
            "forces": replace(
                _term(config.forces),
                elements=tuple(
                    (atomic_numbers[s], w) for s, w in config.forces.elements.items()
                ),
            ),
            "stress": _term(config.stress),
            "hessian": _hessian_term(config.hessian),
            "hessian_direct": _hessian_term(config.hessian_direct),
        }
    )


def build_schedule(config: TrainingConfig) -> Schedule:
    """Learning-rate schedule."""
    schedule = config.schedule
    warmup = schedule.warmup_epochs
    match schedule:
        case ConstantScheduleConfig():
            return Constant(warmup)
        case CosineScheduleConfig():
            return Cosine(
                config.epochs, schedule.min_factor, warmup, schedule.stable_share
            )
        case PlateauScheduleConfig():
            return Plateau(
                schedule.factor, schedule.patience, schedule.min_factor, warmup
            )
        case _:
            assert_never(schedule)


def build_limits(config: TrainingConfig) -> Limits:
    """Stopping criteria and intervals of validation and saving."""
    stop = config.early_stop
    return Limits(
        epochs=config.epochs,
        max_seconds=None if config.max_minutes is None else 60 * config.max_minutes,
        early_stop_patience=None if stop is None else stop.patience,
        early_stop_min_delta=0.0 if stop is None else stop.min_delta,
        validate_every=config.validate_every,
        save_seconds=60 * config.checkpoint_minutes,
        save_steps=config.checkpoint_steps,
    )


def check_labels(config: LossConfig, statistics: Statistics) -> None:
    """Reject a loss weight on labels that no training structure has.

    Raises:
        ValueError: If a weighted label is missing.
    """
    for name in ("energy", "forces", "stress"):
        if learned(config, name) and not statistics.label_counts[name]:
            raise ValueError(
                f"training.loss.{name}.weight is positive, but no training structure "
                f"has {name}; set its key in data.keys, or set the weight to 0"
            )
    present = {chemical_symbols[z] for z in statistics.elements}
    if absent := sorted(set(config.forces.elements) - present):
        raise ValueError(
            f"training.loss.forces.elements contains {', '.join(absent)}, but no "
            "training structure does"
        )
    for name in HESSIANS:
        if learned(config, name) and not statistics.label_counts.get("hessian", 0):
            raise ValueError(
                f"training.loss.{name}.weight is positive, but no training structure "
                "has a Hessian; set their file in data.hessians, or set "
                "the weight to 0"
            )


def unused_labels(config: LossConfig, statistics: Statistics) -> list[str]:
    """Labels that the training set has and the loss ignores."""
    unused = [
        name
        for name in ("energy", "forces", "stress")
        if statistics.label_counts[name] and not learned(config, name)
    ]
    if statistics.label_counts.get("hessian", 0) and not any(
        learned(config, name) for name in HESSIANS
    ):
        unused.append("hessian")
    return unused


def check_validation(config: TrainingConfig, dataset: Dataset) -> None:
    """Reject settings that need a validation set if there is none.

    Raises:
        ValueError: If early stopping or the schedule needs one, or it has no label
            that the loss needs.
    """
    if dataset.valid:
        labeled: set[str] = {*labeled_outputs(dataset.valid)}
        if any(e.labels.hessian is not None for e in dataset.valid):
            labeled |= set(HESSIANS)
        if not labeled & set(build_loss(config.loss).terms):
            raise ValueError(
                "the validation set has none of the labels of the loss "
                f"({', '.join(sorted(build_loss(config.loss).terms))}): set other "
                "files in data.valid, or their keys in data.keys"
            )
        return
    if config.early_stop is not None:
        raise ValueError("training.early_stop needs a validation set: set data.valid")
    if config.schedule.kind == "plateau":
        raise ValueError("the plateau schedule needs a validation set: set data.valid")


def check_direct(config: TrainConfig) -> None:
    """Reject training of a missing direct head, or a head without training.

    Raises:
        ValueError: If the loss weight and the head are inconsistent.
    """
    has_head = config.model.direct_hessian is not None
    if has_head != learned(config.training.loss, "hessian_direct"):
        raise ValueError(
            "training.loss.hessian_direct.weight "
            + (
                "is 0, but model.direct_hessian adds a head, which would stay random; "
                "set a positive weight or remove the head"
                if has_head
                else "is positive, but the model has no direct head: add the section "
                "model.direct_hessian"
            )
        )


def learned(config: LossConfig, name: Term) -> bool:
    """Whether a property has a positive weight in some epoch."""
    return _term(getattr(config, name)).learned


def _hessian_term(config: HessianLossConfig) -> LossTerm:
    return replace(_term(config), mode=config.mode, samples=config.samples)


def _term(config: LossTermConfig, *, per_atom: bool = True) -> LossTerm:
    weight = config.weight
    steps = (
        tuple((step.from_epoch, step.weight) for step in weight)
        if isinstance(weight, tuple)
        else ((0, float(weight)),)
    )
    return LossTerm(steps, config.kind, config.delta, per_atom)
