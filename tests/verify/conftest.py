"""A small potential, structures, and the broken backends under their names."""

import pytest

from equipot.tensor_products import BACKENDS
from tests.broken_backends import BROKEN, Wrapped
from tests.potentials import random_potential


@pytest.fixture(autouse=True)
def broken(monkeypatch):
    """Broken backends beside the others, and a slow one that is right."""
    for name, backend in {**BROKEN, "right": Wrapped}.items():
        monkeypatch.setitem(BACKENDS, name, backend)


@pytest.fixture
def structures(ethanol, silica):
    return [ethanol, silica]


@pytest.fixture(scope="session")
def small():
    """A potential of two layers, computed in float32."""
    return random_potential(lmax=1, num_layers=2, dtype="float32")
