"""Potentials and structures that many tests share."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import equipot.tensor_products.trial
from equipot.models import Potential
from tests.potentials import ARCHITECTURES, random_potential


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that tests find out is left in, or taken from, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


LARGE_EDGES = equipot.tensor_products.trial.LARGE_EDGES
"""Edges of the large comparison of backends, as users have it."""


@pytest.fixture(scope="session", autouse=True)
def _few_edges() -> Iterator[None]:
    """Fewer edges in the large comparison of backends, which would take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equipot.tensor_products.trial, "LARGE_EDGES", 1000)
        yield


@pytest.fixture
def many_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The large comparison of backends as users have it."""
    monkeypatch.setattr(equipot.tensor_products.trial, "LARGE_EDGES", LARGE_EDGES)


@pytest.fixture(scope="session")
def crash_server() -> Iterator[Any]:
    """Process that forks the processes which are killed."""
    from crashing.processes import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def undisturbed(crash_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A short training that nobody stopped: 18 steps, states at 0, 8, 16 and 18."""
    from crashing.inputs import write_training
    from crashing.points import Count
    from crashing.runs import Training

    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_training(folder / "data", epochs=3, checkpoint_steps=8)
    run = Training(folder / "run", config)
    ended = run.go(crash_server, Count())
    assert ended.code == 0, ended.text
    return run


@pytest.fixture(params=ARCHITECTURES, scope="session")
def potential(request: pytest.FixtureRequest) -> Potential:
    """One potential of each architecture."""
    return random_potential(**ARCHITECTURES[request.param])


@pytest.fixture
def ethanol() -> Atoms:
    """A molecule away from its minimum."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.fixture
def silica() -> Atoms:
    """A small, tilted, periodic cell shorter than the cutoff."""
    atoms = bulk("SiO", "zincblende", a=4.2)
    atoms.set_cell(atoms.cell @ np.array([[1.1, 0.1, 0], [0, 1, 0.2], [0.05, 0, 0.9]]))
    atoms.rattle(0.1, seed=4)
    return atoms


@pytest.fixture
def generator() -> torch.Generator:
    """Reproducible random numbers."""
    return torch.Generator().manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured: values that a pass or a failure does not tell."""
    measured = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "measured"
    ]
    if measured:
        terminalreporter.section("measured")
        for line in sorted(measured):
            terminalreporter.line(str(line))
