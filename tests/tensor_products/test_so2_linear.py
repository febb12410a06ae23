"""The linear convolution is a Clebsch-Gordan product that mixes channels."""

import pytest
import torch
from torch.testing import assert_close

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components, random_rotation, representation_matrix
from equipot.tensor_products import ClebschGordan
from equipot.tensor_products.so2_linear import (
    LinearSpec,
    SO2Linear,
    linear_path_weights,
    random_mixing,
)
from tests.nasty_edges import NASTY_EDGES

SPECS = [
    LinearSpec(0, 0),
    LinearSpec(0, 3),
    LinearSpec(3, 0),
    LinearSpec(2, 2),
    LinearSpec(3, 1),
    LinearSpec(1, 3, mmax=1),
    LinearSpec(3, 3, mmax=1),
    LinearSpec(2, 2, mmax=0),
    LinearSpec(1, 1, symmetry="SO(3)"),
    LinearSpec(2, 3, symmetry="SO(3)"),
    LinearSpec(3, 2, mmax=1, symmetry="SO(3)"),
]
NODES, CHANNELS_IN, CHANNELS_OUT = 4, 3, 2


def random_inputs(spec, generator, edges=None):
    """Features, vectors of edges, radial weights, and then the mixing matrices."""

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    vectors = torch.cat([NASTY_EDGES * 1.3, randn(4, 3)])[:edges]
    shapes = spec.mixing_shapes(CHANNELS_IN, CHANNELS_OUT)
    return [
        randn(NODES, num_components(spec.lmax_in), CHANNELS_IN),
        vectors,
        randn(len(vectors), spec.num_radial, CHANNELS_IN),
        *(randn(*shape) for shape in shapes),
    ]


def random_edges(num_edges):
    generator = torch.Generator().manual_seed(3)
    edge_index = torch.randint(0, NODES, (2, num_edges), generator=generator)
    return Connectivity(edge_index, NODES)


def linear(spec):
    backend = SO2Linear(spec)

    def convolve(x, vectors, radial, *mixing):
        unit = torch.nn.functional.normalize(vectors)
        edges = backend.prepare(unit, random_edges(len(unit)))
        return backend(x, edges, radial, mixing)

    return convolve


def clebsch_gordan(spec):
    """The twin: a path for each pair of channels, summed over the first."""
    backend = ClebschGordan(spec.product)

    def convolve(x, vectors, radial, *mixing):
        unit = torch.nn.functional.normalize(vectors)
        edges = backend.prepare(unit, random_edges(len(unit)))
        weights = linear_path_weights(spec, radial, mixing)
        pairs = weights.shape[2:]
        out = backend(x.repeat_interleave(pairs[1], dim=2), edges, weights.flatten(2))
        return out.unflatten(2, pairs).sum(2)

    return convolve


