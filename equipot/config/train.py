"""Root of a training configuration, the input of `train-potential`."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, NonNegativeInt, field_validator

from equipot.config.base import Config
from equipot.config.data import DataConfig
from equipot.config.model import AnyModelConfig, NequIPConfig, with_architecture
from equipot.config.training import TrainingConfig


class TrainConfig(Config):
    """A training run."""

    seed: NonNegativeInt = 0
    """Random seed of the split, the initial weights and the order of batches."""
    model: AnyModelConfig = Field(default=NequIPConfig(), discriminator="architecture")
    """Architecture of the potential: "nequip" by default."""
    data: DataConfig
    """Structures and labels."""
    training: TrainingConfig = TrainingConfig()
    """Loss, optimizer, schedule and stopping."""

    @field_validator("model", mode="wrap")
    @classmethod
    def _default_architecture(
        cls, values: Any, validate: Callable[[Any], Any]
    ) -> AnyModelConfig:
        model: AnyModelConfig = validate(with_architecture(values))
        if isinstance(values, Mapping) and "architecture" not in values:
            # a potential to start from may have another one
            model.model_fields_set.discard("architecture")
        return model
