import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixAtoms
from ase.io import read

from equipot.config.md import AlarmsConfig
from equipot.md import MDStoppedError
from equipot.md.last_frames import LastFrames
from equipot.md.spacing import Spacing, close_pairs, isolated_atoms
from tests.md.md_runs import run_quietly
from tests.md.soft_spheres import SoftSpheres, fluid


class Misbehaving(SoftSpheres):
    """Behaves well for some evaluations, and then does not."""

    def __init__(self, good: int, spoil) -> None:
        super().__init__()
        self.left, self.spoil = good, spoil

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        if self.left < 0:
            self.spoil(self.results["forces"])


def _nan(forces):
    forces[3] = np.nan


def _huge(forces):
    forces[3, 1] = 1e3


def _escape(forces):
    raise ValueError("the position of atom 7 is [nan, 0, 0]")


def _fail(forces):
    raise CalculationFailed("atoms 1 (O) and 2 (H) are too close")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _nan,
            r"(?s)at step 5: force or momentum is not finite.*atom 3 \(Ar\)",
        ),
        (_huge, r"(?s)force of 1000 eV/Å, alarms\.max_force is 100.*atom 3 \(Ar\)"),
        (_escape, r"step 5: calculation failed: the position of atom 7 is"),
        (_fail, r"step 5: calculation failed: atoms 1 \(O\) and 2 \(H\)"),
    ],
)
def test_bad_forces_stop_the_run_where_they_occur(spoil, message, tmp_path):
    atoms = fluid()
    # One evaluation at the start, one after the first checkpoint, one per step.
    atoms.calc = Misbehaving(6, spoil)

    with pytest.raises(MDStoppedError, match=message):
        run_quietly(atoms, "nve", tmp_path, alarms=AlarmsConfig(frames=3))

    frames = read(tmp_path / "alarm.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [3, 4, 5]
    assert (
        "stopped at step 5"
        in json.loads((tmp_path / "summary.json").read_text())["stopped"]
    )


def test_heat_stops_the_run(tmp_path):
    with pytest.raises(MDStoppedError, match=r"K, alarms\.max_temperature is 10;.*"):
        run_quietly(fluid(), "nve", tmp_path, alarms=AlarmsConfig(max_temperature=10.0))


def test_close_atoms_stop_the_run_and_are_named(tmp_path):
    atoms = fluid()
    atoms.positions[5] = atoms.positions[2] + [0.3, 0.0, 0.0]
    atoms.calc.height = 0.0
    limits = AlarmsConfig(min_distance=0.6, distance_interval=2)

    expected = r"(?s)step 2: distance of 0\.\d+ Å, alarms\.min_distance is 0\.6.*atom 2"
    with pytest.raises(MDStoppedError, match=expected):
        run_quietly(
            atoms, "nve", tmp_path, alarms=limits, temperature=1.0, timestep=0.1
        )


def test_drift_stops_the_run(tmp_path):
    with pytest.raises(MDStoppedError, match=r"drifts by .* meV/atom/ps.*smaller time"):
        run_quietly(
            fluid(),
            "nve",
            tmp_path,
            alarms=AlarmsConfig(max_drift=1e-9),
            steps=1000,
            timestep=10.0,
        )


def test_trajectory_up_to_an_alarm_is_kept(tmp_path):
    atoms = fluid()
    atoms.calc = Misbehaving(40, _nan)

    with pytest.raises(MDStoppedError):
        run_quietly(atoms, "nve", tmp_path)

    steps = [frame.info["step"] for frame in read(tmp_path / "trajectory.traj", ":")]
    assert steps == [0, 7, 14, 21, 28, 35]


def test_pairs_through_a_boundary_are_found_once():
    atoms = Atoms("H2", [[0.1, 0, 0], [9.9, 0, 0]], cell=[10, 10, 10], pbc=True)

    pairs, distances = close_pairs(atoms, 0.5)

    np.testing.assert_array_equal(pairs, [[1, 0]] if pairs[0, 0] == 1 else [[0, 1]])
    np.testing.assert_allclose(distances, [0.2])


def test_kept_distances_raise_no_other_suspicion_than_new_searches():
    rng = np.random.default_rng(3)
    atoms = Atoms("Ar6", rng.uniform(0, 9, (6, 3)), cell=[9, 9, 9], pbc=[1, 1, 0])
    spacing = Spacing(2.5, 8.0)
    seen = set()

    for _ in range(60):
        atoms.positions += rng.normal(0, 0.15, (6, 3))
        close, lonely = spacing.suspects(atoms)
        assert close == bool(len(close_pairs(atoms, 2.5)[1]))
        assert lonely == bool(len(isolated_atoms(atoms, 3.5)))
        seen.add((close, lonely))

    assert len(seen) >= 3


def test_last_frames_are_the_states_after_the_last_steps():
    atoms = fluid()
    atoms.set_constraint(FixAtoms([2]))
    atoms.set_momenta(np.ones((8, 3)))
    frames, states = LastFrames(3), []
    for step in range(5):
        atoms.positions += 0.1
        atoms.set_cell(atoms.cell * 1.01)
        atoms.arrays["momenta"] *= 1.1
        frames.keep(atoms, step)
        states.append(atoms.copy())

    kept = frames.frames()

    assert [frame.info["step"] for frame in kept] == [2, 3, 4]
    for frame, state in zip(kept, states[2:], strict=True):
        assert frame == state
        np.testing.assert_array_equal(frame.get_momenta(), state.get_momenta())
        assert frame.constraints[0].index.tolist() == [2]
