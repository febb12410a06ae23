"""Optimizers, and their state as tensors."""

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
    """Adam or AdamW on all weights, with weight decay on matrices only.

    Args:
        model: Model; its parameters that require gradients are optimized.
        kind: "adamw" for decoupled weight decay, "adam" for L2 regularization.
        lr: Learning rate.
        weight_decay: Weight decay of parameters with two or more axes.
        betas: Decay rates of the running means of gradient and squared gradient.
        amsgrad: Use the AMSGrad variant.

    Raises:
        ValueError: If no parameter requires gradients.
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

    Learning rate and other hyperparameters are not included: they follow from the
    configuration and the schedule.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor
        for index, tensors in state.items()
        for name, tensor in tensors.items()
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
