"""A model is a file, the folder of a run, or the folder of a committee."""

import pytest

from equipot.cli.models import model_files


def write_runs(folder, *names):
    for name in names:
        (folder / name).mkdir()
        (folder / name / "model.safetensors").touch()


def test_a_file_is_taken_as_it_is(tmp_path):
    assert model_files(tmp_path / "missing.safetensors") == [
        tmp_path / "missing.safetensors"
    ]


def test_a_run_is_its_model(tmp_path):
    write_runs(tmp_path, "run")

    assert model_files(tmp_path / "run") == [tmp_path / "run" / "model.safetensors"]


def test_a_committee_is_its_members_in_order(tmp_path):
    write_runs(tmp_path, *(f"member_{n}" for n in range(1, 12)))
    (tmp_path / "notes").mkdir()

    found = model_files(tmp_path)

    assert [path.parent.name for path in found] == [f"member_{n}" for n in range(1, 12)]


def test_a_member_that_has_not_finished_is_named(tmp_path):
    write_runs(tmp_path, "member_1", "member_2")
    (tmp_path / "member_3").mkdir()

    with pytest.raises(ValueError, match=r"member_3 has no model\.safetensors: finish"):
        model_files(tmp_path)


@pytest.mark.parametrize("names", [(), ("member_1",)])
def test_other_folders_are_refused(tmp_path, names):
    write_runs(tmp_path, *names)

    with pytest.raises(ValueError, match=r"without model\.safetensors, and without"):
        model_files(tmp_path)
