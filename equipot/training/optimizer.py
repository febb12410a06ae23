"""Optimizers, and their state as tensors."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from equipot.training.adapters import root_mean_square, weight_name
from equipot.training.muon import IS_MUON, Muon

LR_FACTOR = "lr_factor"
"""Entry of a parameter group: its learning rate relative to that of the schedule."""


def build_optimizer(
    model: nn.Module,
    kind: Literal["adam", "adamw", "muon"],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    amsgrad: bool,
    relative_steps: bool = False,
    lr_factors: Mapping[str, float] | None = None,
) -> Optimizer:
    """Adam, AdamW or Muon on all weights, with weight decay on matrices only.

    Args:
        model: Model; its parameters that require gradients are optimized.
        kind: "adamw" for decoupled weight decay, "adam" for L2 regularization, "muon"
            for orthogonalized steps of matrices, and AdamW for vectors.
        lr: Learning rate.
        weight_decay: Weight decay of parameters with two or more axes.
        betas: Decay rates of the running means of gradient and squared gradient.
        amsgrad: Use the AMSGrad variant.
        relative_steps: Multiply the learning rate of each tensor by the root mean
            square of its elements now, unless they are zero.
        lr_factors: Factors of the learning rate by name of a parameter, or by patterns
            of names; the first that fits counts. Others have the factor 1.

    Raises:
        ValueError: If no parameter requires gradients.
    """
    factors = lr_factors or {}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    # the groups without a factor come first
    for factor in (1.0, *factors.values()):
        groups |= {(factor, True): [], (factor, False): []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            weight = weight_name(name)
            fitting = [f for p, f in factors.items() if fnmatchcase(weight, p)]
            factor = fitting[0] if fitting else 1.0
            if relative_steps:
                factor *= _scale(parameter)
            groups.setdefault((factor, parameter.ndim >= 2), []).append(parameter)
    if not any(groups.values()):
        raise ValueError("the model has no parameters to optimize")
    described = [
        {
            "params": parameters,
            "weight_decay": weight_decay if matrices else 0.0,
            "lr": factor * lr,
            LR_FACTOR: factor,
            IS_MUON: matrices and kind == "muon",
        }
        for (factor, matrices), parameters in groups.items()
        if parameters
    ]
    optimizer = {"adam": Adam, "adamw": AdamW, "muon": Muon}[kind]
    return optimizer(described, lr=lr, betas=betas, amsgrad=amsgrad)


def _scale(parameter: Tensor) -> float:
    """Root mean square of the elements; 1 if all are zero, such as new biases."""
    return root_mean_square(parameter) or 1.0


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
