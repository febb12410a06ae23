"""Backends with the silent failures that users of other packages have met."""

import math

import torch

from equipot.constants import Constant
from equipot.tensor_products import ClebschGordan, TensorProduct

ERROR = 1e-3


class Wrapped(TensorProduct):
    """The reference, with whatever `spoil` does to its messages."""

    def __init__(self, spec):
        super().__init__(spec)
        self.right = ClebschGordan(spec)

    @staticmethod
    def unsupported(spec):
        return None

    def prepare(self, directions, connectivity):
        return self.right.prepare(directions, connectivity)

    def forward(self, x, edges, weights):
        return self.spoil(self.right(x, edges, weights))

    def spoil(self, messages):
        return messages


class WrongCoupling(Wrapped):
    """One coupling of all is off: a potential, but another one."""

    def __init__(self, spec):
        super().__init__(spec)
        couplings = self.right._couplings.like(torch.zeros(0).double()).clone()
        couplings.view(-1)[couplings.abs().argmax()] *= 1 + ERROR
        self.right._couplings = Constant(couplings)


class WrongWhere(Wrapped):
    """Right for calculations up to some size."""

    edges = nodes = math.inf

    def forward(self, x, edges, weights):
        messages = self.right(x, edges, weights)
        wrong = len(weights) > self.edges or len(x) > self.nodes
        return messages * (1 + ERROR) if wrong else messages


class WrongGradient(Wrapped):
    """Energies are right, but forces are not their gradient."""

    def spoil(self, messages):
        return _WrongFirst.apply(messages)


class WrongSecondDerivative(Wrapped):
    """Energies and forces are right, derivatives of forces are not."""

    def spoil(self, messages):
        return _WrongSecond.apply(messages)


class WrongInFloat32(Wrapped):
    """One of two kernels is wrong."""

    def spoil(self, messages):
        wrong = messages.dtype == torch.float32
        return messages * (1 + ERROR) if wrong else messages


class NotANumber(Wrapped):
    """Overflows."""

    def spoil(self, messages):
        return messages / torch.zeros_like(messages)


class OnceDifferentiable(Wrapped):
    """Forces are right; their derivatives lack a part, and nothing is raised."""

    def spoil(self, messages):
        return _Once.apply(messages)


class Unfinished(Wrapped):
    """There is no kernel for one arithmetic."""

    def spoil(self, messages):
        if messages.dtype == torch.float64:
            raise NotImplementedError("no kernel for float64")
        return messages


class _WrongFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 + ERROR)


class _WrongSecond(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return _WrongFirst.apply(gradient)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient.clone()


BROKEN = {
    "wrong_coupling": WrongCoupling,
    "wrong_gradient": WrongGradient,
    "wrong_second_derivative": WrongSecondDerivative,
    "wrong_in_float32": WrongInFloat32,
    "not_a_number": NotANumber,
    "once_differentiable": OnceDifferentiable,
    "unfinished": Unfinished,
}
