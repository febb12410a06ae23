"""What a direct Hessian obeys whatever its weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch.testing import assert_close

from equipot.graph.atomic_graph import collate
from equipot.heads.direct_hessian import reverse_edges
from equipot.models import direct_hessian
from equipot.models.pair_graph import pair_graph
from equipot.neighbors import build_graph
from equipot.so3 import random_rotation
from tests.potentials import random_potential

TIGHT = {"rtol": 0, "atol": 1e-12}
HEAD = {"cutoff": 6.0, "channels": 4, "num_basis": 4, "hidden": (8,)}
ARCHITECTURES = {
    "lmax0": {"lmax": 0, "num_layers": 2},
    "lmax1": {"lmax": 1, "num_layers": 2},
    "lmax3": {"lmax": 3, "num_layers": 3},
    "one_layer": {"num_layers": 1},
    "per_degree": {"weighting": "per_degree", "num_layers": 2},
}


def potential_of(sum_rule="on_site", **architecture):
    settings = {"num_layers": 2, **architecture}
    return random_potential(direct_hessian={**HEAD, "sum_rule": sum_rule}, **settings)


@pytest.fixture(params=["on_site", "projection"])
def sum_rule(request):
    return request.param


def blocks_of(potential, atoms):
    return direct_hessian(potential, build_graph(atoms, potential.cutoff))


def hessian_of(potential, atoms):
    """As ``(atoms, 3, atoms, 3)``."""
    (matrix,) = blocks_of(potential, atoms).matrices()
    return matrix.view(len(atoms), 3, len(atoms), 3)


@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoreflection"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_commutes_with_orthogonal_maps(
    architecture, sum_rule, improper, ethanol, generator
):
    potential = potential_of(sum_rule, **ARCHITECTURES[architecture])
    matrix = (-1 if improper else 1) * random_rotation(generator)
    before = hessian_of(potential, ethanol)
    ethanol.positions = ethanol.positions @ matrix.numpy().T

    after = hessian_of(potential, ethanol)

    assert before.abs().max() > 1e-2
    expected = torch.einsum("ab,nbmd,cd->namc", matrix, before, matrix)
    assert_close(after, expected, **TIGHT)


def test_so3_model_commutes_with_rotations(ethanol, generator):
    potential = potential_of(symmetry="SO(3)", lmax=1)
    matrix = random_rotation(generator)
    before = hessian_of(potential, ethanol)
    ethanol.positions = ethanol.positions @ matrix.numpy().T

    expected = torch.einsum("ab,nbmd,cd->namc", matrix, before, matrix)
    assert_close(hessian_of(potential, ethanol), expected, **TIGHT)


def test_translation_and_permutation(sum_rule, ethanol):
    potential = potential_of(sum_rule)
    before = hessian_of(potential, ethanol)
    order = np.random.default_rng(0).permutation(len(ethanol))
    moved = ethanol[order]
    moved.positions += [3.0, -20.0, 7.0]

    expected = before[order][:, :, order]
    assert_close(hessian_of(potential, moved), expected, **TIGHT)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_symmetry_and_acoustic_sum_rule(architecture, sum_rule, ethanol):
    potential = potential_of(sum_rule, **ARCHITECTURES[architecture])

    hessian = hessian_of(potential, ethanol)

    assert_close(hessian, hessian.permute(2, 3, 0, 1), **TIGHT)
    assert hessian.sum(2).abs().max() < 1e-12


def test_crystal_is_symmetric_and_obeys_the_sum_rule(silica):
    hessian = hessian_of(potential_of(), silica)

    assert hessian.abs().max() > 1e-2
    assert_close(hessian, hessian.permute(2, 3, 0, 1), **TIGHT)
    assert hessian.sum(2).abs().max() < 1e-12


def test_single_precision_obeys_the_sum_rule_as_far_as_it_can(ethanol):
    potential = potential_of(dtype="float32")

    hessian = hessian_of(potential, ethanol)

    assert hessian.dtype == torch.float32
    assert hessian.sum(2).abs().max() < 1e-5 * hessian.abs().max()


def test_blocks_hold_all_of_degrees_0_1_and_2(ethanol):
    """The pseudovector is there, although features have natural parity."""
    blocks = blocks_of(potential_of(), ethanol).pairs

    symmetric, antisymmetric = (blocks + blocks.mT) / 2, (blocks - blocks.mT) / 2
    trace = symmetric.diagonal(dim1=1, dim2=2).mean(1)
    traceless = symmetric - trace[:, None, None] * torch.eye(3)
    for part in (trace, antisymmetric, traceless):
        assert part.abs().max() > 1e-3


def test_a_plane_of_symmetry_leaves_no_coupling_through_it():
    """Water: displacements out of its plane do not mix with those within."""
    water = molecule("H2O")
    hessian = hessian_of(potential_of(), water)

    out, within = 0, [1, 2]  # the molecule lies in yz
    assert hessian[:, out][:, :, within].abs().max() < 1e-12
    assert hessian[:, within][:, :, :, within].abs().max() > 1e-3


def test_a_batch_is_its_structures(sum_rule, ethanol):
    potential = potential_of(sum_rule)
    single = [ethanol, molecule("H2O"), Atoms("H"), molecule("CO2")]
    graphs = [build_graph(atoms, potential.cutoff) for atoms in single]

    together = direct_hessian(potential, collate(graphs)).matrices()

    for atoms, matrix in zip(single, together, strict=True):
        expected = hessian_of(potential, atoms).reshape(matrix.shape)
        assert_close(matrix, expected, **TIGHT)


def test_a_batch_may_hold_crystals_and_molecules(ethanol, silica):
    potential = potential_of(elements=(1, 6, 8, 14))
    graphs = [build_graph(a, potential.cutoff) for a in (silica, ethanol)]

    together = direct_hessian(potential, collate(graphs)).matrices()

    for atoms, matrix in zip((silica, ethanol), together, strict=True):
        expected = hessian_of(potential, atoms).reshape(matrix.shape)
        assert_close(matrix, expected, **TIGHT)


def test_products_are_those_of_the_matrix(sum_rule, ethanol, generator):
    potential = potential_of(sum_rule)
    pair = [ethanol, molecule("H2O")]
    blocks = direct_hessian(
        potential, collate([build_graph(a, potential.cutoff) for a in pair])
    )
    v = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)

    matrix = torch.block_diag(*blocks.matrices())

    assert_close(blocks.products(v).flatten(1), v.flatten(1) @ matrix, **TIGHT)


def test_distant_fragments_do_not_know_of_each_other(ethanol):
    """Size consistency, which projection gives up."""
    water = molecule("H2O")
    water.positions += [50, 0, 0]
    both = ethanol + water
    n = len(ethanol)

    hessian = hessian_of(potential_of(), both)

    assert hessian[:n, :, n:].abs().max() == 0
    alone = hessian_of(potential_of(), ethanol)
    assert_close(hessian[:n, :, :n], alone, **TIGHT)
    projected = hessian_of(potential_of("projection"), both)
    assert projected[:n, :, n:].abs().max() > 1e-6


def test_a_pair_fades_out_at_the_cutoff():
    potential = potential_of()

    def stiffness(distance):
        return hessian_of(potential, Atoms("OH", [[0, 0, 0], [0, 0, distance]]))

    assert stiffness(5.9).abs().max() > 1e-9
    assert stiffness(5.999).abs().max() < 1e-6
    assert stiffness(6.001).abs().max() == 0


@pytest.mark.parametrize("fractions", [(0, 0, 0), (1 / 3, 0, 0), (1 / 3, 1 / 2, 0)])
def test_waves_of_a_crystal_are_those_of_its_supercell(silica, fractions):
    """Image-resolved blocks, summed with phases, against one large cell."""
    potential = potential_of()
    supercell = silica.repeat((3, 2, 1))
    n, size = len(silica), len(supercell)
    wave = 2 * np.pi * np.linalg.inv(silica.cell.array) @ np.array(fractions)

    here = blocks_of(potential, silica).at_wave_vector(torch.from_numpy(wave))

    positions = torch.from_numpy(supercell.positions)
    difference = positions[None] - positions[:, None]
    phase = torch.exp(1j * (difference @ torch.from_numpy(wave)))
    full = hessian_of(potential, supercell) * phase[:, None, :, None]
    expected = full[:n].unflatten(2, (size // n, n)).sum(2).reshape(3 * n, 3 * n)
    assert_close(here, expected, **TIGHT)
    assert_close(here, here.mH, **TIGHT)


def test_acoustic_branches_rise_from_zero(silica):
    blocks = blocks_of(potential_of(), silica)
    small = torch.tensor([1e-3, 0, 0], dtype=torch.float64)

    at_zero = blocks.at_wave_vector(0 * small)
    uniform = torch.eye(3).repeat(len(silica), 1).to(at_zero)
    assert (at_zero @ uniform).abs().max() < 1e-12
    one, two = (
        (uniform.mH @ blocks.at_wave_vector(k * small) @ uniform).real for k in (1, 2)
    )
    assert_close(two, 4 * one, rtol=0, atol=1e-4 * float(one.abs().max()))
    (matrix,) = blocks.matrices()
    assert_close(at_zero.real, matrix, **TIGHT)


def test_blocks_of_opposite_images_are_transposes(silica):
    potential = potential_of()
    graph = pair_graph(build_graph(silica, potential.cutoff), HEAD["cutoff"])
    blocks = direct_hessian(potential, build_graph(silica, potential.cutoff))

    reverse = reverse_edges(graph)

    assert torch.equal(blocks.edge_index, graph.edge_index)
    assert torch.equal(graph.edge_index[:, reverse], graph.edge_index.flip(0))
    assert torch.equal(graph.edge_shift[reverse], -graph.edge_shift)
    assert_close(blocks.pairs[reverse], blocks.pairs.mT, **TIGHT)


def test_edges_of_a_longer_graph_change_nothing(ethanol):
    potential = potential_of()
    expected = hessian_of(potential, ethanol)

    blocks = direct_hessian(potential, build_graph(ethanol, 9.0))

    assert_close(blocks.matrices()[0], expected.reshape(27, 27), **TIGHT)


@pytest.mark.parametrize("periodic", [False, True])
def test_pairs_are_those_of_a_neighbor_search(ethanol, silica, periodic):
    structures = [silica, bulk("Si")] if periodic else [ethanol, molecule("H2O")]
    short = collate([build_graph(a, 2.0) for a in structures])
    expected = collate([build_graph(a, 5.0) for a in structures])

    found = pair_graph(short, 5.0)

    def edges(graph):
        return sorted(torch.cat([graph.edge_index, graph.edge_shift.T]).T.tolist())

    assert found.cutoff == 5.0
    assert edges(found) == edges(expected)


def test_a_head_changes_no_energy(ethanol):
    with_head = potential_of()
    without = random_potential(num_layers=2)
    graph = build_graph(ethanol, 4.0)

    assert torch.equal(with_head(graph).forces, without(graph).forces)
    assert with_head(graph).hessian_direct is None


def test_an_output_of_the_potential_is_the_same(ethanol):
    potential = potential_of()
    graph = build_graph(ethanol, 4.0)

    prediction = potential(graph, ("energy", "forces", "hessian_direct"))

    expected = direct_hessian(potential, graph)
    assert torch.equal(prediction.hessian_direct.pairs, expected.pairs)
    assert torch.equal(prediction.forces, potential(graph).forces)
    assert not expected.pairs.requires_grad


def test_a_detached_head_leaves_the_backbone_alone(ethanol):
    potential = random_potential(
        num_layers=2, direct_hessian={**HEAD, "detach": True}
    ).train()
    graph = build_graph(ethanol, 4.0)

    blocks = potential(graph, ("energy", "hessian_direct")).hessian_direct
    blocks.pairs.square().sum().backward()

    assert all(p.grad is None for p in potential.backbone.parameters())
    assert all(p.grad is not None for p in potential.direct_hessian.parameters())


def test_a_potential_without_a_head_is_refused(ethanol):
    potential = random_potential(num_layers=1)

    with pytest.raises(ValueError, match=r"no head for hessian_direct: train one"):
        direct_hessian(potential, build_graph(ethanol, 4.0))


def test_projection_is_refused_for_crystals(silica):
    with pytest.raises(ValueError, match=r"'projection' is for molecules"):
        hessian_of(potential_of("projection"), silica)


def test_waves_need_one_structure_with_on_site_blocks(ethanol):
    wave = torch.zeros(3, dtype=torch.float64)
    blocks = blocks_of(potential_of("projection"), ethanol)

    with pytest.raises(ValueError, match=r"got 1 structures with sum_rule 'proj"):
        blocks.at_wave_vector(wave)


def test_an_edge_without_its_reverse_is_refused(ethanol):
    graph = build_graph(ethanol, 4.0)
    broken = replace(
        graph, edge_index=graph.edge_index[:, 1:], edge_shift=graph.edge_shift[1:]
    )

    with pytest.raises(ValueError, match="edges without a reverse: 1"):
        reverse_edges(broken)
