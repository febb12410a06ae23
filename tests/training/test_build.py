"""What does not fit together is refused before the first step."""

import math
from dataclasses import replace

import pytest
import torch

from equipot.config.train import TrainConfig
from equipot.config.training import LossConfig
from equipot.data.dataset import load_dataset
from equipot.training.build import check_validation


def test_a_validation_set_without_the_labels_of_the_loss_is_refused(config_tree):
    config_tree["training"]["loss"] = {
        "energy": {"weight": 0},
        "forces": {"weight": 0},
        "stress": {"weight": 1},
    }
    config = TrainConfig.model_validate(config_tree)
    dataset = load_dataset(config.data, cutoff=3.2)
    for n, example in enumerate(dataset.valid):
        absent = torch.full_like(example.labels.stress, math.nan)
        labels = replace(example.labels, stress=absent)
        dataset.valid[n] = replace(example, labels=labels)

    with pytest.raises(
        ValueError, match=r"labels of the loss \(stress\): set other files"
    ):
        check_validation(config.training, dataset)


def test_an_infinite_weight_is_refused():
    with pytest.raises(ValueError, match="should be a finite number"):
        LossConfig.model_validate({"energy": {"weight": math.inf}})
