"""An optional backend: what it says where it is absent, and what it works around."""

import pytest
import torch

from equipot.config.model import NequIPConfig
from equipot.graph.connectivity import Connectivity
from equipot.models import build_potential, check_model
from equipot.tensor_products import (
    BackendUnavailableError,
    ClebschGordan,
    TensorProductSpec,
    cuequivariance,
    unavailable,
)
from equipot.tensor_products.cuequivariance import CuEquivariance
from tests.potentials import statistics_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SPEC = TensorProductSpec(1, 1, 1)


@pytest.fixture
def absent(monkeypatch):
    """Makes packages look as if they were not installed."""

    def remove(*names):
        monkeypatch.setattr(
            cuequivariance, "find_spec", lambda name: None if name in names else name
        )

    return remove


@pytest.mark.parametrize("name", ["cuequivariance", "cuequivariance_torch"])
def test_without_the_package_the_command_that_installs_it_is_named(absent, name):
    absent(name)
    command = r"pip install 'cuequivariance>=0\.13,<0\.14' 'cuequivariance-torch>="

    assert "not installed" in unavailable("cuequivariance", CPU)
    with pytest.raises(BackendUnavailableError, match=command):
        CuEquivariance(SPEC)
    with pytest.raises(BackendUnavailableError, match=command):
        check_model(NequIPConfig(backend="cuequivariance"))
    with pytest.raises(BackendUnavailableError, match=command):
        build_potential(
            NequIPConfig(backend="cuequivariance"), statistics_of((1,), 5.0)
        )


def test_gpu_needs_its_closed_kernels_and_the_cpu_does_not(absent):
    absent("cuequivariance_ops_torch")

    assert unavailable("cuequivariance", CPU) is None
    assert "pip install cuequivariance-ops-torch-cu" in unavailable(
        "cuequivariance", GPU
    )


@pytest.mark.parametrize("edges", [0, 1])
def test_few_edges_are_no_special_case(edges):
    """Version 0.13 mistakes an empty list of receivers for none at all."""
    if (reason := unavailable("cuequivariance", CPU)) is not None:
        pytest.skip(reason)
    x = torch.ones(3, 4, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.ones(edges, SPEC.num_weights, 2, dtype=torch.float64)
    weights.requires_grad_()
    directions = torch.eye(3, dtype=torch.float64)[:edges]
    connectivity = Connectivity(torch.tensor([[0], [2]])[:, :edges], 3)

    def run(backend):
        out = backend(x, backend.prepare(directions, connectivity), weights)
        return out, *torch.autograd.grad(out.sum(), [x, weights])

    for mine, expected in zip(
        run(CuEquivariance(SPEC)), run(ClebschGordan(SPEC)), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)
