"""What every command knows of the structure that it was given."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

from equipot.cli.structures import read_structure


def deuterated_water() -> Atoms:
    atoms = Atoms(
        "OHH",
        [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)],
        masses=[15.999, 2.014, 2.014],
        tags=[0, 1, 2],
        magmoms=[0.5, 0.1, -0.1],
        cell=[9, 9, 9],
    )
    atoms.set_momenta([[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]])
    atoms.set_constraint(FixAtoms([0]))
    atoms.info.update(name="heavy water", charge=1, spin=2)
    return atoms


@pytest.mark.parametrize("name", ["a.xyz", "a.traj"])
def test_what_a_file_says_of_the_atoms_reaches_every_command(tmp_path, name):
    atoms = deuterated_water()
    atoms.info["REF_energy"] = -3.0
    atoms.set_array("REF_forces", np.ones((3, 3)))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.ones((3, 3)))
    columns = ["symbols", "positions", "masses", "momenta", "tags", "initial_magmoms"]
    options = {"columns": [*columns, "move_mask"]} if name == "a.xyz" else {}
    write(tmp_path / name, atoms, **options)

    found = read_structure(str(tmp_path / name))

    expected = deuterated_water()
    np.testing.assert_allclose(found.get_masses(), expected.get_masses())
    np.testing.assert_allclose(found.get_momenta(), expected.get_momenta())
    np.testing.assert_allclose(found.get_initial_magnetic_moments(), [0.5, 0.1, -0.1])
    assert found.get_tags().tolist() == [0, 1, 2]
    assert [c.get_indices().tolist() for c in found.constraints] == [[0]]
    if name == "a.xyz":  # a trajectory of ASE holds no information
        assert found.info == {"name": "heavy water", "charge": 1, "spin": 2}
    assert found.calc is None
    assert not any("force" in key for key in found.arrays)


def test_calculated_magnetic_moments_are_those_to_start_from(tmp_path):
    atoms = Atoms("OO", [(0, 0, 0), (0, 0, 1.2)])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=[0.9, 1.1])
    write(tmp_path / "a.xyz", atoms)

    found = read_structure(str(tmp_path / "a.xyz"))

    assert found.get_initial_magnetic_moments().tolist() == [0.9, 1.1]
    assert found.info == {}


def test_columns_that_may_hold_atoms_are_not_passed_over(tmp_path):
    atoms = Atoms("OO", [(0, 0, 0), (0, 0, 1.2)])
    atoms.set_array("fixed", np.array([True, False]))
    write(tmp_path / "a.xyz", atoms)

    with pytest.raises(ValueError, match="column fixed is ambiguous"):
        read_structure(str(tmp_path / "a.xyz"))
