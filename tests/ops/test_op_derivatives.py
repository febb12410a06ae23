"""Derivatives of the ops, of every order, and the transforms of PyTorch."""

import pytest
import torch
from torch.testing import assert_close

from equipot.ops import reference
from equipot.ops.convolution import convolve
from equipot.tensor_products import TensorProductSpec
from tests.ops.operands import ops, random_operands, three_derivatives

OPS = [("convolve", 3), ("convolve_backward", 4), ("convolve_double_backward", 7)]
"""Names, and how many tensors each differentiates."""


@pytest.fixture
def operands():
    return random_operands(TensorProductSpec(1, 2, 1), 2, num_nodes=3, num_edges=5)


def leaves(operands, count):
    return [t.clone().requires_grad_() for t in operands.tensors[:count]]


def messages(operands):
    """The convolution as a function of what can be differentiated."""
    return lambda x, y, w: convolve(x, y, w, operands.topology, operands.table)


@pytest.mark.parametrize(("name", "count"), OPS)
def test_ops_are_well_defined(operands, name, count):
    results = torch.library.opcheck(
        getattr(ops, name).default,
        (*leaves(operands, count), *operands.constants),
    )
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize(("name", "count"), OPS)
def test_first_derivatives(operands, name, count):
    op = getattr(ops, name)
    assert torch.autograd.gradcheck(
        lambda *tensors: op(*tensors, *operands.constants), leaves(operands, count)
    )


def test_second_derivatives(operands):
    assert torch.autograd.gradgradcheck(messages(operands), leaves(operands, 3))


def test_three_derivatives_equal_those_of_the_reference(operands):
    """Autograd differentiates the reference, without any of the registered formulas."""

    def thrice(function):
        return three_derivatives(function, leaves(operands, 3))

    expected = thrice(lambda *t: reference.convolve(*t, *operands.constants))
    assert_close(thrice(messages(operands)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 1], [1, 2]], ids=str)
def test_derivatives_by_some_operands(operands, wanted):
    """Cotangents of the others are absent, not zero."""

    def twice(function):
        inputs = leaves(operands, 3)
        chosen = [inputs[n] for n in wanted]
        out = function(*inputs).pow(2).sum()
        gradients = torch.autograd.grad(out, chosen, create_graph=True)
        return torch.autograd.grad(sum(g.pow(2).sum() for g in gradients), inputs)

    expected = twice(lambda *t: reference.convolve(*t, *operands.constants))
    for result, right in zip(twice(messages(operands)), expected, strict=True):
        assert_close(result, right, rtol=1e-12, atol=1e-12)


def test_third_derivative_by_some_operands(operands):
    def thrice(function):
        inputs = leaves(operands, 3)
        out = function(*inputs).pow(3).sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(out, inputs[1], create_graph=True)
            out = gradient.pow(2).sum()
        return out

    expected = thrice(lambda *t: reference.convolve(*t, *operands.constants))
    assert_close(thrice(messages(operands)), expected, rtol=1e-11, atol=0)


def test_rows_of_a_hessian_in_one_batch(operands):
    x, y, w = leaves(operands, 3)
    energy = messages(operands)(x, y, w).pow(3).sum()
    (gradient,) = torch.autograd.grad(energy, y, create_graph=True)
    basis = torch.eye(y.numel(), dtype=y.dtype).unflatten(1, y.shape)

    def row(tangent):
        return torch.autograd.grad(gradient, y, tangent, retain_graph=True)[0]

    expected = torch.stack([row(tangent) for tangent in basis])

    assert torch.equal(torch.func.vmap(row)(basis), expected)
    (batched,) = torch.autograd.grad(gradient, y, basis, is_grads_batched=True)
    assert torch.equal(batched, expected)


def test_batches_of_operands(operands):
    x, y, w = operands.tensors[:3]
    function = messages(operands)
    several = torch.stack([x, -x, 2 * x], dim=1)

    result = torch.func.vmap(function, in_dims=(1, None, None))(several, y, w)

    assert torch.equal(result[1], function(-x, y, w))
    assert torch.equal(result[2], function(2 * x, y, w))


def test_compiles_into_one_graph(operands):
    constants = operands.constants
    inputs = leaves(operands, 3)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def function(x, y, w):
        return ops.convolve(x, y, w, *constants)

    function(*inputs).pow(2).sum().backward()

    expected = torch.autograd.grad(messages(operands)(*inputs).pow(2).sum(), inputs)
    for leaf, right in zip(inputs, expected, strict=True):
        assert_close(leaf.grad, right)


def test_operands_need_not_be_contiguous(operands):
    x, y, w = operands.tensors[:3]
    expected = messages(operands)(x, y, w)

    result = messages(operands)(x.mT.contiguous().mT, y, w.mT.contiguous().mT)

    assert torch.equal(result, expected)


def test_nothing_is_recorded_without_gradients(operands):
    x, y, w = leaves(operands, 3)
    with torch.no_grad():
        assert not messages(operands)(x, y, w).requires_grad
    assert messages(operands)(x, y, w).requires_grad
    assert not messages(operands)(*operands.tensors[:3]).requires_grad
