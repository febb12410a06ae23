"""Links, pipes and folders that somebody planted where a run writes its files."""

import os
import re
import shutil
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import bulk

from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.md.recorder import ThermoLog, TrajWriter, cut_back
from equipot.storage.atomic_file import (
    NotRegularError,
    append_whole,
    unused_name,
    write_atomically,
    write_json,
)
from equipot.storage.frame_file import write_frames
from equipot.storage.rotation import RotatingCheckpoints
from equipot.storage.run_folder import LOCK, lock_run_directory
from equipot.training.run import run_training
from tests.md.md_runs import run as run_dynamics
from tests.training.conftest import config_tree, crystal_folder, write_config

__all__ = ["config_tree", "crystal_folder", "write_config"]

TREASURE = b"not to be touched"


@pytest.fixture
def treasure(tmp_path):
    path = tmp_path / "treasure"
    path.write_bytes(TREASURE)
    return path


def test_the_lock_is_not_made_through_a_link(tmp_path, treasure):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOCK).symlink_to(treasure)

    with (
        pytest.raises(NotRegularError, match=r"\.lock: it is a symbolic link"),
        lock_run_directory(folder, resume=False),
    ):
        pytest.fail("the work began")

    assert treasure.read_bytes() == TREASURE


def test_a_lock_that_is_there_keeps_its_content(tmp_path):
    (tmp_path / LOCK).write_bytes(TREASURE)

    with lock_run_directory(tmp_path, resume=False):
        pass

    assert (tmp_path / LOCK).read_bytes() == TREASURE


def test_a_pipe_in_the_place_of_the_lock_blocks_nothing(tmp_path):
    os.mkfifo(tmp_path / LOCK)

    with (
        pytest.raises(NotRegularError, match="a device or a pipe"),
        lock_run_directory(tmp_path, resume=False),
    ):
        pass


def test_nothing_is_appended_through_a_link(tmp_path, treasure):
    for target in (treasure, tmp_path / "nowhere"):
        link = tmp_path / f"{target.name}.log"
        link.symlink_to(target)

        with pytest.raises(NotRegularError, match="is a symbolic link"):
            append_whole(link, b"row\n")

    assert treasure.read_bytes() == TREASURE
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_atomically(path, b"new"),
        lambda path: write_json(path, {"new": 1}),
        lambda path: write_frames(path, [bulk("Cu")]),
    ],
)
def test_a_replaced_link_leaves_what_it_led_to(tmp_path, treasure, write):
    link = tmp_path / "model.safetensors"
    link.symlink_to(treasure)

    write(link)

    assert treasure.read_bytes() == TREASURE
    assert not link.is_symlink()


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout", "/proc/self/fd/1"])
def test_a_device_is_not_replaced_by_a_file(device, monkeypatch):
    def refuse(*_):
        pytest.fail("a device was replaced")

    monkeypatch.setattr("os.replace", refuse)

    with pytest.raises(OSError, match=f"cannot write {device}: "):
        write_atomically(Path(device), b"report")


def test_names_of_files_that_are_not_complete_cannot_be_foreseen(tmp_path):
    path = tmp_path / ("long" * 50)

    names = {unused_name(path).name for _ in range(10)}

    assert len(names) == 10
    assert max(map(len, names)) < 80


def test_no_state_is_written_through_a_link(tmp_path, treasure):
    folder = tmp_path / "run"
    folder.mkdir()
    states = RotatingCheckpoints(folder, "state of a test", 1)
    for name in ("state.safetensors", "state.1.safetensors", "state.new.safetensors"):
        (folder / name).symlink_to(treasure)

    for step in range(3):
        states.save({"step": step}, {"weight": torch.ones(3)})

    assert treasure.read_bytes() == TREASURE
    assert states.load(pytest.fail)[0] == {"step": 2}


def planted(file, elsewhere):
    """Move a file away, and leave a link to it."""
    target = elsewhere / file.name
    shutil.move(file, target)
    file.symlink_to(target)
    return target


def test_a_training_goes_on_and_leaves_what_links_lead_to(write_config, tmp_path):
    config = load_config(write_config(), ["training.epochs=1"], TrainConfig)
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_training(config, folder)
    replaced = [f for f in folder.iterdir() if f.is_file() and f.suffix != ".log"]
    targets = [planted(f, elsewhere) for f in replaced if f.name != LOCK]
    before = [target.read_bytes() for target in targets]
    assert len(targets) >= 8

    run_training(config, folder, resume=True)

    assert [target.read_bytes() for target in targets] == before
    for name in ("train.log", "tensorboard", LOCK):
        target = planted(folder / name, elsewhere)
        content = target.read_bytes() if target.is_file() else sorted(target.iterdir())
        with pytest.raises(NotRegularError, match="it is a symbolic link"):
            run_training(config, folder, resume=True)
        assert content == (
            target.read_bytes() if target.is_file() else sorted(target.iterdir())
        )
        (folder / name).unlink()


@pytest.mark.parametrize("name", ["log.csv", "trajectory.traj", ".lock"])
def test_dynamics_do_not_follow_links(name, tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_dynamics("copper", "nve", folder, steps=20)
    target = planted(folder / name, elsewhere)
    before = target.read_bytes()

    with pytest.raises(NotRegularError, match=re.escape(name)):
        run_dynamics("copper", "nve", folder, resume=True, steps=60)

    assert target.read_bytes() == before


def test_a_new_trajectory_is_not_begun_through_a_link(tmp_path, treasure):
    for write in (
        TrajWriter,
        lambda path: ThermoLog(path, ("step",)).write({"step": 1}),
        lambda path: cut_back(path, {"bytes": 3}),
    ):
        link = tmp_path / "trajectory.traj"
        link.unlink(missing_ok=True)
        link.symlink_to(treasure)

        try:
            with pytest.raises(NotRegularError, match="is a symbolic link"):
                write(link)
        finally:
            assert treasure.read_bytes() == TREASURE


def test_a_trajectory_grows_over_two_openings(tmp_path):
    for _ in range(2):
        writer = TrajWriter(tmp_path / "trajectory.traj")
        writer.write(bulk("Cu"))
        writer.close()

    assert len(ase.io.read(tmp_path / "trajectory.traj", ":")) == 2
