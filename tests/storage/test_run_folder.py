"""Who may write to the folder of a run."""

import pytest

from equipot.storage.run_folder import RunFolderError, lock_run_directory


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_fresh_folder_is_made_and_can_be_taken_again_while_nothing_is_in_it(tmp_path):
    folder = tmp_path / "runs" / "new"

    for _ in range(2):
        with lock_run_directory(folder, resume=False):
            assert folder.is_dir()


def test_a_folder_has_one_process_at_a_time(tmp_path):
    with (
        lock_run_directory(tmp_path, resume=False),
        pytest.raises(RunFolderError, match=r"another process is running in .* wait"),
        lock_run_directory(tmp_path, resume=False),
    ):
        pass


@pytest.mark.parametrize("files", [["thesis.tex"], ["log.csv", "trajectory.extxyz"]])
def test_files_of_others_are_left_alone(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()

    with (
        pytest.raises(RunFolderError, match=r"not empty; add --resume .* another"),
        lock_run_directory(tmp_path, resume=False),
    ):
        pass

    assert names(tmp_path) == sorted(files)


def test_a_run_with_a_state_or_a_model_is_not_overwritten(tmp_path):
    for name in ("config.yaml", "state.safetensors"):
        (tmp_path / name).touch()

    with (
        pytest.raises(RunFolderError, match="not empty; add --resume"),
        lock_run_directory(tmp_path, resume=False),
    ):
        pass


def test_a_run_that_never_began_does_not_block_its_folder(tmp_path):
    (tmp_path / "config.yaml").touch()

    with lock_run_directory(tmp_path, resume=False):
        assert (tmp_path / "config.yaml").exists()


def test_there_must_be_a_run_to_resume(tmp_path):
    with (
        pytest.raises(RunFolderError, match=r"no run in .* to resume; start it"),
        lock_run_directory(tmp_path / "nothing", resume=True),
    ):
        pass

    assert not (tmp_path / "nothing").exists()


def test_a_file_cannot_be_the_folder(tmp_path):
    (tmp_path / "run").touch()

    with (
        pytest.raises(RunFolderError, match="is a file; pass a run directory"),
        lock_run_directory(tmp_path / "run", resume=False),
    ):
        pass


def test_a_full_disk_names_the_folder(tmp_path):
    with (
        pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"),
        lock_run_directory(tmp_path, resume=False),
    ):
        raise OSError(28, "No space left on device")


def test_a_run_killed_while_it_wrote_its_first_file_can_be_started_again(tmp_path):
    (tmp_path / ".config.yaml.7.partial").touch()

    with lock_run_directory(tmp_path, resume=False):
        assert names(tmp_path) == [".lock"]


def test_files_that_a_killed_process_was_writing_are_removed(tmp_path):
    for name in ("config.yaml", ".state.safetensors.7.partial"):
        (tmp_path / name).touch()

    with lock_run_directory(tmp_path, resume=True):
        assert names(tmp_path) == [".lock", "config.yaml"]
