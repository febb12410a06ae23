"""Root of a training configuration, the input of `train-potential`."""

from pydantic import NonNegativeInt

from equipot.config.base import Config
from equipot.config.data import DataConfig
from equipot.config.model import ModelConfig
from equipot.config.training import TrainingConfig


class TrainConfig(Config):
    """A training run."""

    seed: NonNegativeInt = 0
    """Random seed of the split, the initial weights and the order of batches."""
    model: ModelConfig = ModelConfig()
    """Architecture of the potential."""
    data: DataConfig
    """Structures and labels."""
    training: TrainingConfig = TrainingConfig()
    """Loss, optimizer, schedule and stopping."""
