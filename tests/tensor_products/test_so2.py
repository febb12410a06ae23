"""The product in the frame of each edge: what only this backend could get wrong."""

import pytest
import torch
from torch.testing import assert_close

from equipot.graph.connectivity import Connectivity
from equipot.so3 import degree_slice, num_components, representation_matrix
from equipot.so3.rotation import random_rotation
from equipot.tensor_products import BACKENDS, TensorProductSpec, UnsupportedSpecError
from equipot.tensor_products.random_operands import random_operands
from equipot.tensor_products.so2 import SO2, SO2Edges
from tests.nasty_edges import NASTY_EDGES

NODES = 3
SPECS = [
    TensorProductSpec(3, 3, 3),
    TensorProductSpec(3, 2, 1),
    TensorProductSpec(1, 3, 4, symmetry="SO(3)"),
]


def random_inputs(spec, generator, channels=2):
    others = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.cat([NASTY_EDGES, others]))
    edge_index = torch.randint(0, NODES, (2, len(directions)), generator=generator)
    connectivity = Connectivity(edge_index, NODES)
    x, weights = random_operands(spec, connectivity, channels, generator)
    return x, directions, weights, connectivity


@pytest.mark.parametrize("spec", SPECS)
def test_roll_of_the_frames_is_invisible(spec, generator):
    """R(Q n) Q takes n to the pole, too, with another roll about it for each edge."""
    backend = SO2(spec)
    x, directions, weights, connectivity = random_inputs(spec, generator)
    q = random_rotation(generator)
    d_in = representation_matrix(spec.lmax_in, q)
    d_out = representation_matrix(spec.lmax_out, q)
    edges = backend.prepare(directions, connectivity)
    turned = backend.prepare(directions @ q.T, connectivity)
    rolled = SO2Edges(
        turned.inward @ d_in,
        tuple(
            tuple(d_out[degree_slice(n), degree_slice(n)].T @ term for term in terms)
            for n, terms in enumerate(turned.outward)
        ),
        connectivity,
    )

    assert (rolled.inward - edges.inward).abs().max() > 0.1
    assert_close(
        backend(x, rolled, weights), backend(x, edges, weights), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["clebsch_gordan", "so2"])
@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
def test_order_is_kept_along_the_polar_axis(name, symmetry, generator):
    """The map of an edge along y: W^c is diagonal and even in m, W^s swaps and odd."""
    lmax = 3
    backend = BACKENDS[name](TensorProductSpec(lmax, lmax, lmax, symmetry=symmetry))
    pole = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    edges = backend.prepare(pole, Connectivity(torch.tensor([[0], [0]]), 1))
    weights = torch.randn(
        1, backend.spec.num_weights, 1, generator=generator, dtype=torch.float64
    )
    units = torch.eye(num_components(lmax), dtype=torch.float64)
    matrix = torch.stack(
        [backend(unit[None, :, None], edges, weights)[0, :, 0] for unit in units], dim=1
    )
    orders = torch.cat([torch.arange(-n, n + 1) for n in range(lmax + 1)])
    same, opposite = (orders[:, None] == sign * orders for sign in (1, -1))

    mirror = torch.cat([torch.arange(-n, n + 1).flip(0) + n + n**2 for n in range(4)])
    kept, swapped = matrix * same, matrix * (opposite & ~same)
    assert_close(matrix, kept + swapped, rtol=0, atol=1e-14)
    assert_close(kept, kept[mirror][:, mirror], rtol=0, atol=1e-14)
    assert_close(swapped, -swapped[mirror][:, mirror], rtol=0, atol=1e-14)
    assert bool(swapped.abs().max() > 0.1) == (symmetry == "SO(3)")


@pytest.mark.parametrize(
    ("spec", "components"),
    [
        (TensorProductSpec(0, 6, 6), 1),
        (TensorProductSpec(6, 6, 0), 7),
        (TensorProductSpec(3, 3, 1), 4 + 2 * 3),
        (TensorProductSpec(3, 3, 3), 16),
    ],
)
def test_only_orders_that_reach_a_message_are_turned(spec, components, generator):
    _, directions, _, connectivity = random_inputs(spec, generator)

    edges = SO2(spec).prepare(directions, connectivity)

    assert edges.inward.shape[1] == components


def test_hessian_by_function_transforms(generator):
    """Batched and forward-mode differentiation, at the poles and on the equator."""
    spec = TensorProductSpec(2, 2, 2)
    x, directions, weights, connectivity = random_inputs(spec, generator, channels=1)

    def energy(backend):
        def of_vectors(vectors):
            unit = vectors / vectors.norm(dim=1, keepdim=True)
            out = backend(x, backend.prepare(unit, connectivity), weights)
            return out.pow(3).sum()

        return of_vectors

    hessian, expected = (
        torch.func.hessian(energy(BACKENDS[name](spec)))(1.3 * directions)
        for name in ("so2", "clebsch_gordan")
    )

    scale = expected.abs().max()
    assert_close(hessian / scale, expected / scale, rtol=0, atol=1e-12)


def test_paths_side_by_side_are_refused():
    spec = TensorProductSpec(1, 1, 1, accumulate="concat")

    with pytest.raises(UnsupportedSpecError, match="choose accumulate='sum'"):
        SO2(spec)
