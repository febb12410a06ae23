r"""Muon: steps along the orthogonal matrix that is closest to the momentum.

Adam scales every element of a matrix by its own history; Muon scales the singular
values of the whole momentum to about one, so that directions in which gradients are
small are learned as fast as others. Weights here are stacks of matrices, one for each
degree or element, and each is orthogonalized by itself. Biases and other vectors follow
AdamW.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import AdamW

NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial of degree 5 that is iterated: singular values end
between 0.7 and 1.2."""
ITERATIONS = 5
ADAM_STEP_RMS = 0.2
"""Root mean square of the elements of a step, relative to the learning rate: that of
Adam, so that both take the same learning rate."""
IS_MUON = "muon"
"""Entry of a parameter group: whether its parameters are stepped along orthogonal
matrices."""


@final
class Muon(AdamW):
    """Muon for the groups of parameters with ``muon: True``, AdamW for the others.

    Args:
        params: Groups of parameters; those of Muon have two or more axes.
        lr: Learning rate.
        momentum: Decay rate of the mean of gradients, for Muon.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of the two moments, for AdamW.
        amsgrad: Whether AdamW is the AMSGrad variant.

    Source:
        K. Jordan et al., *Muon: an optimizer for hidden layers in neural networks*
        (2024); scale of the step: J. Liu et al., arXiv:2502.16982, section 2.2.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        amsgrad: bool = False,
    ) -> None:
        self.momentum = momentum
        super().__init__(
            params, lr=lr, betas=betas, weight_decay=weight_decay, amsgrad=amsgrad
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have gradients.

        Args:
            closure: Not supported.

        Raises:
            ValueError: If there is a closure.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure: call backward before step")
        everything = self.param_groups
        try:
            self.param_groups = [g for g in everything if not g.get(IS_MUON)]
            super().step()
        finally:
            self.param_groups = everything
        for group in everything:
            if group.get(IS_MUON):
                self._step_matrices(group)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        directions = _orthogonalized_together([self._ahead(p) for p in parameters])
        rate = group["lr"]
        for parameter, direction in zip(parameters, directions, strict=True):
            scale = ADAM_STEP_RMS * max(parameter.shape[-2:]) ** 0.5
            parameter.mul_(1 - rate * group["weight_decay"])
            parameter.sub_(direction.reshape(parameter.shape), alpha=rate * scale)

    def _ahead(self, parameter: Tensor) -> Float[Tensor, "stack rows columns"]:
        """Stack of matrices of the momentum, with Nesterov's look-ahead."""
        state = self.state[parameter]
        if not state:
            # named as by AdamW, which restores the states of all groups
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
        state["step"] += 1
        gradient = cast(Tensor, parameter.grad)
        momentum = state["exp_avg"].lerp_(gradient, 1 - self.momentum)
        # the gradient once more
        ahead = gradient.lerp(momentum, self.momentum)
        return ahead.reshape(-1, *ahead.shape[-2:])


def _orthogonalized_together(stacks: Sequence[Tensor]) -> list[Tensor]:
    """Result of `orthogonalized` for each stack, with one call for each shape."""
    by_shape: dict[torch.Size, list[int]] = {}
    for n, stack in enumerate(stacks):
        by_shape.setdefault(stack.shape[1:], []).append(n)
    found = list(stacks)
    for members in by_shape.values():
        together = orthogonalized(torch.cat([stacks[n] for n in members]))
        parts = together.split([len(stacks[n]) for n in members])
        for n, part in zip(members, parts, strict=True):
            found[n] = part
    return found


def orthogonalized(
    matrices: Float[Tensor, "*stack rows columns"],
) -> Float[Tensor, "*stack rows columns"]:
    r"""Matrices with the same singular vectors and singular values of about one.

    .. math:: X \leftarrow a X + b (X X^T) X + c (X X^T)^2 X

    from X over its Frobenius norm, five times (Newton-Schulz iteration). Singular
    values far below the norm end below one; those that are zero stay zero.

    Args:
        matrices: One matrix, or a stack.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.mT
