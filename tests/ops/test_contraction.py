"""The ops of the contraction: kernels, derivatives of every order, refusals."""

import pytest
import torch
from torch.testing import assert_close

from equipot.node_products import NodeProductSpec
from equipot.node_products.monomial_terms import monomial_terms
from equipot.ops import contraction_reference as reference
from equipot.ops.contraction import contract
from tests.ops.operands import three_derivatives

ops = torch.ops.equipot
OUTPUTS = 4
ROWS = torch.tensor([2, 0, 2, 0])
"""Row 1 has no nodes."""


def table(order=3):
    return monomial_terms(NodeProductSpec(1, 1, order)).table


def operands(channels=2, dtype=torch.float64, order=3):
    """x, a, g, and the tangents of x and a; the features of node 1 vanish."""
    generator = torch.Generator().manual_seed(0)
    terms = len(table(order).outputs)
    shapes = [(4, 4), (3, terms), (4, OUTPUTS), (4, 4), (3, terms)]
    tensors = [
        torch.randn(*shape, channels, generator=generator, dtype=torch.float64)
        for shape in shapes
    ]
    tensors[0][1] = 0
    return [tensor.to(dtype) for tensor in tensors]


def results(family, x, a, g, x_dot, a_dot, order=3):
    """Values, first derivatives, and derivatives of those along tangents."""
    constants = (ROWS, *table(order))
    return [
        family.contract(x, a, *constants, OUTPUTS),
        *family.contract_backward(x, a, g, *constants, True),
        *family.contract_double_backward(x, a, g, x_dot, a_dot, *constants),
    ]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 16, 19])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kernels_equal_the_reference(dtype, channels, order):
    given = operands(channels, dtype, order)
    expected = results(reference, *(t.double() for t in given), order=order)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for kernel, exact in zip(results(ops, *given, order=order), expected, strict=True):
        assert kernel.dtype == dtype
        assert_close(kernel.double(), exact, rtol=tolerance, atol=tolerance)


def test_an_empty_tangent_is_zero():
    x, a, g, x_dot, a_dot = operands()
    none = x.new_empty(0)
    for dots, zeros in [
        ((none, a_dot), (0 * x_dot, a_dot)),
        ((x_dot, none), (x_dot, 0 * a_dot)),
    ]:
        given = ops.contract_double_backward(x, a, g, *dots, ROWS, *table())
        expected = ops.contract_double_backward(x, a, g, *zeros, ROWS, *table())
        assert_close(given, expected, rtol=1e-14, atol=1e-14)


def test_results_do_not_depend_on_the_number_of_threads():
    given = operands(channels=40, dtype=torch.float32)
    alone = results(ops, *given)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = results(ops, *given)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_no_nodes():
    x, a, *_ = operands()
    inputs = (x[:0].requires_grad_(), a.requires_grad_())
    out = contract(*inputs, ROWS[:0], table(), OUTPUTS)
    assert out.shape == (0, OUTPUTS, 2)
    gradients = torch.autograd.grad(out.sum(), inputs)
    assert_close(gradients[1], torch.zeros_like(a))


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("contract", 2, (OUTPUTS,)),
        ("contract_backward", 3, (True,)),
        ("contract_double_backward", 5, ()),
    ],
)
def test_ops_are_well_defined(name, count, last):
    inputs = [t.requires_grad_() for t in operands()[:count]]
    constants = (ROWS, *table(), *last)
    op = getattr(ops, name)
    checks = torch.library.opcheck(op.default, (*inputs, *constants))
    assert set(checks.values()) == {"SUCCESS"}
    assert torch.autograd.gradcheck(lambda *t: op(*t, *constants), inputs)


def test_three_derivatives_equal_those_of_the_reference():
    """Autograd differentiates the reference, without any of the registered formulas."""

    def thrice(function):
        return three_derivatives(function, [t.requires_grad_() for t in operands()[:2]])

    expected = thrice(lambda x, a: reference.contract(x, a, ROWS, *table(), OUTPUTS))
    actual = thrice(lambda x, a: contract(x, a, ROWS, table(), OUTPUTS))
    assert_close(actual, expected, rtol=1e-12, atol=0)


def test_coefficients_without_gradients_get_none():
    x, a, *_ = operands()
    out = contract(x.requires_grad_(), a, ROWS, table(), OUTPUTS)
    (with_constant,) = torch.autograd.grad(out.sum(), x)
    out = contract(x, a.requires_grad_(), ROWS, table(), OUTPUTS)
    with_gradient, of_a = torch.autograd.grad(out.sum(), (x, a))
    assert torch.equal(with_constant, with_gradient)
    assert of_a.shape == a.shape


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": torch.tensor([0, 1, 3, 0])}, "rows must be in 0 to 2, got 3"),
        ({"rows": ROWS[:3]}, "rows must have shape"),
        ({"outputs": table().outputs + 1}, "outputs must be in 0 to 3"),
        ({"factors": table().factors - 1}, "factors must be in 0 to 3"),
        ({"parents": table().parents + 1}, "must have one factor less"),
        ({"monomials": table().monomials.flip(0)}, "monomials must ascend"),
        ({"sizes": [5, *table().sizes[1:]]}, "must start with the number of comp"),
        ({"x": torch.zeros(4, 4, 2)}, "a must be float32"),
    ],
)
def test_refusals(changed, message):
    x, a, *_ = operands()
    given = {"x": x, "a": a, "rows": ROWS, **table()._asdict()} | changed
    with pytest.raises(RuntimeError, match=message):
        ops.contract(**given, num_outputs=OUTPUTS)
