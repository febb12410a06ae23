"""Ops of harmonics: the polynomials of so3, and derivatives of every order."""

import pytest
import torch
from nasty_edges import NASTY_EDGES
from torch.testing import assert_close

from equipot.ops import unavailable
from equipot.ops.solid_harmonics import DEFINITIONS, derivative_table, solid_harmonics
from equipot.so3 import num_components, spherical_harmonics

pytestmark = pytest.mark.skipif(
    unavailable(torch.device("cpu")) is not None, reason="compiled ops are not built"
)
DEGREES = [0, 1, 2, 3, 6]


def edges(count: int = 37) -> torch.Tensor:
    """Vectors along awkward directions, not of length one, and random ones."""
    torch.manual_seed(0)
    scaled = NASTY_EDGES * torch.linspace(0.5, 2, len(NASTY_EDGES))[:, None]
    return torch.cat([scaled, torch.randn(count, 3, dtype=torch.float64)])


def chain(function, vectors, lmax):
    """Value, and derivatives to fourth order, each contracted with fixed numbers."""
    vectors = vectors.clone().requires_grad_()
    generator = torch.Generator().manual_seed(1)
    value, out = function(lmax, vectors), []
    for _ in range(5):
        out.append(value.detach())
        weights = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        total = (value * weights).sum() + (value**2).sum() + 0 * vectors.sum()
        (value,) = torch.autograd.grad(
            total, vectors, create_graph=True, materialize_grads=True
        )
    return out


@pytest.mark.parametrize("lmax", DEGREES)
@pytest.mark.parametrize("count", [0, 1, 37])
def test_they_are_the_harmonics_of_so3_to_fourth_derivatives(lmax, count):
    vectors = edges(count)

    found = chain(solid_harmonics, vectors, lmax)

    expected = chain(spherical_harmonics, vectors, lmax)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, rtol=1e-12, atol=1e-12 * float(theirs.abs().max()))


@pytest.mark.parametrize("lmax", DEGREES)
def test_kernels_equal_the_reference(lmax):
    vectors = edges()
    entries, values = derivative_table(lmax)
    g = torch.randn(len(vectors), num_components(lmax), dtype=torch.float64)
    operands = (vectors, g, torch.randn_like(vectors))

    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for number, (name, definition) in enumerate(list(DEFINITIONS.items())[:3], 1):
            constants = (lmax, entries, values.like(vectors))
            expected = definition.reference(*operands[:number], *constants)
            rounded = [t.to(dtype) for t in operands[:number]]
            op = getattr(torch.ops.equipot, name)
            found = op(*rounded, lmax, entries, values.like(rounded[0]))
            for ours, theirs in zip(_parts(found), _parts(expected), strict=True):
                scale = float(theirs.abs().max())
                assert_close(
                    ours.double(), theirs, rtol=0, atol=tolerance * (scale + 1)
                )


def test_no_edges():
    none = torch.zeros(0, 3, dtype=torch.float64)

    assert solid_harmonics(2, none).shape == (0, 9)


def _parts(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", list(DEFINITIONS)[3:])
def test_bilinear_ops_pass_opcheck(name):
    harmonics = torch.randn(3, 9, dtype=torch.float64)
    other = 9 if name == "contract_harmonics" else 3
    operand = torch.randn(3, other, dtype=torch.float64)

    torch.library.opcheck(
        getattr(torch.ops.equipot, name).default,
        (operand.requires_grad_(), harmonics.requires_grad_()),
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_ops_pass_opcheck(number):
    vectors = edges(3)
    entries, values = derivative_table(2)
    g = torch.randn(len(vectors), 9, dtype=torch.float64)
    operands = (vectors, g, torch.randn_like(vectors))[:number]
    name = list(DEFINITIONS)[number - 1]

    torch.library.opcheck(
        getattr(torch.ops.equipot, name).default,
        (*(t.requires_grad_() for t in operands), 2, entries, values.like(vectors)),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.update(n=a["n"][:, :2].contiguous()),
            r"n must have shape \(edges, 3\)",
        ),
        (lambda a: a.update(n=a["n"].half()), "n must be float32 or float64"),
        (lambda a: a.update(lmax=1), "entries must be"),
        (lambda a: a.update(entries=a["entries"].flip(0)), "entries must be"),
        (lambda a: a.update(entries=a["entries"] + 9), "entries must be"),
        (lambda a: a.update(values=a["values"][1:]), r"values must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    entries, values = derivative_table(2)
    arguments = {
        "n": edges(),
        "lmax": 2,
        "entries": entries,
        "values": values.like(edges()),
    }
    change(arguments)

    with pytest.raises(RuntimeError, match=message):
        torch.ops.equipot.solid_harmonics(*arguments.values())
