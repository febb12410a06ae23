"""What a potential accepts and refuses."""

from typing import get_args

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError
from torch.testing import assert_close

from equipot.config.model import Backend, NequIPConfig
from equipot.models import build_potential, check_model, with_backend
from equipot.models.build import unsupported
from equipot.models.products import specs_of
from equipot.neighbors import build_graph
from equipot.tensor_products import (
    BACKENDS,
    ClebschGordan,
    UnsupportedSpecError,
    unavailable,
)
from tests.potentials import random_potential, statistics_of


def test_unknown_element_is_named_with_those_known():
    potential = random_potential(elements=(1, 8))
    graph = build_graph(molecule("CH3Cl"), potential.cutoff)

    with pytest.raises(ValueError, match=r"supports the elements H, O.*contains C, Cl"):
        potential(graph)


def test_graph_of_a_shorter_cutoff_is_refused():
    potential = random_potential(cutoff=4.0)
    graph = build_graph(molecule("H2O"), 3.0)

    with pytest.raises(ValueError, match=r"graph is 3.0 Å but the .* needs 4"):
        potential(graph)


def test_unknown_output_is_refused():
    potential = random_potential()
    graph = build_graph(molecule("H2O"), potential.cutoff)

    with pytest.raises(ValueError, match=r"unknown outputs \['dipole'\]; choose among"):
        potential(graph, {"energy", "dipole"})


def test_only_what_was_asked_for_is_computed():
    potential = random_potential()
    prediction = potential(build_graph(molecule("H2O"), 4.0), {"energy"})

    assert prediction.forces is None
    assert prediction.stress is None


def test_works_inside_no_grad():
    potential = random_potential()
    with torch.no_grad():
        prediction = potential(build_graph(molecule("H2O"), 4.0), {"forces"})

    assert prediction.forces.abs().max() > 0


def test_float32_network_keeps_energies_in_float64():
    """Totals of 1e5 eV would lose meV in float32."""
    config = NequIPConfig(cutoff=4.0, lmax=1, channels=4, num_layers=2)
    potential = build_potential(config, statistics_of((6,), 4.0), seed=0).eval()
    precise = build_potential(
        config.model_copy(update={"dtype": "float64"}), statistics_of((6,), 4.0), seed=0
    ).eval()
    precise.load_state_dict({k: v.double() for k, v in potential.state_dict().items()})
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    atoms.positions += 1000.0
    graph = build_graph(atoms, 4.0)

    energy = potential(graph, {"energy"}).energy

    assert energy.dtype == torch.float64
    exact = precise(graph, {"energy"}).energy
    assert abs(energy - exact).item() < 1e-5


def test_float32_keeps_the_mean_energy_of_atoms_with_neighbors_at_the_cutoff():
    # 12 neighbors at 3.84 Å, where the envelope is a difference of terms of up to 50
    atoms = bulk("Si", "fcc", a=5.43)
    single = random_potential(lmax=1, num_layers=2, dtype="float32")
    double = with_backend(single, single.backend, torch.float64)
    graph = build_graph(atoms, single.cutoff)

    energies = [float(model(graph, {"energy"}).energy) for model in (single, double)]

    assert energies[0] == pytest.approx(energies[1], rel=0, abs=1e-6)


def test_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    config = NequIPConfig(lmax=1, channels=4, num_layers=2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (
        build_potential(config, statistics_of((1,), 5.0), seed=7) for _ in range(2)
    )

    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_data_without_neighbors_are_refused():
    statistics = statistics_of((1,), 5.0)
    object.__setattr__(statistics, "average_num_neighbors", 0.0)

    with pytest.raises(ValueError, match="check that the cutoff exceeds"):
        build_potential(NequIPConfig(), statistics)


def test_backend_is_checked_before_any_data_are_read(monkeypatch):
    monkeypatch.setattr(
        ClebschGordan, "unsupported", staticmethod(lambda spec: "too hard")
    )

    with pytest.raises(UnsupportedSpecError, match=r"cannot compute .*: too hard"):
        check_model(NequIPConfig())


def test_configurations_name_the_backends_that_exist():
    """The list is spelled out in the configuration, which must not import torch."""
    assert set(get_args(Backend)) == {"auto", *BACKENDS}
    with pytest.raises(ValidationError, match=r"'auto', .*'clebsch_gordan'"):
        NequIPConfig(backend="abacus")


def test_the_reference_computes_until_auto_has_chosen():
    config = NequIPConfig()
    check_model(config)

    potential = build_potential(config, statistics_of((1,), 5.0))

    assert config.backend == "auto"
    assert potential.backend == "clebsch_gordan"
    with pytest.raises(ValueError, match="backend 'auto' must be resolved first"):
        with_backend(potential, "auto")


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_backend_predicts_the_same(potential, backend, ethanol):
    if (reason := unavailable(backend, torch.device("cpu"))) is not None:
        pytest.skip(reason)
    if (reason := unsupported(backend, specs_of(potential))) is not None:
        pytest.skip(reason)
    graph = build_graph(ethanol, potential.cutoff)

    twin = with_backend(potential, backend)

    assert twin.backend == backend
    assert potential.backend == "clebsch_gordan"
    assert_close(twin(graph).forces, potential(graph).forces, rtol=0, atol=1e-12)


def test_the_network_alone_lacks_references_shift_and_repulsion(ethanol):
    potential = random_potential(num_layers=2, zbl=True)
    graph = build_graph(ethanol, potential.cutoff)
    references = sum(potential.reference_energies[z] for z in ethanol.numbers.tolist())
    potential.repulsion, kept = None, potential.repulsion
    potential.shift, shift = 0.0, potential.shift
    expected = potential(graph)
    potential.repulsion, potential.shift = kept, shift

    alone = potential.network_alone()

    assert_close(alone(graph).energy, expected.energy - references)
    assert torch.equal(alone(graph).forces, expected.forces)
    assert not torch.equal(alone(graph).forces, potential(graph).forces)
