"""Alarms that need more than one step, and runs that leave what a model knows."""

import csv
import json
from io import StringIO

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from rich.console import Console

from equipot.calculators import EquipotCalculator
from equipot.config.md import AlarmsConfig
from equipot.domain import Domain
from equipot.md import MDStoppedError, run_md
from equipot.md.energy_jump import Snapshot, unexplained_energy
from equipot.md.spacing import isolated_atoms
from tests.md.md_runs import ENSEMBLES, configuration, network, run_quietly
from tests.md.soft_spheres import SoftSpheres, fluid
from tests.potentials import random_potential


class Jumping(SoftSpheres):
    """Its energy steps by 2 eV at some evaluation; forces know nothing of it."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.left = good

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        if self.left < 0:
            self.results["energy"] += 2.0


def test_a_jump_of_the_energy_stops_the_run(tmp_path):
    atoms = fluid()
    atoms.calc = Jumping(6)

    with pytest.raises(
        MDStoppedError,
        match=r"(?s)at step 5: the energy changed by .* eV in one step, which "
        r"differs by 2 eV from the work of the forces; alarms\.max_energy_jump is 1:",
    ):
        run_quietly(atoms, "nve", tmp_path)

    assert read(tmp_path / "trajectory.traj", ":")[-1].info["step"] == 0


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_work_explains_the_energy_in_every_ensemble(ensemble, tmp_path):
    """At 4 fs and 400 K, of 27 atoms in a cell that may change."""
    limits = AlarmsConfig(max_energy_jump=5e-3, lost_distance=None)

    summary = run_quietly(fluid(3), ensemble, tmp_path, alarms=limits)

    assert summary.steps == 120


def test_a_strain_does_the_work_of_the_stress():
    atoms = fluid()
    before = Snapshot.of(atoms, atoms.get_forces(), with_stress=True)
    strained = atoms.copy()
    strain = 1e-3 * np.array([[1, 0.3, 0], [0.3, -2, 0.1], [0, 0.1, 0.5]])
    strained.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    strained.calc = SoftSpheres()
    after = Snapshot.of(strained, strained.get_forces(), with_stress=True)

    change = after.energy - before.energy
    assert abs(change) > 1e-3
    assert abs(unexplained_energy(before, after)) < 1e-4 * abs(change)


def test_without_stress_the_work_on_a_cell_is_unknown():
    atoms = fluid()
    before = Snapshot.of(atoms, atoms.get_forces(), with_stress=True)
    unknown = Snapshot(
        before.energy, before.forces, None, before.positions, 1.1 * before.cell
    )

    assert unexplained_energy(before, unknown) is None


def test_an_atom_that_flies_away_stops_the_run(tmp_path):
    atoms = fluid()
    atoms.pbc = False
    atoms.positions[3] += [0, 9.0, 9.0]
    atoms.set_momenta(np.zeros((8, 3)))
    atoms.arrays["momenta"][3] = [0, 100.0, 100.0]
    limits = AlarmsConfig(lost_distance=20.0, max_temperature=None)

    expected = (
        r"(?s)1 atoms have no neighbor within 20 Å \(alarms\.lost_distance\).*atom 3"
    )
    with pytest.raises(MDStoppedError, match=expected):
        run_quietly(
            atoms, "nve", tmp_path, alarms=limits, velocities={"source": "file"}
        )


def test_an_atom_that_was_alone_from_the_first_is_not_lost(tmp_path):
    atoms = fluid()
    atoms.pbc = False
    atoms.positions[3] += [0, 90.0, 90.0]

    summary = run_quietly(atoms, "nve", tmp_path, steps=20)

    assert summary.stopped is None


def test_lonely_atoms_are_those_beyond_a_distance():
    atoms = Atoms("H4", [[0, 0, 0], [1, 0, 0], [8, 0, 0], [30, 0, 0]])

    assert isolated_atoms(atoms, 2.0).tolist() == [2, 3]
    assert isolated_atoms(atoms, 7.5).tolist() == [3]
    assert isolated_atoms(atoms, 25.0).tolist() == []
    single = Atoms("H", cell=[4, 4, 4], pbc=True)
    assert isolated_atoms(single, 3.9).tolist() == [0]
    assert isolated_atoms(single, 4.1).tolist() == []


def test_a_run_that_leaves_the_domain_stops_and_says_where(tmp_path):
    """Two atoms approach each other until they are closer than in training."""
    potential = random_potential((29,), cutoff=3.0, lmax=1, num_layers=2)
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.9]])
    atoms.arrays["momenta"] = np.array([[0, 0, 30.0], [0, 0, -30.0]])
    atoms.calc = EquipotCalculator(
        potential, domain=Domain(minimum_distances={"Cu-Cu": 2.0}), always=("forces",)
    )

    expected = (
        r"(?s)stopped at step \d+: outside the domain: atoms 0 \(Cu\) and 1 \(Cu\) "
        r"are 1\.[78]\d\d\d Å apart; the minimum in the training set for Cu-Cu is "
        r"2\.0000 Å.*the trajectory up to this step is kept"
    )
    with pytest.raises(MDStoppedError, match=expected):
        run_quietly(
            atoms,
            "nve",
            tmp_path,
            velocities={"source": "file"},
            timestep=1.0,
            alarms=AlarmsConfig(max_temperature=None),
        )

    summary = json.loads((tmp_path / "summary.json").read_text())
    frames = read(tmp_path / "trajectory.traj", ":")
    assert [frame.info["step"] for frame in frames] == list(
        range(0, summary["steps"], 7)
    )
    last = read(tmp_path / "alarm.extxyz", -1)
    assert last.info["step"] == summary["steps"]
    assert last.get_distance(0, 1) < 1.9
    (row,) = _rows(tmp_path)
    assert int(row["step"]) == summary["steps"]
    assert (row["kind"], row["subject"], row["atoms"]) == ("distance", "Cu-Cu", "0 1")
    assert float(row["value"]) == pytest.approx(last.get_distance(0, 1), abs=1e-6)


def _rows(folder):
    with (folder / "extrapolation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _recording():
    atoms = network()
    atoms.calc = EquipotCalculator(
        atoms.calc.potential,
        domain=Domain(minimum_distances={"Cu-Cu": 2.5}),
        on_extrapolation="record",
        skin=0.3,
        always=("forces", "stress"),
    )
    return atoms


def test_steps_beyond_the_domain_are_recorded_and_the_run_goes_on(tmp_path):
    summary = run_quietly(_recording(), "nve", tmp_path, steps=30)

    rows = _rows(tmp_path)
    assert summary.steps == 30
    assert 0 < summary.steps_beyond_domain < 31
    assert len({row["step"] for row in rows}) == summary.steps_beyond_domain
    assert any(
        line == f"domain       extrapolated at {len(rows)} steps, see extrapolation.csv"
        for line in summary.lines()
    )


def test_a_resumed_run_records_the_same(tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    one = run_quietly(_recording(), "nve", whole, steps=30)
    run_quietly(_recording(), "nve", pieces, steps=15)
    # rows after the last state, as a killed run leaves them
    with (pieces / "extrapolation.csv").open("a") as file:
        file.write("17,0.068,distance")

    two = run_md(
        _recording(),
        configuration("nve", steps=30),
        pieces,
        resume=True,
        console=Console(file=StringIO()),
    )

    assert two.steps_beyond_domain == one.steps_beyond_domain
    texts = [(f / "extrapolation.csv").read_bytes() for f in (whole, pieces)]
    assert texts[0] == texts[1]


def test_a_run_within_the_domain_has_no_extrapolation_events(tmp_path):
    atoms = network()
    domain = Domain(minimum_distances={"Cu-Cu": 0.5})
    potential = random_potential((29,), cutoff=3.0, lmax=1, num_layers=2, zbl=True)
    atoms.calc = EquipotCalculator(potential, domain=domain)

    summary = run_quietly(atoms, "nve", tmp_path, steps=5)

    assert summary.steps_beyond_domain == 0
    assert "domain       no extrapolation events" in summary.lines()
    assert (
        run_quietly(fluid(), "nve", tmp_path / "b", steps=5).steps_beyond_domain is None
    )
