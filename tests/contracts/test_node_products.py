"""What every backend of node products must fulfil, for every spec that it supports."""

import math
from functools import cache

import pytest
import torch
from torch.testing import assert_close

from equipot.node_products import (
    NODE_PRODUCTS,
    ClebschGordan,
    NodeProductSpec,
    get_node_product,
)
from equipot.node_products.couplings import coupling_polynomials
from equipot.node_products.polynomials import monomials
from equipot.node_products.scales import coupling_scales, degree_scales
from equipot.so3 import (
    num_components,
    random_rotation,
    representation_matrix,
    spherical_harmonics,
    wigner_3j,
)
from equipot.tensor_products import UnsupportedSpecError
from tests.node_products.dense import definition, num_orderings

SPECS = [
    NodeProductSpec(0, 0, 3),
    NodeProductSpec(0, 2, 2),
    NodeProductSpec(1, 1, 1),
    NodeProductSpec(1, 3, 2),
    NodeProductSpec(1, 2, 4),
    NodeProductSpec(1, 1, 5),
    NodeProductSpec(2, 2, 2),
    NodeProductSpec(2, 3, 3),
    NodeProductSpec(2, 1, 4),
    NodeProductSpec(3, 0, 3),
    NodeProductSpec(3, 3, 2),
    NodeProductSpec(1, 2, 3, symmetry="SO(3)"),
    NodeProductSpec(2, 2, 3, symmetry="SO(3)"),
    NodeProductSpec(0, 1, 4, weighting="per_degree"),
    NodeProductSpec(1, 0, 1, weighting="per_degree"),
    NodeProductSpec(1, 3, 2, weighting="per_degree"),
    NodeProductSpec(2, 0, 3, weighting="per_degree"),
    NodeProductSpec(2, 3, 3, weighting="per_degree"),
    NodeProductSpec(1, 2, 4, weighting="per_degree"),
    NodeProductSpec(2, 2, 4, weighting="per_degree"),
    NodeProductSpec(4, 2, 2, weighting="per_degree"),
]
CASES = [
    pytest.param(name, spec, id=f"{name}-{n}")
    for name, backend in NODE_PRODUCTS.items()
    for n, spec in enumerate(SPECS)
    if backend.unsupported(spec) is None
]
PER_DEGREE = [case for case in CASES if case.values[1].weighting == "per_degree"]
SMALL = [case for case in CASES if case.values[1].lmax_in < 2]

NODES = 4
CHANNELS = 3


