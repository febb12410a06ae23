"""What every architecture must fulfill, beside the laws of tests/physics."""

import io
from pathlib import Path
from typing import get_args

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from rich.console import Console

from equipot import EquipotCalculator
from equipot.checkpoint.file import load_potential, read_header, save_potential
from equipot.config.model import AnyModelConfig, parse_model
from equipot.config.train import TrainConfig
from equipot.hessians import sparse_hessian
from equipot.models.architectures import ARCHITECTURES
from equipot.models.build import build_potential, product_specs, weight_shapes
from equipot.models.potential import Potential
from equipot.models.products import backend_of, specs_of
from equipot.neighbors import build_graph
from equipot.training.run import run_training
from equipot.verify import potential as verification
from tests.potentials import ARCHITECTURES as POINTS
from tests.potentials import SMALL, random_potential, statistics_of

by_name = pytest.mark.parametrize("name", ARCHITECTURES)


def small(name: str, **update: object) -> Potential:
    return random_potential(architecture=name, num_layers=2, **update)


def test_every_architecture_has_a_section_and_is_visited_by_the_physical_tests():
    sections = {
        c.model_fields["architecture"].default for c in get_args(AnyModelConfig)
    }
    visited = {str(point.get("architecture", "nequip")) for point in POINTS.values()}

    assert sections == set(ARCHITECTURES) == visited


@by_name
def test_weights_are_parameters_and_constants_are_not_in_the_state(name):
    potential = small(name)

    assert set(potential.state_dict()) == set(dict(potential.named_parameters()))
    assert len(potential.backbone.lmax) == potential.num_layers == 2


@by_name
def test_every_weight_has_a_gradient(name, ethanol):
    """Every weight reaches the energy, or training would leave it as it is."""
    potential = small(name, elements=(1, 6, 8)).train()
    graph = build_graph(ethanol, potential.cutoff)

    potential(graph, ("energy",)).energy.sum().backward()

    for key, weight in potential.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().max() > 0, key


@by_name
def test_features_of_isolated_atoms_and_empty_graphs(name):
    potential = small(name)
    atoms = Atoms("HSi", [[0, 0, 0], [0, 0, 50]])

    prediction = potential(build_graph(atoms, potential.cutoff), ("features", "energy"))

    assert prediction.features.shape == (2, potential.backbone.channels[-1])
    assert prediction.features.isfinite().all()


@by_name
def test_a_huge_architecture_is_described_without_memory_for_it(name):
    config = parse_model({"architecture": name, "channels": 20_000})
    shapes = weight_shapes(config, statistics_of((1, 8), config.cutoff))

    assert sum(size.numel() for size in shapes.values()) > 1e9


@by_name
def test_products_are_found_and_listed_without_building_them(name):
    config = parse_model({"architecture": name, **SMALL.get(name, {})})
    potential = build_potential(config, statistics_of((1, 8), config.cutoff))

    assert product_specs(config) == specs_of(potential)
    assert backend_of(potential) == "clebsch_gordan"


@by_name
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_potential_is_the_same(name, dtype, tmp_path, ethanol):
    config = parse_model({"architecture": name, **SMALL.get(name, {}), "dtype": dtype})
    statistics = statistics_of((1, 6, 8), config.cutoff)
    potential = build_potential(config, statistics).eval()
    save_potential(tmp_path / "m.safetensors", potential, config, statistics)

    loaded = load_potential(
        tmp_path / "m.safetensors", device="cpu", backend="clebsch_gordan"
    )

    graph = build_graph(ethanol, config.cutoff)
    same = torch.equal(loaded(graph).forces, potential(graph).forces)
    assert same
    header = read_header(tmp_path / "m.safetensors")
    assert header["model"]["architecture"] == name


@by_name
def test_blocks_of_a_sparse_hessian_are_those_of_the_dense_one(name, silica):
    potential = small(name, elements=(8, 14), cutoff=2.5)
    atoms = silica.repeat((2, 1, 1))
    graph = build_graph(atoms, potential.cutoff)

    dense = potential(graph, ("hessian",)).hessian[0].reshape(3 * len(atoms), -1)
    sparse = sparse_hessian(potential, graph).toarray()

    np.testing.assert_allclose(sparse, dense.numpy(), rtol=0, atol=1e-10)


@by_name
def test_reflections_are_verified_for_what_claims_them(name, ethanol, monkeypatch):
    potential = small(name, elements=(1, 6, 8))
    asked = {}

    def record(*arguments: object, **options: object) -> None:
        asked.update(options)
        raise InterruptedError

    monkeypatch.setattr(verification, "verify_energy_model", record)
    with pytest.raises(InterruptedError):
        verification.verify_potential(potential, [ethanol])

    assert asked["reflections"] == (potential.backbone.symmetry == "O(3)")


@by_name
def test_keys_of_another_architecture_are_refused_with_the_reason(name):
    foreign = {
        "nequip": "correlation",
        "mace": "symmetry",
        "tensornet": "lmax",
        "nequix": "self_connection",
        "sevennet": "layer_norm",
        "nequip_original": "bias",
    }[name]

    with pytest.raises(ValueError, match=f"{foreign} is a key of architecture"):
        parse_model({"architecture": name, foreign: 2})


def test_an_unknown_architecture_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="'nequip', 'mace', 'tensornet', 'nequix'"):
        parse_model({"architecture": "transformer"})


TRAINED = {
    **{name: {"architecture": name} for name in ARCHITECTURES},
    "mace_density_agnesi": POINTS["mace_density_agnesi"],  # weights that stay constant
}


@pytest.fixture(params=TRAINED)
def trained(request, crystals, tmp_path):
    """Runs training of an architecture; returns a function of the number of epochs."""
    keys = TRAINED[request.param]

    def run(folder: str, epochs: int, *, resume: bool = False, seed: int = 0) -> Path:
        tree = {
            "seed": seed,
            "model": {
                "cutoff": 3.2, "channels": 2, "num_layers": 2,
                "num_basis": 3, "readout_hidden": 4, "dtype": "float64",
                **SMALL.get(keys["architecture"], {}), **keys,
            },
            "data": {"train": [str(crystals)], "valid": 2},
            "training": {
                "epochs": epochs, "batch_size": 4, "num_threads": 1, "device": "cpu",
                "verify": False, "schedule": {"kind": "constant"},
            },
        }  # fmt: skip
        config = TrainConfig.model_validate(tree)
        console = Console(file=io.StringIO())
        run_training(config, tmp_path / folder, resume=resume, console=console)
        return tmp_path / folder

    return run


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> Path:
    """Copper crystals with energies and forces of EMT."""
    path = tmp_path_factory.mktemp("data") / "copper.xyz"
    frames = []
    for seed in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


def test_training_that_was_resumed_ends_with_the_same_weights(trained):
    through = trained("through", 2)
    trained("halves", 1)
    halves = trained("halves", 2, resume=True)

    first, second = (
        load_potential(run / "last.safetensors", device="cpu").state_dict()
        for run in (through, halves)
    )
    assert all(torch.equal(weight, second[key]) for key, weight in first.items())


def test_trained_models_run_dynamics_as_a_committee_and_conserve_energy(trained):
    models = [trained(f"member{n}", 1, seed=n) / "model.safetensors" for n in (0, 1)]
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EquipotCalculator(models, on_extrapolation="ignore")
    before = atoms.get_total_energy()

    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    dynamics.run(20)

    assert atoms.calc.results["energy_spread"] > 0
    assert abs(atoms.get_total_energy() - before) < 1e-4
    assert np.ptp(atoms.positions) > 0