def derivatives(function, inputs):
    """Value, and gradients of three orders along random tangents."""
    generator = torch.Generator().manual_seed(1)

    def randn(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    inputs = [t.clone().requires_grad_() for t in inputs]
    out = function(*inputs)
    value, found = (randn(out) * out**2).sum(), [out]
    for _ in range(3):
        grads = torch.autograd.grad(
            value, inputs, create_graph=True, materialize_grads=True
        )
        found += grads
        value = sum((g * randn(g)).sum() for g in grads)
    return [t.detach() for t in found]


@pytest.mark.parametrize("spec", SPECS)
def test_equals_its_clebsch_gordan_twin_to_three_derivatives(spec, generator):
    inputs = random_inputs(spec, generator)

    found, expected = (
        derivatives(twin(spec), inputs) for twin in (linear, clebsch_gordan)
    )

    assert found[0].shape == (NODES, num_components(spec.lmax_out), CHANNELS_OUT)
    for value, reference in zip(found, expected, strict=True):
        scale = max(1.0, reference.abs().max().item())
        assert_close(value / scale, reference / scale, rtol=0, atol=1e-12)


def test_gradient_equals_finite_differences(generator):
    spec = LinearSpec(1, 1, symmetry="SO(3)")
    inputs = [t.requires_grad_() for t in random_inputs(spec, generator, edges=7)]

    assert torch.autograd.gradcheck(linear(spec), inputs)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoreflection"])
def test_commutes_with_the_group_of_its_spec(spec, improper, generator):
    """A cut of m keeps it so: it is made in the frame of the edge."""
    x, vectors, *weights = random_inputs(spec, generator)
    q = (-1 if improper else 1) * random_rotation(generator)
    d_in = representation_matrix(spec.lmax_in, q)
    d_out = representation_matrix(spec.lmax_out, q)

    before = linear(spec)(d_in @ x, vectors @ q.T, *weights)

    error = (before - d_out @ linear(spec)(x, vectors, *weights)).abs().max()
    if improper and spec.symmetry == "SO(3)":
        assert error > 0.1
    else:
        assert error < 1e-12


def test_float32_equals_float64_up_to_rounding(generator):
    spec = LinearSpec(3, 3)
    inputs = random_inputs(spec, generator)
    expected = linear(spec)(*inputs)

    found = linear(spec)(*(t.float() for t in inputs))

    assert found.dtype == torch.float32
    assert_close(found.double(), expected, rtol=0, atol=1e-5 * expected.abs().max())


def test_graph_without_edges_gives_zero(generator):
    spec = LinearSpec(2, 2, symmetry="SO(3)")

    found = linear(spec)(*random_inputs(spec, generator, edges=0))

    assert found.shape == (NODES, 9, CHANNELS_OUT)
    assert not found.any()


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
def test_messages_have_unit_variance(symmetry, generator):
    spec = LinearSpec(2, 2, symmetry=symmetry)
    n, channels = 4000, 16
    x = torch.randn(n, 9, channels, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator))
    backend = SO2Linear(spec)
    edges = backend.prepare(directions, Connectivity(torch.arange(n).expand(2, n), n))
    radial = torch.ones(n, spec.num_radial, channels)
    mixing = random_mixing(spec, channels, 200, generator)

    variance = backend(x, edges, radial, mixing).pow(2).mean((0, 2))

    assert_close(variance, torch.ones(9), rtol=0.1, atol=0)


def test_parameters_of_l_3_are_as_many_as_couplings():
    """For the full filter; a cut of m drops those of m = 3."""
    full, cut = (LinearSpec(3, 3, mmax, "SO(3)") for mmax in (None, 2))

    assert sum(a * b * c for a, b, c in full.mixing_shapes(1, 1)) == 44
    assert sum(a * b * c for a, b, c in cut.mixing_shapes(1, 1)) == 42
    assert len(full.product.paths) == 44


def test_owns_no_state():
    backend = SO2Linear(LinearSpec(2, 2))

    assert not list(backend.parameters())
    assert not backend.state_dict()


def test_constants_are_computed_where_weights_have_no_memory(generator):
    """As when the weights of an architecture are counted before a file is loaded."""
    spec = LinearSpec(5, 4)  # not cached by other tests
    with torch.device("meta"):
        backend = SO2Linear(spec)
        mixing = random_mixing(spec, CHANNELS_IN, CHANNELS_OUT)
    unit = torch.nn.functional.normalize(NASTY_EDGES)

    edges = backend.prepare(unit, random_edges(len(unit)))

    assert all(matrix.is_meta for matrix in mixing)
    orthonormal = torch.eye(edges.inward.shape[1]).double().expand(len(unit), -1, -1)
    assert_close(edges.inward @ edges.inward.mT, orthonormal)


def test_matrices_of_other_shapes_are_refused(generator):
    x, vectors, radial, *mixing = random_inputs(LinearSpec(2, 2), generator)

    with pytest.raises(ValueError, match=r"must have the shapes .*\(1, 9, 6\).*, got"):
        linear(LinearSpec(2, 2))(x, vectors, radial, *mixing[:2])
    with pytest.raises(ValueError, match=r"symmetry='SO\(3\)'.* got \(\(1, 9, 6\)"):
        linear(LinearSpec(2, 2, symmetry="SO(3)"))(x, vectors, radial, *mixing)


def test_impossible_specs_are_refused():
    with pytest.raises(ValueError, match="lmax_out must not be negative, got -1"):
        LinearSpec(1, -1)
    with pytest.raises(ValueError, match="mmax must not be negative, got -2"):
        LinearSpec(1, 1, mmax=-2)
