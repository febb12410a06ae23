"""What every tensor-product backend must fulfil, for every spec that it supports."""

from functools import cache

import pytest
import torch
from e3nn import o3
from torch.testing import assert_close

from equipot.graph.connectivity import Connectivity
from equipot.so3 import (
    random_rotation,
    representation_matrix,
    spherical_harmonics,
    wigner_3j,
)
from equipot.tensor_products import (
    BACKENDS,
    ClebschGordan,
    TensorProductSpec,
    UnsupportedSpecError,
    get_backend,
    unavailable,
)
from equipot.tensor_products.fused import Fused, unsupported_in_frames
from equipot.tensor_products.random_operands import random_operands
from equipot.tensor_products.spec import gaunt_factor
from tests.nasty_edges import NASTY_EDGES

SPECS = [
    TensorProductSpec(0, 0, 0),
    TensorProductSpec(0, 2, 2),
    TensorProductSpec(2, 2, 0),
    TensorProductSpec(1, 3, 2),
    TensorProductSpec(2, 2, 2),
    TensorProductSpec(3, 3, 3),
    TensorProductSpec(0, 1, 3),
    TensorProductSpec(1, 1, 2, symmetry="SO(3)"),
    TensorProductSpec(2, 2, 2, symmetry="SO(3)"),
    TensorProductSpec(2, 3, 1, accumulate="concat"),
    TensorProductSpec(2, 2, 2, symmetry="SO(3)", accumulate="concat"),
    TensorProductSpec(2, 2, 2, weighting="per_degree"),
    TensorProductSpec(1, 3, 2, weighting="per_degree"),
    TensorProductSpec(2, 1, 1, weighting="per_degree", accumulate="concat"),
    TensorProductSpec(4, 4, 4),
    TensorProductSpec(5, 5, 5),
    TensorProductSpec(6, 6, 6),
    TensorProductSpec(6, 2, 5),
    TensorProductSpec(3, 6, 4, symmetry="SO(3)"),
    TensorProductSpec(3, 3, 3, accumulate="concat"),
    TensorProductSpec(0, 0, 0, weighting="per_degree"),
    TensorProductSpec(4, 4, 4, weighting="per_degree"),
    TensorProductSpec(3, 6, 5, weighting="per_degree"),
    TensorProductSpec(6, 6, 6, weighting="per_degree"),
    TensorProductSpec(1, 1, 2, "per_degree", "SO(3)"),
    TensorProductSpec(2, 2, 2, "per_degree", "SO(3)"),
    TensorProductSpec(2, 2, 2, "per_degree", "SO(3)", "concat"),
    TensorProductSpec(0, 1, 3, "per_degree", "SO(3)"),
    TensorProductSpec(3, 6, 5, "per_degree", "SO(3)"),
    TensorProductSpec(6, 6, 6, "per_degree", "SO(3)"),
]


def absent(name):
    """Skips a backend that this machine lacks, and says what is missing."""
    reason = unavailable(name, torch.device("cpu"))
    return [] if reason is None else [pytest.mark.skip(reason=f"{name}: {reason}")]


UNSUPPORTED = {
    **{n: backend.unsupported for n, backend in BACKENDS.items() if n != "fused"},
    "fused:edge_matrices": Fused.unsupported,
    "fused:so2": unsupported_in_frames,
}
"""Backends, and each algorithm of the one that chooses between two."""

CASES = [
    pytest.param(name, spec, id=f"{name}-{n}", marks=absent(name.partition(":")[0]))
    for name, unsupported in UNSUPPORTED.items()
    for n, spec in enumerate(SPECS)
    if unsupported(spec) is None
]
PLAIN = [
    case
    for case in CASES
    if case.values[1]
    in (
        TensorProductSpec(2, 2, 2),
        TensorProductSpec(2, 2, 2, weighting="per_degree"),
    )
]
SMALL = [case for case in CASES if case.values[1].lmax_in + case.values[1].lmax_out < 4]

NODES = 5
CHANNELS = 3


def random_inputs(spec, *, channels=CHANNELS, edges=20, seed=0):
    """Features, directions (nasty ones first), weights, edges; node 4 is isolated."""
    generator = torch.Generator().manual_seed(seed)

    vectors = torch.cat([NASTY_EDGES, torch.randn(edges, 3, generator=generator)])
    directions = torch.nn.functional.normalize(vectors[:edges])
    edge_index = torch.randint(0, NODES - 1, (2, edges), generator=generator)
    edge_index = edge_index[:, edge_index[1].argsort()]
    connectivity = Connectivity(edge_index, NODES)
    x, weights = random_operands(spec, connectivity, channels, generator)
    return x, directions, weights, edge_index