def random_inputs(spec, *, nodes=NODES, channels=CHANNELS, seed=0):
    """Features and weights; the features of node 1 vanish."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = randn(nodes, num_components(spec.lmax_in), channels)
    x[1:2] = 0
    return x, randn(nodes, spec.num_weights, channels)


@cache
def build(name, spec):
    """A backend that tests share."""
    return NODE_PRODUCTS[name](spec)


def small_spec(name):
    """A specification that a backend supports."""
    specs = [NodeProductSpec(1, 1, 2, kind) for kind in ("per_degree", "per_path")]
    return next(s for s in specs if NODE_PRODUCTS[name].unsupported(s) is None)


@pytest.mark.parametrize(("name", "spec"), SMALL)
def test_nodes_can_share_rows_of_weights(name, spec):
    """As if each node had a copy; a row without nodes gets no gradient."""
    x, weights = (t.requires_grad_() for t in random_inputs(spec))
    rows = torch.tensor([2, 0, 2, 0])

    shared = build(name, spec)(x, weights, rows)
    copied = build(name, spec)(x, weights[rows])

    assert_close(shared, copied, rtol=1e-13, atol=1e-13)
    gradients = [
        torch.autograd.grad(result.pow(2).sum(), (x, weights))
        for result in (shared, copied)
    ]
    assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert not gradients[0][1][1].any()


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_equals_the_definition(name, spec):
    x, weights = random_inputs(spec)

    result = build(name, spec)(x, weights)

    assert result.shape == (NODES, num_components(spec.lmax_out), CHANNELS)
    assert_close(result, definition(spec, x, weights), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighting", ["per_path", "per_degree"])
@pytest.mark.parametrize("channels", [1, 128])
@pytest.mark.parametrize("name", NODE_PRODUCTS)
def test_any_number_of_channels(name, channels, weighting):
    spec = NodeProductSpec(2, 2, 3, weighting)
    if NODE_PRODUCTS[name].unsupported(spec) is not None:
        assert (name, weighting) in {
            ("fused", "per_degree"),
            ("gaunt_fft", "per_path"),
            ("spherical_grid", "per_path"),
        }
        return
    x, weights = random_inputs(spec, channels=channels)

    result = build(name, spec)(x, weights)

    assert_close(result, definition(spec, x, weights), rtol=0, atol=1e-12)


def test_four_factors_of_degree_3_equal_the_definition():
    """Dense tensors of 16^4 elements for each of 23 couplings."""
    spec = NodeProductSpec(3, 0, 4)
    x, weights = random_inputs(spec, nodes=2, channels=1)

    result = build("clebsch_gordan", spec)(x, weights)

    assert_close(result, definition(spec, x, weights), rtol=0, atol=1e-12)


def test_four_factors_of_degree_3_to_all_degrees_equal_their_polynomials():
    """212 couplings, each as a sum over monomials (dense tensors would take GBs)."""
    spec = NodeProductSpec(3, 3, 4)
    x, _ = random_inputs(spec, nodes=1, channels=1)
    expected = torch.zeros(spec.num_weights, 16, dtype=torch.float64)
    start = 0
    for block, alpha in zip(spec.blocks, coupling_scales(spec), strict=True):
        order, irrep, count = block
        table = monomials(16, order)
        polynomials = coupling_polynomials(3, order, irrep, slice(None))
        values = polynomials @ (num_orderings(table).sqrt() * x[0, table, 0].prod(1))
        where = slice(irrep.degree**2, (irrep.degree + 1) ** 2)
        expected[start : start + count, where] = alpha[:, None] * values
        start += count

    assert spec.num_weights == start == 212
    assert_close(values_of_couplings(spec, x[0, :, 0]), expected, rtol=0, atol=1e-12)


def test_four_factors_of_degree_3_commute_with_rotoreflections(generator):
    spec = NodeProductSpec(3, 3, 4)
    x, weights = random_inputs(spec)
    d = representation_matrix(3, -random_rotation(generator))

    before = build("clebsch_gordan", spec)(d @ x, weights)

    after = d @ build("clebsch_gordan", spec)(x, weights)
    assert_close(before, after, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_float32_equals_float64_up_to_rounding(name, spec):
    x, weights = random_inputs(spec)
    expected = definition(spec, x, weights)

    result = build(name, spec)(x.float(), weights.float())

    assert result.dtype == torch.float32
    assert_close(result.double(), expected, rtol=0, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize(("name", "spec"), CASES)
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoreflection"])
def test_commutes_with_orthogonal_maps(name, spec, improper, generator):
    if improper and spec.symmetry == "SO(3)":
        improper = False  # reflections are what that symmetry gives up
    x, weights = random_inputs(spec)
    q = (-1 if improper else 1) * random_rotation(generator)
    d_in = representation_matrix(spec.lmax_in, q)
    d_out = representation_matrix(spec.lmax_out, q)

    before = build(name, spec)(d_in @ x, weights)

    after = d_out @ build(name, spec)(x, weights)
    assert_close(before, after, rtol=0, atol=1e-12)


def test_so3_couplings_break_reflections():
    """The test above would notice a reflection that is not a symmetry."""
    spec = NodeProductSpec(2, 2, 2, symmetry="SO(3)")
    x, weights = random_inputs(spec)
    d = representation_matrix(2, -torch.eye(3, dtype=torch.float64))

    before = build("clebsch_gordan", spec)(d @ x, weights)

    after = d @ build("clebsch_gordan", spec)(x, weights)
    assert (before - after).abs().max() > 0.1


@pytest.mark.parametrize(("name", "spec"), PER_DEGREE)
def test_order_of_factors_does_not_matter(name, spec):
    """Weights per degree belong to factors, and the product commutes."""
    x, weights = random_inputs(spec)
    reversed_factors = []
    for order, block in zip(
        spec.orders,
        weights.split([spec.weights_of_order(n) for n in spec.orders], dim=1),
        strict=True,
    ):
        *factors, result = block.split(
            [spec.lmax_in + 1] * order + [spec.lmax_out + 1], dim=1
        )
        reversed_factors += [*reversed(factors), result]

    result = build(name, spec)(x, torch.cat(reversed_factors, dim=1))

    assert_close(result, build(name, spec)(x, weights), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_nodes_and_channels_do_not_mix(name, spec):
    x, weights = random_inputs(spec)
    expected = build(name, spec)(x, weights)
    x[2, :, 1] += 1
    weights[2, :, 1] -= 1

    result = build(name, spec)(x, weights)

    same = torch.ones(NODES, CHANNELS, dtype=torch.bool)
    same[2, 1] = False
    assert torch.equal(result.movedim(1, 2)[same], expected.movedim(1, 2)[same])
    assert not torch.equal(result[2, :, 1], expected[2, :, 1])


def thrice(function, inputs):
    """Three derivatives of the squared result along random directions."""
    out = function(*inputs).pow(2).sum()
    values = []
    for order in range(3):
        generator = torch.Generator().manual_seed(order)
        grads = torch.autograd.grad(
            out, inputs, create_graph=True, materialize_grads=True
        )
        out = sum(
            (g * torch.randn(g.shape, generator=generator, dtype=g.dtype)).sum()
            for g in grads
        )
        values.append(out.detach())
    return torch.stack(values)


@pytest.mark.parametrize(("name", "spec"), SMALL)
def test_three_derivatives_are_right(name, spec):
    """At vanishing features, too: node 1."""
    inputs = [t.requires_grad_() for t in random_inputs(spec, nodes=2, channels=1)]

    derivatives = thrice(build(name, spec), inputs)

    reference = thrice(lambda *args: definition(spec, *args), inputs)
    assert_close(derivatives, reference, rtol=1e-11, atol=1e-10)
    assert torch.autograd.gradcheck(build(name, spec), inputs)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_no_nodes_give_nothing(name, spec):
    x, weights = (t.requires_grad_() for t in random_inputs(spec, nodes=0))

    result = build(name, spec)(x, weights)

    assert result.shape == (0, num_components(spec.lmax_out), CHANNELS)
    gradients = torch.autograd.grad(result.sum(), (x, weights))
    assert [g.shape for g in gradients] == [x.shape, weights.shape]


@pytest.mark.parametrize("name", NODE_PRODUCTS)
def test_backends_own_no_state(name):
    backend = build(name, small_spec(name))

    assert not list(backend.parameters())
    assert not list(backend.buffers())
    assert not backend.state_dict()


@pytest.mark.parametrize(
    ("name", "spec"), [case for case in CASES if case.values[1].lmax_in == 2]
)
def test_constants_survive_a_round_trip_through_float32(name, spec):
    inputs = random_inputs(spec)
    backend = NODE_PRODUCTS[name](spec)
    expected = backend(*inputs)

    result = backend.float().double()(*inputs)

    assert torch.equal(result, expected)


@pytest.mark.parametrize(
    "spec",
    [
        NodeProductSpec(1, 2, 3),
        NodeProductSpec(2, 3, 2),
        NodeProductSpec(2, 2, 3, symmetry="SO(3)"),
        NodeProductSpec(1, 2, 2, "per_degree"),
        NodeProductSpec(2, 3, 2, "per_degree"),
        NodeProductSpec(2, 1, 3, "per_degree"),
    ],
    ids=str,
)
def test_results_have_unit_second_moment(spec, record_property):
    """Mean over 100,000 draws, which scatters; exact values are in test_scales."""
    x, weights = random_inputs(spec, nodes=102, channels=1000)

    result = ClebschGordan(spec)(x[2:], weights[2:])

    moments = result.square().mean((0, 2))
    reach = min(spec.lmax_out, spec.order * spec.lmax_in)
    expected = torch.ones(num_components(reach), dtype=torch.float64)
    reached = moments[: len(expected)]
    name = f"node product {spec.lmax_in, spec.lmax_out, spec.order} {spec.weighting}"
    moments_range = f"{reached.min():.3f} to {reached.max():.3f}"
    record_property("measured", f"{name}: second moments {moments_range}")
    assert_close(reached, expected, rtol=0.1, atol=0)
    assert not moments[len(expected) :].any()


def test_orders_contribute_equally():
    """A scalar and its square: <x^2> = 1 and <x^4> = 3."""
    spec = NodeProductSpec(0, 0, 2)
    x = torch.tensor([[[1.7]]]).double()

    linear = ClebschGordan(spec)(x, torch.tensor([[[1.0], [0.0]]]).double())
    square = ClebschGordan(spec)(x, torch.tensor([[[0.0], [1.0]]]).double())

    assert_close(linear, x / 2**0.5, rtol=0, atol=1e-15)
    assert_close(square, x**2 / 6**0.5, rtol=0, atol=1e-15)


def values_of_couplings(spec, x):
    """Result for each weight alone, [weight, component]; one node, one channel."""
    n = spec.num_weights
    return build("clebsch_gordan", spec)(
        x.expand(n, -1)[:, :, None], torch.eye(n, dtype=x.dtype)[:, :, None]
    )[:, :, 0]


def test_two_vectors_by_hand():
    """Squares of the scalar, dot product, scaled vector, traceless outer product."""
    x = torch.tensor([0.7, 0.2, -1.1, 0.4], dtype=torch.float64)
    scalar, vector = x[0], x[1:]
    y2 = spherical_harmonics(2, vector[None])[0, 4:]  # sum of squares 5 |v|^4
    expected = torch.zeros(6, 9, dtype=torch.float64)
    # weights of l = 0: one factor, two; of l = 1: one, two; of l = 2: two
    expected[0, 0] = scalar / 2**0.5
    expected[1, 0] = scalar**2 / 12**0.5  # 2 orders, 2 couplings, <s^4> = 3
    expected[2, 0] = vector @ vector / 60**0.5  # <(v.v)^2> = 15
    expected[3, 1:4] = vector / 2**0.5
    expected[4, 1:4] = scalar * vector / 2**0.5
    expected[5, 4:] = y2 / 15**0.5  # <|v|^4> = 15: of 5 components 15 each

    values = values_of_couplings(NodeProductSpec(1, 2, 2), x)

    assert_close(values, expected, rtol=0, atol=1e-14)


def test_three_vectors_by_hand():
    """Of l = 0: s^3 and s v.v; of l = 1: s^2 v and (v.v) v."""
    x = torch.tensor([0.7, 0.2, -1.1, 0.4], dtype=torch.float64)
    s, v = x[0], x[1:]
    vv = v @ v
    # 3 orders and 2 couplings each; <s^6> = 15, <s^2 (v.v)^2> = 15,
    # <s^4 v_k^2> = 3, <(v.v)^2 v_k^2> = 35
    scalars = torch.stack([s**3 / 90**0.5, s * vv / 90**0.5])
    vectors = torch.stack([s**2 * v / 18**0.5, vv * v / 210**0.5])

    values = values_of_couplings(NodeProductSpec(1, 1, 3), x)

    # weights: s; s^2, v.v; two of three factors | v; s v; two of three factors
    assert_close(values[3:5, 0], scalars, rtol=0, atol=1e-14)
    assert_close(values[7:9, 1:], vectors, rtol=0, atol=1e-14)
    assert not values[3:5, 1:].any()
    assert not values[7:9, 0].any()


def test_two_factors_are_the_pair_couplings():
    """Each coupling of two is a Wigner 3j symbol: alpha from its norm and its trace."""
    lmax = 2
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, generator=generator, dtype=torch.float64)
    spec = NodeProductSpec(lmax, 3, 2)
    pairs = {
        0: [(0, 0), (1, 1), (2, 2)],
        1: [(0, 1), (1, 2)],
        2: [(1, 1), (0, 2), (2, 2)],
        3: [(1, 2)],
    }
    expected = []
    for degree, couplings in pairs.items():
        if degree <= lmax:
            expected.append((degree, x[degree**2 : (degree + 1) ** 2] / 2**0.5))
        for a, b in couplings:
            c = wigner_3j(a, b, degree)
            z = torch.einsum(
                "ijk,i,j->k",
                c,
                x[a**2 : (a + 1) ** 2],
                x[b**2 : (b + 1) ** 2],
            )
            # <z^2> = 1 / (2 l + 1) for different operands, else with exchange and trace
            trace = (2 * a + 1) if degree == 0 else 0
            moment = (1 + (a == b)) / (2 * degree + 1) + (a == b) * trace
            orders = 2 if degree <= lmax else 1
            expected.append((degree, z / (orders * len(couplings) * moment) ** 0.5))

    values = values_of_couplings(spec, x)

    assert len(values) == len(expected)
    for value, (degree, z) in zip(values, expected, strict=True):
        where = slice(degree**2, (degree + 1) ** 2)
        sign = torch.sign(value[where] @ z)
        assert_close(value[where], sign * z, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "name",
    [name for name in NODE_PRODUCTS if name != "fused"],  # weights per path only
)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_per_degree_weights_give_products_of_functions_on_the_sphere(name, order):
    """At a point the result has the value of the product, given enough degrees."""
    spec = NodeProductSpec(2, 2 * order, order, "per_degree")
    generator = torch.Generator().manual_seed(0)
    x, weights = random_inputs(spec, nodes=1, channels=1)
    point = torch.nn.functional.normalize(
        torch.randn(1, 3, generator=generator, dtype=torch.float64)
    )
    y = spherical_harmonics(2 * order, point)[0] / (4 * math.pi) ** 0.5
    # only the highest order, with result weights 1
    weights[:, : -spec.weights_of_order(order)] = 0
    weights[:, -spec.lmax_out - 1 :] = 1
    factors = weights[0, -spec.weights_of_order(order) : -spec.lmax_out - 1, 0]
    degrees = [0, 1, 1, 1, 2, 2, 2, 2, 2]
    expected = torch.stack(
        [y[:9] @ (w[degrees] * x[0, :, 0]) for w in factors.unflatten(0, (order, 3))]
    ).prod()

    result = build(name, spec)(x, weights)[0, :, 0]

    scales = degree_scales(spec)[order - 1]
    per_component = scales.repeat_interleave(2 * torch.arange(2 * order + 1) + 1)
    assert_close(y @ (result / per_component), expected, rtol=0, atol=1e-11)


STORED = {
    NodeProductSpec(2, 2, 4): [
        *(0.21840634310923, -0.34111194004877, 0.11488759612136),
        *(0.50382365903947, -0.10728152163875, 0.17208291456422),
        *(0.68332037766549, 0.33974387898203, -0.09175852180268),
    ],
    NodeProductSpec(2, 1, 3, symmetry="SO(3)"): [
        0.20356653665139,
        0.47263706206599,
        -0.35242407712341,
        -0.95867045756545,
    ],
}


@pytest.mark.parametrize("spec", STORED, ids=["O(3)", "SO(3)"])
def test_stored_weights_keep_their_meaning(spec):
    """The basis is part of the format of checkpoints: these numbers must not change."""
    x = torch.cos(torch.arange(9.0).double())[None, :, None]
    weights = torch.cos(1 + torch.arange(spec.num_weights).double() ** 2)[None, :, None]

    result = build("clebsch_gordan", spec)(x, weights)[0, :, 0]

    expected = torch.tensor(STORED[spec], dtype=torch.float64)
    assert_close(result, expected, rtol=0, atol=1e-12)


def test_impossible_specs_are_refused():
    with pytest.raises(ValueError, match="lmax_in must be at least 0, got -1"):
        NodeProductSpec(-1, 0, 2)
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        NodeProductSpec(1, 1, 0)
    with pytest.raises(
        ValueError, match=r"equivariant under reflections; choose symmetry='O\(3\)'"
    ):
        NodeProductSpec(1, 1, 2, "per_degree", "SO(3)")


@pytest.mark.parametrize("name", ["gaunt_fft", "spherical_grid"])
def test_products_of_functions_refuse_weights_per_path(name):
    spec = NodeProductSpec(1, 1, 2)

    with pytest.raises(
        UnsupportedSpecError,
        match=r"cannot compute .* no weights per coupling; choose weighting=",
    ):
        get_node_product(name)(spec)


@pytest.mark.parametrize("name", NODE_PRODUCTS)
def test_operands_of_other_shapes_are_refused(name):
    """Neither components that would be ignored nor weights that would be broadcast."""
    spec = small_spec(name)
    x, weights = random_inputs(spec)
    message = r"expects features of shape \(nodes, 4, channels\) and weights of shape"

    with pytest.raises(ValueError, match=message):
        build(name, spec)(torch.cat([x, x], dim=1), weights)
    with pytest.raises(ValueError, match=message):
        build(name, spec)(x, weights[:, 1:])
    with pytest.raises(ValueError, match=message):
        build(name, spec)(x, weights[1:])  # one row for each node is expected


def test_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown.*'warp'; choose one of clebsch_g"):
        get_node_product("warp")
