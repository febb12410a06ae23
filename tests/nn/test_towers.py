"""Convolutions of channels per degree against dense ones that are filled up."""

import pytest
import torch
from torch.testing import assert_close

from equipot.graph.connectivity import Connectivity
from equipot.nn import PathLinear, TowerConvolution, paths_and_channels, tower_specs
from equipot.nn.tower import Tower, towers_of
from equipot.tensor_products import (
    BACKENDS,
    TensorProductSpec,
    get_backend,
    unavailable,
)

CPU = torch.device("cpu")
NODES, EDGES = 5, 17
SIDE_BY_SIDE = [
    name
    for name, backend in BACKENDS.items()
    if backend.unsupported(TensorProductSpec(1, 1, 1, accumulate="concat")) is None
]
CASES = [
    ((5, 3, 2), 2, (4, 3, 2), "O(3)"),
    ((5, 3, 2), 3, (4, 3, 2), "SO(3)"),
    ((4, 4), 1, (3,), "SO(3)"),
    ((3,), 2, (6, 2, 1), "O(3)"),
    ((4, 2, 2, 1), 1, (2, 2, 1, 1), "O(3)"),
]


def test_towers_have_the_channels_that_exist_in_the_same_degrees():
    assert towers_of((128, 64, 32, 32)) == (
        Tower(3, 0, 32),
        Tower(1, 32, 64),
        Tower(0, 64, 128),
    )
    assert towers_of((7, 7)) == (Tower(1, 0, 7),)


@pytest.mark.parametrize("channels", [(2, 3), (2, 0), ()])
def test_channels_that_increase_are_refused(channels):
    with pytest.raises(ValueError, match="must not increase"):
        towers_of(channels)


def test_products_of_other_towers_are_refused():
    product = get_backend("clebsch_gordan")(TensorProductSpec(1, 1, 1))

    with pytest.raises(ValueError, match="need tensor products"):
        TowerConvolution([product], (2, 2), (2, 2))


def convolution(channels_in, lmax_filter, channels_out, symmetry, backend):
    torch.manual_seed(3)
    specs = tower_specs(channels_in, lmax_filter, len(channels_out) - 1, symmetry)
    products = [get_backend(backend)(spec) for spec in specs]
    return TowerConvolution(products, channels_in, channels_out).double()


def operands(channels_in, num_weights):
    generator = torch.Generator().manual_seed(2)
    options = {"generator": generator, "dtype": torch.float64}
    x = [torch.randn(NODES, 2 * n + 1, c, **options) for n, c in enumerate(channels_in)]
    directions = torch.nn.functional.normalize(torch.randn(EDGES, 3, **options), dim=1)
    index = torch.randint(NODES, (2, EDGES), generator=generator)
    weights = torch.randn(EDGES, num_weights, **options)
    return x, directions, Connectivity(index, NODES), weights


def states(module, directions, connectivity):
    return {p.spec: p.prepare(directions, connectivity) for p in module.tensor_products}


@pytest.mark.parametrize("case", CASES)
def test_towers_equal_a_dense_product_filled_up_with_zeros(case):
    """Channels that a degree does not have are zero, and so are their weights."""
    channels_in, lmax_filter, channels_out, symmetry = case
    module = convolution(*case, "clebsch_gordan")
    x, directions, connectivity, weights = operands(channels_in, module.num_weights)
    widest, widest_out = channels_in[0], channels_out[0]
    spec = TensorProductSpec(
        len(channels_in) - 1,
        lmax_filter,
        len(channels_out) - 1,
        symmetry=symmetry,
        accumulate="concat",
    )
    product = get_backend("clebsch_gordan")(spec)
    mix = PathLinear(spec, widest, widest_out).double()
    specs = [p.spec for p in module.tensor_products]
    per_path = torch.zeros(EDGES, len(spec.paths), widest, dtype=torch.float64)
    filled = [0] * len(channels_out)
    for matrix in mix.weights:
        matrix.data.zero_()
    order = list(paths_and_channels(channels_in, channels_out, specs))
    for column, (_, path, channel, _) in enumerate(order):
        number = spec.paths.index(path)
        per_path[:, number, channel] = weights[:, column]
        degree = path.l_out
        ends = [p for p in spec.paths if p.l_out == degree]
        row = ends.index(path) * widest + channel
        source = module.weights[degree].data[filled[degree]]
        mix.weights[degree].data[row, : channels_out[degree]] = source
        filled[degree] += 1
    dense = torch.cat(
        [torch.nn.functional.pad(part, (0, widest - part.shape[2])) for part in x], 1
    )

    out = module(x, states(module, directions, connectivity), weights)

    message = product(dense, product.prepare(directions, connectivity), per_path)
    expected = mix(message)
    assert module.num_weights == len(order)
    for degree, part in enumerate(out):
        of_degree = expected[:, degree**2 : (degree + 1) ** 2, : channels_out[degree]]
        assert_close(part, of_degree, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", SIDE_BY_SIDE)
@pytest.mark.parametrize("case", CASES)
def test_backends_agree(case, backend):
    if (reason := unavailable(backend, CPU)) is not None:
        pytest.skip(reason)
    reference, module = (
        convolution(*case, name) for name in ("clebsch_gordan", backend)
    )
    x, directions, connectivity, weights = operands(case[0], module.num_weights)

    expected, out = (
        m(x, states(m, directions, connectivity), weights) for m in (reference, module)
    )

    assert_close(out, expected, rtol=0, atol=1e-12)
