"""What a run takes from its structure file, and what it says of the rest."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixedPlane
from ase.io import read, write
from pydantic import ValidationError

from equipot.config.md import (
    FixedConfig,
    MDConfig,
    StructureConfig,
    VelocitiesConfig,
)
from equipot.md import read_start
from tests.md.md_runs import configuration, run_quietly
from tests.md.soft_spheres import SoftSpheres, fluid


def stored(path, atoms):
    write(path, atoms, format="traj" if path.suffix == ".traj" else "extxyz")
    return StructureConfig(file=path)


def moving(atoms, seed=0):
    rng = np.random.default_rng(seed)
    atoms.set_momenta(rng.normal(0, 1, (len(atoms), 3)))
    return atoms


def test_momenta_of_the_file_are_used_by_default(tmp_path):
    start = read_start(stored(tmp_path / "a.xyz", moving(molecule("H2O"))))

    np.testing.assert_allclose(
        start.atoms.get_momenta(), moving(molecule("H2O")).get_momenta(), atol=1e-7
    )
    assert start.notes == ()


@pytest.mark.parametrize(
    ("velocities", "replicate", "reason"),
    [
        ({"source": "maxwell_boltzmann"}, (1, 1, 1), "source is maxwell_boltzmann"),
        ({"temperature": 50.0}, (1, 1, 1), "velocities.temperature selects random"),
        ({}, (2, 1, 1), "all replicas of the structure would move identically"),
    ],
)
def test_momenta_that_are_not_used_are_named(velocities, replicate, reason, tmp_path):
    config = stored(tmp_path / "a.xyz", moving(bulk("Cu", cubic=True)))
    config = config.model_copy(update={"replicate": replicate})

    start = read_start(config, velocities=VelocitiesConfig(**velocities))

    assert not start.atoms.has("momenta")
    assert any(reason in note for note in start.notes)


def test_momenta_that_are_all_zero_are_none(tmp_path):
    atoms = molecule("H2O")
    atoms.set_momenta(np.zeros((3, 3)))

    start = read_start(stored(tmp_path / "a.traj", atoms))

    assert not start.atoms.has("momenta")


def test_copies_with_velocities_of_the_file_are_refused():
    with pytest.raises(ValidationError, match="move identically"):
        MDConfig.model_validate(
            {
                "model": "m",
                "structure": {"file": "f", "replicate": [2, 1, 1]},
                "ensemble": "nve",
                "steps": 1,
                "velocities": {"source": "file"},
            }
        )


def test_a_temperature_of_velocities_of_the_file_is_refused():
    with pytest.raises(ValidationError, match="remove one of them"):
        VelocitiesConfig(source="file", temperature=300.0)


def test_the_run_says_where_velocities_come_from(tmp_path, capsys):
    from io import StringIO

    from rich.console import Console

    from equipot.md import run_md

    texts = []
    for n, atoms in enumerate((fluid(), moving(fluid()))):
        screen = StringIO()
        run_md(
            atoms,
            configuration("nve", steps=2),
            tmp_path / str(n),
            console=Console(file=screen, width=300),
        )
        texts.append(screen.getvalue())

    assert "velocities: Maxwell-Boltzmann distribution at 400 K; " in texts[0]
    assert "K, 21 degrees of freedom (without 3 of conserved rigid" in texts[0]
    assert "velocities: of the structure file, minus a drift of " in texts[1]


def test_masses_of_the_file_are_used_and_named(tmp_path):
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 2.014, 2.014])

    start = read_start(stored(tmp_path / "d2o.xyz", atoms))

    np.testing.assert_allclose(start.atoms.get_masses(), [15.999, 2.014, 2.014])
    (note,) = start.notes
    assert note == "non-standard masses of the file are used for 2 atoms: H 2.014 u"


def test_masses_that_make_no_sense_are_refused(tmp_path):
    atoms = molecule("H2O")
    atoms.set_masses([15.999, -1.0, 1.0])

    with pytest.raises(
        ValueError, match=r"the mass of atom 1 is -1\.0, expected a pos"
    ):
        read_start(stored(tmp_path / "a.traj", atoms))


def test_tags_moments_and_info_reach_every_frame_and_labels_do_not(tmp_path):
    atoms = fluid()
    atoms.set_tags(np.arange(8))
    atoms.info.update(name="argon", spin=2, REF_energy=-1.0, dft_stress=np.ones(6))
    atoms.arrays["molecule"] = np.arange(8) // 2
    atoms.arrays["REF_forces"] = np.ones((8, 3))
    atoms.calc = SinglePointCalculator(
        atoms, energy=1.0, forces=np.zeros((8, 3)), magmoms=np.full(8, 0.5)
    )
    start = read_start(stored(tmp_path / "a.xyz", atoms))
    start.atoms.calc = SoftSpheres()

    run_quietly(
        start.atoms,
        "nve",
        tmp_path / "run",
        steps=4,
        record={"trajectory": 2, "log": 2, "checkpoint": 4, "format": "extxyz"},
    )

    assert start.notes == (
        "dropped, since they are valid for the frame of the file only: REF_energy, "
        "REF_forces, dft_stress, energy, forces",
    )
    for frame in read(tmp_path / "run" / "trajectory.extxyz", ":"):
        assert frame.info["name"] == "argon"
        assert frame.info["spin"] == 2
        assert "REF_energy" not in frame.info
        np.testing.assert_array_equal(frame.get_tags(), np.arange(8))
        np.testing.assert_array_equal(frame.arrays["molecule"], np.arange(8) // 2)
        np.testing.assert_array_equal(frame.get_initial_magnetic_moments(), [0.5] * 8)


def test_columns_that_look_like_velocities_are_named(tmp_path):
    atoms = molecule("H2O")
    atoms.arrays["vel"] = np.ones((3, 3))

    start = read_start(stored(tmp_path / "a.xyz", atoms))

    (note,) = start.notes
    assert note.startswith("the column vel of the file is not used, its unit is unkn")


@pytest.mark.parametrize("suffix", ["xyz", "traj"])
def test_atoms_that_the_file_fixes_are_fixed_in_all_copies(suffix, tmp_path):
    atoms = moving(bulk("Cu", cubic=True))
    atoms.set_constraint(FixAtoms([1, 2]))
    config = stored(tmp_path / f"a.{suffix}", atoms)
    config = config.model_copy(update={"replicate": (2, 1, 1)})

    start = read_start(config)

    assert sorted(start.atoms.constraints[0].index) == [1, 2, 5, 6]
    assert "4 of 8 atoms are fixed" in start.notes


def test_constraints_of_the_file_can_be_ignored(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixedPlane(0, [0, 0, 1]))
    config = stored(tmp_path / "a.traj", atoms)

    with pytest.raises(ValueError, match="has the constraint FixedPlane"):
        read_start(config)
    start = read_start(config, FixedConfig(file=False))
    assert not start.atoms.constraints
    assert any("fixed.file is false" in note for note in start.notes)


def test_all_three_components_fixed_is_fixed(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixCartesian([0, 3]))

    start = read_start(stored(tmp_path / "a.traj", atoms))

    assert start.atoms.constraints[0].index.tolist() == [0, 3]


def test_atoms_are_fixed_by_number_and_element(tmp_path):
    config = stored(tmp_path / "a.xyz", molecule("CH3OH"))

    start = read_start(config, FixedConfig(indices=(5,), elements=("O",)))

    symbols = np.array(start.atoms.get_chemical_symbols())
    fixed = start.atoms.constraints[0].index
    assert set(fixed) == {5, *np.flatnonzero(symbols == "O")}


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"indices": (3,)}, "fixed.indices has 3, but .* has 3 atoms, numbered 0 to 2"),
        (
            {"elements": ("Fe",)},
            "fixed.elements has Fe, but the elements of .* are H, O",
        ),
        (
            {"elements": ("Xx",)},
            "fixed.elements has Xx, but the elements of .* are H, O",
        ),
        (
            {"elements": ("H", "O")},
            "all atoms of .* are fixed, expected at least one free atom",
        ),
    ],
)
def test_impossible_choices_of_fixed_atoms_are_refused(fixed, message, tmp_path):
    config = stored(tmp_path / "a.xyz", molecule("H2O"))

    with pytest.raises(ValueError, match=message):
        read_start(config, FixedConfig(**fixed))


def test_the_name_of_an_ensemble_is_short_for_a_section():
    config = MDConfig.model_validate(
        {"model": "m", "structure": {"file": "f"}, "ensemble": "bussi", "steps": 1}
    )

    assert config.ensemble.taut == 100


def test_a_list_of_numbers_and_elements_is_short_for_a_section():
    config = configuration("nve", fixed=[0, 3, "Cu"])

    assert config.fixed == FixedConfig(indices=(0, 3), elements=("Cu",))
    assert configuration("nve", fixed=[]).fixed == FixedConfig()


def test_momenta_of_fixed_atoms_are_set_to_zero_and_named(tmp_path):
    atoms = moving(bulk("Cu", cubic=True))
    config = stored(tmp_path / "a.traj", atoms)

    start = read_start(config, FixedConfig(indices=(2,)))

    np.testing.assert_array_equal(start.atoms.get_momenta()[2], 0)
    assert "velocities of fixed atoms in the file are set to zero" in start.notes


def test_a_momentum_that_is_not_finite_is_refused(tmp_path):
    atoms = moving(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]))
    atoms.arrays["momenta"][1, 2] = np.nan

    with pytest.raises(ValueError, match="momenta are not finite numbers"):
        read_start(stored(tmp_path / "a.traj", atoms))
