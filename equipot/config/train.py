"""Everything that `train-potential` reads: the root of a training configuration."""

from pydantic import NonNegativeInt

from equipot.config.base import Config
from equipot.config.data import DataConfig
from equipot.config.model import ModelConfig
from equipot.config.training import TrainingConfig


class TrainConfig(Config):
    """A training run: which data, which architecture, which optimization."""

    seed: NonNegativeInt = 0
    """Seed of the split, the initial weights and the order of batches."""
    model: ModelConfig = ModelConfig()
    """Architecture of the potential."""
    data: DataConfig
    """Structures and labels."""
    training: TrainingConfig = TrainingConfig()
    """Loss, optimizer, schedule and stopping."""
