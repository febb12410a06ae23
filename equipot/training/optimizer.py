"""Optimizers, and their state as tensors and JSON."""

from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer


def build_optimizer(
    model: nn.Module,
    kind: Literal["adam", "adamw"],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    amsgrad: bool,
) -> Optimizer:
    """Adam or AdamW on all weights; only matrices decay, vectors do not.

    Args:
        model: Its parameters that require gradients are optimized.
        kind: "adamw" decays weights apart from the gradient, "adam" as a part of it.
        lr: Learning rate.
        weight_decay: Decay of parameters with two axes or more.
        betas: Decay of the running means of gradient and squared gradient.
        amsgrad: Divide by the largest second moment so far.

    Raises:
        ValueError: If the model has nothing to optimize.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no parameters to optimize")
    groups = [
        {
            "params": [p for p in parameters if p.ndim >= 2],
            "weight_decay": weight_decay,
        },
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = {"adam": Adam, "adamw": AdamW}[kind]
    return optimizer(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=betas,
        amsgrad=amsgrad,
    )


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """State of every parameter as ``"<index>.<name>"``; all of Adam's state is tensors.

    The learning rate and its like are not part of it: they follow from the
    configuration and the schedule.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor
        for index, tensors in state.items()
        for name, tensor in tensors.items()
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Go on from what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
