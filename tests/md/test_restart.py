import multiprocessing
import random
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from equipot.md.driver import KIND, VERSION
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.storage.run_folder import RunFolderError
from tests.md.md_runs import ENSEMBLES, network, run, run_quietly

CASES = [("copper", ensemble) for ensemble in ENSEMBLES] + [
    ("network", ensemble) for ensemble in ("nve", "langevin", "npt_full")
]
FILES = ("log.csv", "trajectory.traj")


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    # The slow imports, so that a fork of the server starts at once.
    context.set_forkserver_preload(
        ["ase.calculators.emt", "equipot.calculators", "equipot.md", "pytest"]
    )
    return context


@pytest.mark.parametrize(("system", "ensemble"), CASES)
def test_killed_and_resumed_equals_uninterrupted(system, ensemble, tmp_path, processes):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    run(system, ensemble, whole)
    moments = random.Random(ensemble)
    rows = len((whole / "log.csv").read_bytes().splitlines())

    kills = 0
    for share in (0.35, 0.7):
        moment = int(rows * (share + moments.uniform(-0.15, 0.15)))
        kills += _run_and_kill(processes, system, ensemble, pieces, moment)
    run(system, ensemble, pieces, resume=True)

    assert kills > 0
    _assert_same(whole, pieces)


def _run_and_kill(processes, system, ensemble, output, rows) -> int:
    """Kill with SIGKILL once the log has so many rows; 1 if it came in time."""
    resume = (output / "state.safetensors").exists()
    process = processes.Process(target=run, args=(system, ensemble, output, resume))
    process.start()
    log = output / "log.csv"
    while process.is_alive():
        if log.exists() and log.read_bytes().count(b"\n") >= rows:
            break
        time.sleep(0.001)
    process.kill()
    process.join()
    return int(process.exitcode == -9)


def _assert_same(first, second) -> None:
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    (record, tensors), (others, expected) = map(_newest_state, (first, second))
    assert record == others
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def _newest_state(folder):
    return RotatingCheckpoints(folder, KIND, VERSION).load(pytest.fail)


def test_damaged_state_gives_way_to_the_one_before(tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    run("copper", "bussi", whole)
    run("copper", "bussi", pieces, steps=60)
    newest = pieces / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])

    output = StringIO()
    run("copper", "bussi", pieces, resume=True, console=Console(file=output))

    assert "damaged" in output.getvalue()
    assert "using the previous checkpoint" in output.getvalue()
    _assert_same(whole, pieces)


def test_longer_run_continues_a_finished_one(tmp_path):
    run("copper", "nve", tmp_path / "whole")
    run("copper", "nve", tmp_path / "pieces", steps=80)
    run("copper", "nve", tmp_path / "pieces", resume=True)

    _assert_same(tmp_path / "whole", tmp_path / "pieces")


def test_interrupted_run_continues_to_the_bit(tmp_path):
    steps = iter(range(1000))
    run("network", "npt_isotropic", tmp_path / "whole")
    summary = run_quietly(
        network(),
        "npt_isotropic",
        tmp_path / "pieces",
        interrupted=lambda: next(steps) == 51,
    )
    run("network", "npt_isotropic", tmp_path / "pieces", resume=True)

    assert summary.steps == 51
    assert "--resume" in summary.stopped
    _assert_same(tmp_path / "whole", tmp_path / "pieces")


def test_a_run_that_goes_on_has_no_summary_of_an_earlier_end(tmp_path, monkeypatch):
    run("copper", "nve", tmp_path, steps=40)
    (tmp_path / "alarm.extxyz").touch()
    monkeypatch.setattr("equipot.md.driver.Simulation._make_step", _interrupt)

    with pytest.raises(KeyboardInterrupt):
        run("copper", "nve", tmp_path, resume=True)

    assert not (tmp_path / "summary.json").exists()
    assert not (tmp_path / "alarm.extxyz").exists()


def test_extxyz_is_cut_back_too(tmp_path):
    record = {"log": 3, "trajectory": 7, "checkpoint": 20, "format": "extxyz"}
    run("copper", "nve", tmp_path / "whole", record=record)
    run("copper", "nve", tmp_path / "pieces", record=record, steps=60)
    for name in ("trajectory.extxyz", "log.csv"):
        with (tmp_path / "pieces" / name).open("a") as file:
            file.write("torn line")
    run("copper", "nve", tmp_path / "pieces", record=record, resume=True)

    first, second = (
        (tmp_path / folder / "trajectory.extxyz").read_bytes()
        for folder in ("whole", "pieces")
    )
    assert first == second
    assert b"torn" not in (tmp_path / "pieces" / "log.csv").read_bytes()


def test_refuses_to_continue_another_run(tmp_path):
    run("copper", "nve", tmp_path, steps=20)

    with pytest.raises(ValueError, match=r"(?s)timestep was 4\.0, now 2\.0.*new run"):
        run("copper", "nve", tmp_path, resume=True, timestep=2.0)


def test_refuses_to_overwrite_a_run(tmp_path):
    run("copper", "nve", tmp_path, steps=20)

    with pytest.raises(RunFolderError, match="add --resume"):
        run("copper", "nve", tmp_path, steps=20)


def test_a_run_killed_before_its_first_state_starts_anew(tmp_path, monkeypatch):
    run("copper", "nve", tmp_path / "whole")
    monkeypatch.setattr(RotatingCheckpoints, "save", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("copper", "nve", tmp_path / "pieces")
    monkeypatch.undo()

    output = StringIO()
    console = Console(file=output, width=200)
    run("copper", "nve", tmp_path / "pieces", resume=True, console=console)

    assert "before its first state was written: restarting it" in output.getvalue()
    _assert_same(tmp_path / "whole", tmp_path / "pieces")


def _interrupt(*_):
    raise KeyboardInterrupt


def test_a_run_whose_states_are_gone_keeps_its_trajectory(tmp_path):
    run("copper", "nve", tmp_path, steps=40)
    for state in tmp_path.glob("*.safetensors"):
        state.unlink()
    frames = (tmp_path / "trajectory.traj").read_bytes()

    with pytest.raises(StateError, match=r"log\.csv extends beyond the first state"):
        run("copper", "nve", tmp_path, resume=True)

    assert (tmp_path / "trajectory.traj").read_bytes() == frames


def test_refuses_to_continue_to_an_earlier_step(tmp_path):
    run("copper", "nve", tmp_path, steps=20)

    with pytest.raises(
        ValueError, match=r"already at step 20, but steps is 10.*increase it"
    ):
        run("copper", "nve", tmp_path, resume=True, steps=10)


def test_refuses_files_that_were_shortened(tmp_path):
    run("copper", "nve", tmp_path, steps=40)
    (tmp_path / "log.csv").write_text("")

    with pytest.raises(ValueError, match=r"log\.csv has 0 bytes.*restore the original"):
        run("copper", "nve", tmp_path, resume=True)
