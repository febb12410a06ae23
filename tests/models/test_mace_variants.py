"""Variants of MACE that published models have, as models that are trained here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from pydantic import ValidationError

from equipot.checkpoint.file import load_potential, save_potential
from equipot.config.model import parse_model
from equipot.hessians import sparse_hessian
from equipot.models.build import build_potential, weight_shapes
from equipot.neighbors import build_graph
from equipot.training.optimizer import build_optimizer
from tests.potentials import ARCHITECTURES, SMALL, random_potential, statistics_of

VARIANTS = [
    n for n, keys in ARCHITECTURES.items() if keys.get("architecture") == "mace"
]
by_name = pytest.mark.parametrize("name", VARIANTS)


@by_name
def test_every_trained_weight_has_a_gradient(name, ethanol):
    potential = random_potential((1, 6, 8), **ARCHITECTURES[name]).train()
    graph = build_graph(ethanol, potential.cutoff)

    potential(graph, ("energy",)).energy.sum().backward()

    for key, weight in potential.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, key
            assert weight.grad.abs().max() > 0, key


@by_name
def test_constants_that_are_stored_are_not_trained_and_keep_their_digits(name, ethanol):
    potential = random_potential((1, 6, 8), **ARCHITECTURES[name]).train()
    before = {
        key: weight.detach().clone()
        for key, weight in potential.named_parameters()
        if not weight.requires_grad
    }
    optimizer = build_optimizer(
        potential, "adam", lr=0.1, weight_decay=0.1, betas=(0.9, 0.99), amsgrad=False
    )

    potential(build_graph(ethanol, 4.0), ("energy",)).energy.sum().backward()
    optimizer.step()

    after = dict(potential.named_parameters())
    assert all(torch.equal(weight, after[key]) for key, weight in before.items())
    radii = [w for key, w in before.items() if key.endswith("transform.radii")]
    assert all(weight.tolist() == [0.31, 0.76, 0.66] for weight in radii)


@by_name
def test_a_saved_variant_is_the_same(name, tmp_path, ethanol):
    keys = {**SMALL["mace"], **ARCHITECTURES[name], "channels": 4, "cutoff": 4.0}
    config = parse_model(keys)
    statistics = statistics_of((1, 6, 8), config.cutoff)
    potential = build_potential(config, statistics).eval()

    save_potential(tmp_path / "m.safetensors", potential, config, statistics)
    loaded = load_potential(
        tmp_path / "m.safetensors", device="cpu", backend="clebsch_gordan"
    )

    graph = build_graph(ethanol, config.cutoff)
    same = torch.equal(loaded(graph).forces, potential(graph).forces)
    assert same
    found = {key: weight.shape for key, weight in potential.state_dict().items()}
    assert weight_shapes(config, statistics) == found


@by_name
def test_hessians_from_tables_of_radial_functions_are_those_without(name, silica):
    keys = {**ARCHITECTURES[name], "cutoff": 2.5}
    potential = random_potential((8, 14), **keys)
    atoms = silica.repeat((2, 1, 1))
    graph = build_graph(atoms, potential.cutoff)
    size = 3 * len(atoms)

    sparse = sparse_hessian(potential, graph).toarray()
    dense = potential(graph, ("hessian",)).hessian[0].reshape(size, size)

    expected = by_differentiation_of_forces(potential, graph)
    np.testing.assert_allclose(dense.numpy(), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(sparse, expected, rtol=0, atol=1e-10)


def by_differentiation_of_forces(potential, graph):
    """Hessian without tables of radial functions, as weights may be trained."""
    positions = graph.positions.clone().requires_grad_()
    moved = replace(graph, positions=positions)
    forces = potential(moved, ("forces",), create_graph=True).forces.flatten()
    rows = [
        -torch.autograd.grad(force, positions, retain_graph=True)[0].flatten()
        for force in forces
    ]
    return torch.stack(rows).numpy()


def test_elements_that_are_absent_change_nothing(ethanol):
    """Of 89 elements, only those of the structure are computed."""
    small = random_potential((1, 6, 8), architecture="mace", num_layers=2)
    large = random_potential(tuple(range(1, 90)), architecture="mace", num_layers=2)
    weights = large.state_dict()
    rows = [0, 5, 7]
    for key, weight in small.state_dict().items():
        of_elements = weight.shape != weights[key].shape
        small.state_dict()[key].copy_(
            weights[key][rows] if of_elements else weights[key]
        )
    graph = build_graph(ethanol, 4.0)

    few, many = small(graph), large(graph)

    torch.testing.assert_close(few.energy, many.energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(few.forces, many.forces, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"correlation": [3, 2, 1]}, "3 values for 2 layers"),
        ({"envelope_on": "input"}, "radial_bias: false"),
        ({"lmax_sent": 2}, "lmax_sent is 2, but features have degrees up to 1"),
        ({"stored_roots": True, "radial_basis": "gaussian"}, "radial_basis: bessel"),
        ({"zbl": "other"}, "zbl"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys, match):
    with pytest.raises(ValidationError, match=match):
        parse_model({"architecture": "mace", **keys})


def test_a_single_atom_has_its_reference_energy():
    potential = random_potential((14,), **ARCHITECTURES["mace_density_agnesi"])

    energy = potential(build_graph(Atoms("Si", [[0, 0, 0]]), 4.0), ("energy",)).energy

    assert energy.item() == potential.reference_energies[14]
