"""Products inside models: found, named, replaced and verified."""

import pytest
import torch
from torch.testing import assert_close

from equipot.config.model import parse_model
from equipot.models.build import as_reference, check_model, with_backend
from equipot.models.products import (
    backend_of,
    is_reference,
    node_backend_of,
    node_specs_of,
    replace_node_products,
)
from equipot.neighbors import build_graph
from equipot.node_products import NODE_PRODUCTS
from equipot.tensor_products import UnsupportedSpecError
from equipot.verify.backend import BackendMismatchError, check_backend
from tests.potentials import random_potential

MACE = {
    "architecture": "mace",
    "lmax": 2,
    "num_layers": 2,
    "node_weighting": "per_degree",
}


@pytest.mark.parametrize("backend", NODE_PRODUCTS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_node_backends_do_not_change_a_model(backend, order, ethanol):
    keys = {**MACE, "correlation": order}
    if backend == "fused":
        keys["node_weighting"] = "per_path"
    potential = random_potential((1, 6, 8), **keys, node_backend="clebsch_gordan")
    twin = with_backend(potential, "fused", node_backend=backend)
    graph = build_graph(ethanol, potential.cutoff)

    expected, found = potential(graph), twin(graph)

    assert (backend_of(twin), node_backend_of(twin)) == ("fused", backend)
    assert expected.forces.abs().max() > 1e-3
    assert_close(found.energy, expected.energy, rtol=0, atol=1e-9)
    assert_close(found.forces, expected.forces, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("weighting", "name"), [("per_path", "fused"), ("per_degree", "clebsch_gordan")]
)
def test_the_fastest_node_backend_is_the_default(weighting, name):
    potential = random_potential(**{**MACE, "node_weighting": weighting})

    assert node_backend_of(potential) == name


def test_the_reference_is_the_default_without_compiled_ops(monkeypatch):
    monkeypatch.setattr("equipot.node_products.unavailable", lambda device: "missing")
    potential = random_potential(**{**MACE, "node_weighting": "per_path"})

    assert node_backend_of(potential) == "clebsch_gordan"


def test_the_order_of_node_products_is_the_body_order():
    orders = [
        {
            spec.order
            for spec in node_specs_of(random_potential(**MACE, correlation=order))
        }
        for order in (1, 2, 3, 4)
    ]

    assert orders == [{1}, {2}, {3}, {4}]


def test_a_wrong_node_backend_is_refused_with_numbers(ethanol, monkeypatch):
    class Wrong(NODE_PRODUCTS["spherical_grid"]):
        def product(self, x, weights, rows):
            return 1.001 * super().product(x, weights, rows)

    monkeypatch.setitem(NODE_PRODUCTS, "wrong", Wrong)
    potential = random_potential((1, 6, 8), **MACE)
    wrong = with_backend(potential, "clebsch_gordan", node_backend="wrong")

    assert check_backend(potential, [ethanol]) is None
    with pytest.raises(BackendMismatchError, match="forces"):
        check_backend(wrong, [ethanol])


def test_backends_that_cannot_compute_a_node_product_are_refused_before_data_are_read():
    config = parse_model({"architecture": "mace", "node_backend": "gaunt_fft"})

    with pytest.raises(UnsupportedSpecError, match="GauntFFT"):
        check_model(config)


def test_the_reference_is_one_of_all_products():
    potential = random_potential(**MACE)
    mixed = with_backend(potential, "clebsch_gordan", node_backend="spherical_grid")

    assert is_reference(potential)
    assert not is_reference(mixed)
    assert is_reference(as_reference(mixed, torch.float64))


def test_products_of_several_backends_have_no_one_name():
    potential = random_potential(**MACE)
    first = potential.backbone.layers[0]
    specs = [first.node_product.spec]
    replace_node_products(
        first, {spec: NODE_PRODUCTS["spherical_grid"](spec) for spec in specs}
    )

    with pytest.raises(ValueError, match="several backends in one model"):
        node_backend_of(potential)
