"""What has no properties of crystals is refused, and what is periodic is found."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100, graphene, molecule
from ase.constraints import FixAtoms

from equipot.workflows.crystal import check_crystal, connections
from equipot.workflows.reference_amount import contents, reference_amount

CUTOFF = 3.0


def silicon_layer(vacuum):
    layer = diamond100("Si", (1, 1, 5), a=5.43, vacuum=vacuum)
    layer.pbc = True
    return layer


def wire():
    atoms = Atoms("Si", cell=[15, 15, 2.4], pbc=True)
    return atoms.repeat((1, 1, 2))


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Si", a=5.43), (3, 1)),
        (bulk("Si", a=5.43).repeat((3, 1, 2)), (3, 1)),
        (bulk("Cu", "fcc", a=3.6), (3, 1)),
        (silicon_layer(5.0), (2, 1)),
        (silicon_layer(0.7), (3, 1)),
        (graphene(vacuum=6.0), (2, 1)),
        (wire(), (1, 1)),
        (Atoms("Si2", [(0, 0, 0), (2.3, 0, 0)], cell=[30] * 3, pbc=True), (0, 1)),
        (Atoms("Si2", [(0, 0, 0), (9, 9, 9)], cell=[20] * 3, pbc=True), (0, 2)),
        (bulk("Si", a=5.43) + Atoms("H", [(2.0, 2.0, 2.0)]), (3, 1)),
    ],
)
def test_parts_repeat_in_as_many_directions(atoms, expected):
    turned = atoms.copy()
    turned.set_cell(-turned.cell.array[[1, 0, 2]])  # left-handed
    shifted = atoms.copy()
    shifted.positions += 3 * shifted.cell.array.sum(axis=0)

    for other in (atoms, turned, shifted):
        assert connections(other, CUTOFF) == expected


def two_layers():
    layer = graphene(vacuum=4.0)
    layer.pbc = True
    other = layer.copy()
    other.positions[:, 2] += 4.0
    return layer + other


def test_a_molecule_that_crosses_the_boundary_is_a_molecule():
    wrapped = molecule("CH3CH2OH", cell=[12] * 3, pbc=True)
    wrapped.positions -= wrapped.positions.mean(axis=0)
    wrapped.wrap()

    assert connections(wrapped, 2.0) == (0, 1)


@pytest.mark.parametrize(
    ("atoms", "needs_volume", "message"),
    [
        (molecule("H2O"), True, "for a molecule use vibrations"),
        (molecule("H2O", cell=[20] * 3, pbc=True), True, "a molecule in a box"),
        (molecule("H2O", cell=[20] * 3, pbc=True), False, "a molecule in a box"),
        (silicon_layer(5.0), True, "a layer with vacuum"),
        (wire(), True, "a chain with vacuum"),
        (two_layers(), True, "the structure has 2 parts"),
    ],
)
def test_what_is_no_crystal_is_refused(atoms, needs_volume, message):
    with pytest.raises(ValueError, match=message):
        check_crystal(atoms, "constants", cutoff=CUTOFF, needs_volume=needs_volume)


def test_a_layer_with_two_periodic_directions_is_refused_with_what_to_do():
    layer = silicon_layer(5.0)
    layer.pbc = (True, True, False)

    with pytest.raises(ValueError, match=r"three periodic directions, got pbc=\[True"):
        check_crystal(layer, "phonons")
    with pytest.raises(ValueError, match="not defined for a layer"):
        check_crystal(layer, "elastic constants", needs_volume=True)


def test_fixed_atoms_and_flat_cells_are_refused():
    held = bulk("Si", a=5.43)
    held.set_constraint(FixAtoms([0]))
    flat = bulk("Si", a=5.43)
    flat.set_cell(np.ones((3, 3)))

    with pytest.raises(ValueError, match="has fixed atoms: remove the constraint"):
        check_crystal(held, "phonons")
    with pytest.raises(ValueError, match="cell of nonzero volume"):
        check_crystal(flat, "phonons")


def test_layers_may_have_phonons():
    check_crystal(silicon_layer(5.0), "phonons", cutoff=CUTOFF)


def test_words_for_what_an_energy_belongs_to():
    quartz = contents(["Si"] * 3 + ["O"] * 6)

    assert quartz.text == "O6Si3: 9 atoms, 3 formula units of O2Si"
    assert reference_amount(bulk("Si", cubic=True)) == "per cell of Si8 (8 atoms)"
    assert reference_amount(molecule("CH3CH2OH")) == "for C2H6O (9 atoms)"
    assert reference_amount(Atoms("H")) == "for H (1 atom)"
