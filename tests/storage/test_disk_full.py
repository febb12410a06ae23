"""A full disk, or one that cannot be written to: told at once, and nothing is lost."""

import itertools
import os
import subprocess

import ase.io
import pytest
from ase.build import bulk
from crashing.inputs import write_dynamics
from crashing.points import Count, FileLimit, FullAt, KillAt
from crashing.processes import Order
from crashing.runs import Dynamics, Training
from crashing.writers import record
from rich.console import Console

from equipot.md.recorder import TRAJECTORY_WRITERS, ThermoLog
from equipot.storage.atomic_file import append_whole, write_atomically
from equipot.storage.run_folder import lock_run_directory
from equipot.training.logs import CsvLog, Journal, TensorBoardLog
from equipot.training.observer import Limits
from equipot.training.progress import TrainingProgress

FULL = r"No space left on device: .*{}"


@pytest.fixture
def dynamics(crash_server, undisturbed, tmp_path_factory):
    """Configuration of 24 steps, and the run that nobody stopped."""
    folder = tmp_path_factory.mktemp("md")
    model = undisturbed.folder / "model.safetensors"
    run = Dynamics(folder / "run", write_dynamics(folder, model, "npt", "traj", 24))
    ended = run.go(crash_server)
    assert ended.code == 0, ended.text
    return run


def assert_told_and_continued(server, run, reference, ended):
    assert ended.code == 1, ended.text
    assert "error: the disk is full: " in ended.text
    assert f" for {run.folder}" in ended.text
    assert "Traceback" not in ended.text
    assert run.harmed() == []
    resumed = run.go(server)
    assert resumed.code == 0, resumed.text
    assert run.differences(reference) == []


@pytest.mark.parametrize("number", [3, 30, 62])
def test_training_goes_on_after_a_disk_was_full(
    crash_server, undisturbed, tmp_path, number
):
    run = Training(tmp_path / "run", undisturbed.config)

    ended = run.go(crash_server, FullAt(number))

    assert_told_and_continued(crash_server, run, undisturbed, ended)


def test_training_goes_on_after_files_could_not_grow(
    crash_server, undisturbed, tmp_path
):
    run = Training(tmp_path / "run", undisturbed.config)

    ended = run.go(crash_server, FileLimit(30_000))

    assert_told_and_continued(crash_server, run, undisturbed, ended)


def test_dynamics_go_on_after_a_disk_was_full(crash_server, dynamics, tmp_path):
    hooks = [FullAt(number) for number in (2, 25, 40)]
    for hook in [*hooks, FileLimit(4000)]:
        run = Dynamics(tmp_path / f"{hook}", dynamics.config)

        ended = run.go(crash_server, hook)

        assert_told_and_continued(crash_server, run, dynamics, ended)


def test_a_read_only_disk_is_told_of_before_anything_is_computed(
    crash_server, undisturbed, tmp_path
):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=4m", "none", disk):
        pytest.skip("a read-only disk takes the right to mount one")
    try:
        run = Training(disk / "run", undisturbed.config)
        run.text = tmp_path / "out"
        run.go(crash_server, KillAt(undisturbed.ended.points // 2))
        mount("-o", "remount,ro", disk)

        ended = run.go(crash_server, Count())

        assert ended.code == 1
        assert ended.points < 9  # files are written to from the first steps on
        assert f"{run.folder} is on a read-only file system" in ended.text
        mount("-o", "remount,rw", disk)
        run.go(crash_server)
        assert run.differences(undisturbed) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True)
    return done.returncode == 0


def test_a_folder_that_cannot_be_written_to_is_told_of_at_once(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("equipot.storage.run_folder.create_file", refuse)

    with (
        pytest.raises(PermissionError, match=str(tmp_path)),
        lock_run_directory(tmp_path, resume=False),
    ):
        pytest.fail("the work began")


@pytest.fixture
def full(monkeypatch):
    """Files take so many bytes more and then no others: a part of what is written."""
    import io

    open_whole = os.fdopen

    def leave(room):
        real = io.FileIO

        class Full(real):
            def write(self, content):
                nonlocal room
                if not room:
                    raise OSError(28, "No space left on device")
                written = super().write(bytes(content)[:room])
                room -= written
                return written

        def open_full(descriptor, mode="r", buffering=-1, **options):
            if buffering == 0:
                return Full(descriptor, mode.replace("b", ""))
            return open_whole(descriptor, mode, buffering, **options)

        monkeypatch.setattr("os.fdopen", open_full)

    return leave


@pytest.mark.parametrize("room", [0, 1, 7])
def test_an_appended_piece_is_whole_or_not_there(tmp_path, full, room):
    path = tmp_path / "log.csv"
    append_whole(path, b"whole row\n")
    full(room)

    with pytest.raises(OSError, match=FULL.format("log.csv")):
        append_whole(path, b"another row\n")

    assert path.read_bytes() == b"whole row\n"


def test_all_that_grows_is_named_when_the_disk_is_full(tmp_path, full):
    progress = TrainingProgress()
    log = ThermoLog(tmp_path / "log.csv", ("step",))
    frames = TRAJECTORY_WRITERS["extxyz"](tmp_path / "trajectory.extxyz")
    table, curves = CsvLog(tmp_path / "metrics.csv"), TensorBoardLog(tmp_path / "board")
    for observer in (table, curves):
        observer.on_start(progress, Limits(epochs=1))
    full(1)

    for write, name in (
        (lambda: log.write({"step": 1}), "log.csv"),
        (lambda: frames.write(bulk("Cu")), "trajectory.extxyz"),
        (lambda: table.on_epoch({"epoch": 1, "step": 6}, {}), "metrics.csv"),
        (lambda: curves.on_epoch({"epoch": 1, "step": 6, "best": 1}, {}), "tfevents"),
        (lambda: Journal(tmp_path / "train.log", Console()).say("x"), "train.log"),
    ):
        with pytest.raises(OSError, match=FULL.format(name)):
            write()


def test_a_trajectory_of_ase_ends_with_a_whole_frame_when_the_disk_is_full(
    crash_server, tmp_path
):
    sizes = []
    for frames in range(4):
        (tmp_path / f"{frames} frames").mkdir()
        record(tmp_path / f"{frames} frames", "traj", frames)
        sizes.append((tmp_path / f"{frames} frames" / "trajectory.traj").stat().st_size)
    for number in itertools.count(2, 2):
        folder = tmp_path / f"full at {number}"
        folder.mkdir()
        hook, text = FullAt(number), tmp_path / "out"

        ended = crash_server.execute(Order(record, (folder, "traj", 3), text, hook))

        if ended.code == 0:
            break
        path = folder / "trajectory.traj"
        *_, last = ended.text.splitlines()
        assert last.startswith("OSError: ")
        assert f"No space left on device: '{folder}" in last
        frames = ase.io.read(path, ":") if path.stat().st_size > sizes[0] else []
        assert [len(atoms) for atoms in frames] == list(range(1, len(frames) + 1))
        assert path.stat().st_size in (0, sizes[len(frames)])
    assert number > 20


def test_a_file_on_a_full_disk_keeps_its_old_content(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")
    for name in ("fsync", "replace"):

        def fail(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(f"os.{name}", fail)
            with pytest.raises(OSError, match=FULL.format("summary.json")):
                write_atomically(path, b"new")

        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
