"""Repulsion of nuclei."""

import math

import pytest
import torch

from equipot.heads import MACERepulsion, ZBLRepulsion

PAIR = torch.tensor([[1, 0], [0, 1]])


def pair_energy(z1, z2, distance, cutoff=5.0):
    repulsion = ZBLRepulsion(cutoff, 6)
    lengths = torch.full((2, 1), distance, dtype=torch.float64)
    return repulsion(torch.tensor([z1, z2]), lengths, PAIR).sum().item()


def test_approaches_the_bare_coulomb_energy_of_the_nuclei():
    distance = 1e-5
    coulomb = 14.399645 * 14 * 8 / distance

    assert pair_energy(14, 8, distance) == pytest.approx(coulomb, rel=1e-3)


def test_value_by_hand():
    """Two hydrogen atoms at 0.2 Å, formula evaluated term by term."""
    a = 0.8854 * 0.529177210903 / 2
    amplitudes = [0.18175, 0.50986, 0.28022, 0.02817]
    decays = [3.1998, 0.94229, 0.4029, 0.20162]
    phi = sum(
        c * math.exp(-d * 0.2 / a) for c, d in zip(amplitudes, decays, strict=True)
    )
    x = 0.2 / 0.62
    envelope = (1 - 28 * x**6 + 48 * x**7 - 21 * x**8) ** 2

    expected = 14.399645478425668 / 0.2 * phi * envelope

    assert pair_energy(1, 1, 0.2) == pytest.approx(expected, rel=1e-12)


def test_nothing_beyond_the_sum_of_covalent_radii():
    assert pair_energy(6, 6, 1.519) > 0
    assert pair_energy(6, 6, 1.521) == 0


def test_is_repulsive():
    values = [pair_energy(6, 8, 0.1 * n) for n in range(1, 14)]

    assert values == sorted(values, reverse=True)
    assert values[-1] > 0


def test_hessian_by_differences_converges_with_the_square_of_the_step_at_a_bond():
    """O-H bonds are as long as the sum of the covalent radii, where it ends."""
    length = 0.97

    def slope(r):
        distance = torch.tensor(r, dtype=torch.float64, requires_grad=True)
        energy = ZBLRepulsion(5.0, 6)(
            torch.tensor([8, 1]), distance.expand(2, 1), PAIR
        ).sum()
        (gradient,) = torch.autograd.grad(energy, distance)
        return gradient.item()

    def curvature(step):
        return (slope(length + step) - slope(length - step)) / (2 * step)

    assert abs(curvature(1e-3)) < 1e-2
    assert abs(curvature(5e-4)) < 0.26 * abs(curvature(1e-3))


def test_repulsion_of_mace_by_hand():
    """Carbon and oxygen at 0.8 Å, with the constants and the envelope of mace-torch."""
    lengths = torch.full((2, 1), 0.8, dtype=torch.float64)
    found = MACERepulsion(5.0, 6)(torch.tensor([6, 8]), lengths, PAIR).sum().item()

    a = 0.4543 * 0.529 / (6**0.3 + 8**0.3)
    terms = {0.1818: 3.2, 0.5099: 0.9423, 0.2802: 0.4028, 0.02817: 0.2016}
    phi = sum(c * math.exp(-d * 0.8 / a) for c, d in terms.items())
    x = 0.8 / (0.76 + 0.66)
    envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    expected = 14.3996 * 48 / 0.8 * phi * envelope
    assert found == pytest.approx(expected, rel=1e-12)


def test_repulsion_of_mace_is_stored_and_not_trained():
    repulsion = MACERepulsion(5.0, 5)

    assert not any(weight.requires_grad for weight in repulsion.parameters())
    assert set(repulsion.state_dict()) == {"amplitudes", "exponent", "length", "radii"}


def test_repulsion_of_mace_does_not_depend_on_edges_beyond_the_cutoff():
    """Two caesium atoms at 4.5 Å, whose radii have a sum of 4.88 Å."""
    lengths = torch.full((2, 1), 4.5, dtype=torch.float64)
    atoms = torch.tensor([55, 55])

    assert MACERepulsion(5.0, 6)(atoms, lengths, PAIR).sum() > 0
    assert MACERepulsion(4.0, 6)(atoms, lengths, PAIR).sum() == 0
