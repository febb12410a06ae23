"""Exponential moving average of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage:
    r"""Exponential moving average of weights, by `torch.optim.swa_utils`.

    .. math:: \bar w_n = d_n \bar w_{n-1} + (1 - d_n) w_n, \qquad
              d_n = \min\!\left(d, \frac{1 + n}{10 + n}\right)

    The decay starts small, so that the random initial weights lose their influence
    early, also in short runs.

    Args:
        model: Model to average; it is copied.
        decay: Largest decay d.
        start_epoch: First epoch that is averaged; before it, the average equals the
            current weights.
    """

    def __init__(self, model: nn.Module, decay: float, start_epoch: int = 0) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay must be between 0 and 1, got {decay}")
        self.start_epoch = start_epoch
        self._averaged = AveragedModel(model, multi_avg_fn=_average(decay))
        self._averaged.requires_grad_(False)
        self._averaged.eval()

    @property
    def model(self) -> nn.Module:
        """Copy of the model with averaged weights, in evaluation mode."""
        return self._averaged.module

    def update(self, model: nn.Module, epoch: int) -> None:
        """Include the weights after an optimizer step.

        Args:
            model: The model that was copied.
            epoch: Epoch of the step, counted from 0.
        """
        if epoch < self.start_epoch:
            self._averaged.n_averaged.zero_()
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Tensor]:
        """Averaged weights and the number of updates."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self._averaged.load_state_dict(state)


Tensors = tuple[Tensor, ...] | list[Tensor]
AverageFunction = Callable[[Tensors, Tensors, Tensor | int], None]


def _average(decay: float) -> AverageFunction:
    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, num_averaged: Tensor | int) -> None:
        n = int(num_averaged)
        share = 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averaged, list(current), share)

    return update
