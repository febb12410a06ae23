"""Root of a training configuration, the input of `train-potential`."""

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

    @field_validator("model", mode="before")
    @classmethod
    def _default_architecture(cls, values: Any) -> Any:
        return with_architecture(values)
