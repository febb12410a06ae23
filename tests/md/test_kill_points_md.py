"""Dynamics are killed at chosen moments of their writing, and come to the same end."""

import itertools

import ase.io
import pytest
from crashing.inputs import write_dynamics
from crashing.points import Count, KillAt
from crashing.processes import Order
from crashing.runs import Dynamics
from crashing.writers import record

from equipot.md.recorder import cut_back

STEPS = 24


@pytest.fixture(scope="module", params=[("npt", "traj"), ("langevin", "extxyz")])
def whole(request, crash_server, undisturbed, tmp_path_factory):
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("md")
    model = undisturbed.folder / "model.safetensors"
    config = write_dynamics(folder, model, *request.param, STEPS)
    run = Dynamics(folder / "run", config)
    ended = run.go(crash_server, Count())
    assert ended.code == 0, ended.text
    return run


@pytest.mark.parametrize("share", [0.02, 0.3, 0.55, 0.8, 1.0])
def test_dynamics_killed_while_they_write_come_to_the_same_end(
    crash_server, whole, tmp_path, share
):
    run = Dynamics(tmp_path / "run", whole.config)

    ended = run.go(crash_server, KillAt(max(int(share * whole.ended.points), 1)))
    harmed = run.harmed()
    resumed = run.go(crash_server)

    assert ended.code == -9, ended.text
    assert harmed == []
    assert resumed.code == 0, resumed.text
    assert run.differences(whole) == []


@pytest.mark.parametrize("form", ["traj", "extxyz"])
def test_readers_see_whole_frames_and_rows_at_every_moment(
    crash_server, tmp_path, form
):
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        order = Order(record, (folder, form, 4), tmp_path / "out", KillAt(number))
        killed = crash_server.execute(order).code == -9
        log, trajectory = folder / "log.csv", folder / f"trajectory.{form}"
        rows = log.read_text().splitlines()[1:] if log.exists() else []
        assert rows == [f"{n},{-0.1 * n}" for n in range(len(rows))]
        if trajectory.exists() and trajectory.stat().st_size:
            frames = ase.io.read(trajectory, ":")
            assert [len(atoms) for atoms in frames] == list(range(1, len(frames) + 1))
            assert len(rows) - 1 <= len(frames) <= len(rows)
        if not killed:
            break
    assert len(rows) == len(frames) == 4


def test_a_trajectory_is_whole_at_every_moment_of_cutting_it_back(
    crash_server, tmp_path
):
    path = tmp_path / "trajectory.traj"
    record(tmp_path, "traj", 3)
    before = path.read_bytes()
    mark = {"bytes": len(before), "counters": before[32:48].hex()}
    for number in itertools.count(1):
        record(tmp_path, "traj", 12)
        order = Order(cut_back, (path, mark), tmp_path / "out", KillAt(number))
        killed = crash_server.execute(order).code == -9
        assert len(ase.io.read(path, ":")) in (3, 15)
        cut_back(path, mark)
        if not killed:
            break
    assert number > 3


@pytest.mark.parametrize("form", ["traj", "extxyz"])
def test_a_trajectory_is_cut_back_from_whatever_a_kill_left(
    crash_server, tmp_path, form
):
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / f"trajectory.{form}"
    record(folder, form, 3)
    before = path.read_bytes()
    mark = {"bytes": len(before)}
    if form == "traj":
        mark["counters"] = before[32:48].hex()
    for number in range(1, 60, 7):
        order = Order(record, (folder, form, 12), tmp_path / "out", KillAt(number))
        crash_server.execute(order)

        cut_back(path, mark)

        assert [len(atoms) for atoms in ase.io.read(path, ":")] == [1, 2, 3]