def make(name, spec):
    name, _, algorithm = name.partition(":")
    return Fused(spec, algorithm) if algorithm else BACKENDS[name](spec)


@cache
def build(name, spec):
    """A backend that tests share: a layer, too, is evaluated many times."""
    return make(name, spec)


def convolve(backend, x, directions, weights, edge_index):
    connectivity = Connectivity(edge_index, len(x))
    return backend(x, backend.prepare(directions, connectivity), weights)


def dense(spec, x, directions, weights, edge_index):
    """The definition in `TensorProductSpec`, edge by edge and path by path."""
    degrees = [spec.lmax_in + 1, spec.lmax_filter + 1, spec.lmax_out + 1]
    y = spherical_harmonics(spec.lmax_filter, directions)
    blocks: list[list[torch.Tensor]] = [[] for _ in range(spec.lmax_out + 1)]
    for n, (path, alpha) in enumerate(
        zip(spec.paths, spec.path_coefficients(), strict=True)
    ):
        l1, l2, l3 = path
        if spec.weighting == "per_path":
            w = weights[:, n]
        else:
            of_parity = weights.split(sum(degrees), dim=1)[(l1 + l2 + l3) % 2]
            a, b, c = of_parity.split(degrees, dim=1)
            w = a[:, l1] * b[:, l2] * c[:, l3]
        z = alpha * torch.einsum(
            "ijk,eic,ej,ec->ekc",
            wigner_3j(l1, l2, l3),
            x[edge_index[0]][:, l1**2 : (l1 + 1) ** 2],
            y[:, l2**2 : (l2 + 1) ** 2],
            w,
        )
        blocks[l3].append(z)
    edges, channels = len(directions), x.shape[2]
    if spec.accumulate == "sum":
        parts = [
            sum(zs, torch.zeros(edges, 2 * l3 + 1, channels, dtype=x.dtype))
            for l3, zs in enumerate(blocks)
        ]
    else:
        parts = [z for zs in blocks for z in zs]
    messages = torch.cat(parts, dim=1)
    out = torch.zeros(NODES, *messages.shape[1:], dtype=x.dtype)
    for e, receiver in enumerate(edge_index[1]):
        out[receiver] += messages[e]
    return out


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_equals_the_definition(name, spec):
    inputs = random_inputs(spec)

    result = convolve(build(name, spec), *inputs)

    assert result.shape == (NODES, spec.num_outputs, CHANNELS)
    assert_close(result, dense(spec, *inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_float32_equals_float64_up_to_rounding(name, spec):
    x, directions, weights, edge_index = random_inputs(spec)
    expected = dense(spec, x, directions, weights, edge_index)

    result = convolve(
        build(name, spec), x.float(), directions.float(), weights.float(), edge_index
    )

    assert result.dtype == torch.float32
    assert_close(result.double(), expected, rtol=0, atol=1e-5 * expected.abs().max())


def test_reference_equals_e3nn():
    """Component-normalised, all paths to a degree summed."""
    spec = TensorProductSpec(2, 2, 2)
    x, directions, weights, edge_index = random_inputs(spec)
    irreps = o3.Irreps([(CHANNELS, (degree, (-1) ** degree)) for degree in range(3)])
    filters = o3.Irreps.spherical_harmonics(2)
    instructions = [(l1, l2, l3, "uvu", True) for l1, l2, l3 in spec.paths]

    def to_e3nn(features):
        return torch.cat(
            [features[:, s : s + n].mT.flatten(1) for s, n in ((0, 1), (1, 3), (4, 5))],
            dim=1,
        )

    # constants of e3nn are float32 unless the default type is float64
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        product = o3.TensorProduct(
            irreps,
            filters,
            irreps,
            instructions,
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(previous)
    messages = product(
        to_e3nn(x[edge_index[0]]),
        o3.spherical_harmonics(filters, directions, False, "component"),
        weights.flatten(1),
    )
    expected = torch.zeros(NODES, messages.shape[1], dtype=x.dtype)
    expected.index_add_(0, edge_index[1], messages)

    result = convolve(ClebschGordan(spec), x, directions, weights, edge_index)

    assert_close(to_e3nn(result), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "spec"), CASES)
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoreflection"])
def test_commutes_with_orthogonal_maps(name, spec, improper, generator):
    if improper and spec.symmetry == "SO(3)":
        improper = False  # reflections are what that symmetry gives up
    if spec.accumulate == "concat":
        spec = TensorProductSpec(
            spec.lmax_in, spec.lmax_filter, spec.lmax_out, spec.weighting, spec.symmetry
        )
    backend = build(name, spec)
    x, directions, weights, edge_index = random_inputs(spec)
    q = (-1 if improper else 1) * random_rotation(generator)
    d_in = representation_matrix(spec.lmax_in, q)
    d_out = representation_matrix(spec.lmax_out, q)

    before = convolve(backend, d_in @ x, directions @ q.T, weights, edge_index)

    after = d_out @ convolve(backend, x, directions, weights, edge_index)
    assert_close(before, after, rtol=0, atol=1e-12)


def test_so3_couplings_break_reflections():
    """The test above would notice a reflection that is not a symmetry."""
    spec = TensorProductSpec(1, 1, 1, symmetry="SO(3)")
    x, directions, weights, edge_index = random_inputs(spec)
    backend = ClebschGordan(spec)
    d = representation_matrix(1, -torch.eye(3, dtype=torch.float64))

    before = convolve(backend, d @ x, -directions, weights, edge_index)

    after = d @ convolve(backend, x, directions, weights, edge_index)
    assert (before - after).abs().max() > 0.1


def derivatives(function, spec):
    """Gradients of three orders with respect to features, edge vectors and weights.

    Edge vectors are normalised inside: along their length, what a backend does to a
    direction is its own affair. Each order differentiates the last one along a tangent.
    """
    x, directions, weights, edge_index = random_inputs(spec, channels=1)
    generator = torch.Generator().manual_seed(1)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    vectors = directions * (0.5 + torch.rand(len(directions), 1, generator=generator))
    inputs = [t.requires_grad_() for t in (x, vectors, weights)]
    out = function(x, torch.nn.functional.normalize(vectors), weights, edge_index)
    value = (randn(*out.shape) * out**2).sum()
    orders = []
    for _ in range(3):
        grads = torch.autograd.grad(
            value, inputs, create_graph=True, materialize_grads=True
        )
        orders.append([g.detach() for g in grads])
        value = sum((g * randn(*g.shape)).sum() for g in grads)
    return orders


@cache
def dense_derivatives(spec):
    return derivatives(lambda *inputs: dense(spec, *inputs), spec)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_three_derivatives_equal_those_of_the_definition(name, spec):
    backend = build(name, spec)
    found = derivatives(lambda *inputs: convolve(backend, *inputs), spec)

    for order, (grads, expected) in enumerate(
        zip(found, dense_derivatives(spec), strict=True), start=1
    ):
        for operand, grad, reference in zip(
            ("x", "vectors", "weights"), grads, expected, strict=True
        ):
            # relative to the largest: third derivatives grow like l^6
            scale = max(1.0, reference.abs().max().item())
            assert_close(
                grad / scale,
                reference / scale,
                rtol=0,
                atol=1e-12,
                msg=lambda m, o=order, p=operand: f"order {o}, {p}: {m}",
            )


@pytest.mark.parametrize(("name", "spec"), SMALL)
def test_gradient_equals_finite_differences(name, spec):
    backend = build(name, spec)
    x, directions, weights, edge_index = random_inputs(spec, channels=1)
    inputs = [t.requires_grad_() for t in (x, 1.5 * directions, weights)]

    def function(x, vectors, weights):
        unit = torch.nn.functional.normalize(vectors)
        return convolve(backend, x, unit, weights, edge_index)

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("channels", [1, 2, 7, 16, 33, 64, 100, 128])
@pytest.mark.parametrize(("name", "spec"), PLAIN)
def test_any_number_of_channels(name, spec, channels):
    inputs = random_inputs(spec, channels=channels)

    result = convolve(build(name, spec), *inputs)

    assert_close(result, dense(spec, *inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_same_inputs_give_the_same_bits(name, spec, dtype):
    """Values and gradients."""
    *operands, edge_index = random_inputs(spec)

    def evaluate():
        inputs = [t.detach().to(dtype).requires_grad_() for t in operands]
        out = convolve(build(name, spec), *inputs, edge_index)
        grads = torch.autograd.grad(
            out.pow(2).sum(), inputs, allow_unused=True, materialize_grads=True
        )
        return [out.detach(), *grads]

    first, second = evaluate(), evaluate()

    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_graph_without_edges_gives_zero(name, spec):
    x, directions, weights, edge_index = random_inputs(spec, edges=0)

    result = convolve(build(name, spec), x, directions, weights, edge_index)

    assert result.shape == (NODES, spec.num_outputs, CHANNELS)
    assert not result.any()


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_isolated_node_receives_nothing(name, spec):
    result = convolve(build(name, spec), *random_inputs(spec))

    assert not result[NODES - 1].any()
    assert spec.num_outputs == 1 or result[: NODES - 1].any()


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_order_of_edges_does_not_matter(name, spec):
    backend = build(name, spec)
    x, directions, weights, edge_index = random_inputs(spec)
    order = torch.randperm(len(directions), generator=torch.Generator().manual_seed(1))

    shuffled = convolve(
        backend, x, directions[order], weights[order], edge_index[:, order]
    )

    expected = convolve(backend, x, directions, weights, edge_index)
    assert_close(shuffled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "spec"), PLAIN)
def test_backends_own_no_state(name, spec):
    backend = make(name, spec)

    assert not list(backend.parameters())
    assert not backend.state_dict()


@pytest.mark.parametrize(("name", "spec"), PLAIN)
def test_constants_survive_a_round_trip_through_float32(name, spec):
    inputs = random_inputs(spec)
    backend = build(name, spec)
    expected = convolve(backend, *inputs)

    result = convolve(backend.float().double(), *inputs)

    assert torch.equal(result, expected)


@pytest.mark.parametrize(
    "spec",
    [
        TensorProductSpec(2, 2, 2),
        TensorProductSpec(2, 2, 2, "per_degree"),
        TensorProductSpec(2, 2, 2, "per_degree", "SO(3)"),
    ],
)
def test_messages_have_unit_variance(spec):
    generator = torch.Generator().manual_seed(0)
    n = 20_000
    x = torch.randn(n, 9, 1, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(
        torch.randn(n, 3, generator=generator, dtype=torch.float64)
    )
    weights = torch.randn(
        n, spec.num_weights, 1, generator=generator, dtype=torch.float64
    )
    edge_index = torch.arange(n).expand(2, n)

    result = convolve(ClebschGordan(spec), x, directions, weights, edge_index)

    assert_close(result.pow(2).mean((0, 2)), torch.ones(9).double(), rtol=0.1, atol=0)


def test_per_degree_weights_give_the_product_of_functions_on_the_sphere():
    """f(n) g(n) at a point equals the sum of its harmonics, given enough degrees."""
    l1, l2 = 2, 1
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(9, generator=generator, dtype=torch.float64)
    g = torch.randn(4, generator=generator, dtype=torch.float64)
    point = torch.nn.functional.normalize(
        torch.randn(1, 3, generator=generator, dtype=torch.float64)
    )
    y = spherical_harmonics(l1 + l2, point)[0] / (4 * torch.pi) ** 0.5

    product = torch.zeros(16, dtype=torch.float64)
    for path in TensorProductSpec(l1, l2, l1 + l2, "per_degree").paths:
        a, b, c = path
        product[c**2 : (c + 1) ** 2] += gaunt_factor(path) * torch.einsum(
            "ijk,i,j->k",
            wigner_3j(a, b, c),
            f[a**2 : (a + 1) ** 2],
            g[b**2 : (b + 1) ** 2],
        )

    assert_close(product @ y, (f @ y[:9]) * (g @ y[:4]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("symmetry", "counts"),
    [("O(3)", [1, 4, 11, 23, 42]), ("SO(3)", [1, 5, 15, 34, 65])],
)
def test_number_of_paths(symmetry, counts):
    """Counts by hand for lmax 0 to 4."""
    found = [len(TensorProductSpec(n, n, n, symmetry=symmetry).paths) for n in range(5)]

    assert found == counts


def test_impossible_specs_are_refused():
    with pytest.raises(ValueError, match="lmax_in must not be negative, got -1"):
        TensorProductSpec(-1, 0, 0)


def test_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown.*'warp'; choose one of clebsch_g"):
        get_backend("warp")


def test_backend_refuses_what_it_cannot_compute(monkeypatch):
    monkeypatch.setattr(
        ClebschGordan, "unsupported", staticmethod(lambda spec: "too hard")
    )
    with pytest.raises(UnsupportedSpecError, match=r"cannot compute .*: too hard"):
        ClebschGordan(TensorProductSpec(1, 1, 1))
