"""Files and folders that cannot be written: one line, before anything is computed."""

import os
import stat

import pytest
from typer.testing import CliRunner

from equipot.cli.main import app
from equipot.cli.train import app as train_app

FOLDERS = (
    "train",
    "md",
    "analyze",
    "vibrations",
    "saddle",
    "phonons",
    "eos",
)
"""Commands with --output for a folder."""
FILES = (
    ("evaluate", "--report"),
    ("evaluate", "--json"),
    ("evaluate", "--output"),
    ("verify", "--json"),
    ("verify", "--report"),
    ("relax", "--output"),
    ("elastic", "--json"),
    ("bench tensor-products", "--json"),
    ("bench models", "--plot"),
    ("plan", "--json"),
    ("data check", "--json"),
    ("data convert", "--output"),
    ("convert", "--output"),
)
OPTIONS = [*FILES, *((command, "--output") for command in FOLDERS)]
FORBIDDEN = ("/proc/out/x", "/proc/out", "/dev/full", "/sys/x", "/dev/null/x")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Runs a command on files that hold nothing of use."""
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.yaml").write_text("data: {train: a.xyz}\n")

    def run(command, option, path):
        names = command.split()
        files = {
            "saddle": 3,
            "data": 1,
            "train": 1,
            "md": 1,
            "analyze": 1,
            "bench": 0,
            "convert": 1,
        }
        inputs = ["in.yaml"] * files.get(names[0], 2)
        result = CliRunner().invoke(app, [*names, *inputs, option, str(path)])
        return result, " ".join(result.output.split())

    return run


@pytest.mark.parametrize(("command", "option"), OPTIONS)
@pytest.mark.parametrize("path", FORBIDDEN)
def test_places_of_the_system_are_refused_in_one_line(invoke, command, option, path):
    result, text = invoke(command, option, path)

    assert result.exit_code == 1, result.output
    assert text.startswith(f"error: cannot write {path}: "), text
    assert "Traceback" not in text


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_file_in_the_way_is_named(invoke, tmp_path, command, option):
    (tmp_path / "file").touch()

    result, text = invoke(command, option, tmp_path / "file" / "deeper" / "x")

    assert result.exit_code == 1
    assert text == (
        f"error: cannot write {tmp_path}/file/deeper/x: {tmp_path}/file is a file"
    )


@pytest.mark.parametrize(("command", "option"), FILES)
def test_a_folder_is_no_file(invoke, tmp_path, command, option):
    (tmp_path / "folder").mkdir()

    result, text = invoke(command, option, tmp_path / "folder")

    assert result.exit_code == 1
    assert text == (
        f"error: cannot write {tmp_path}/folder: it is a directory; name a file"
    )


@pytest.mark.parametrize("command", FOLDERS)
def test_a_file_is_no_folder(invoke, tmp_path, command):
    (tmp_path / "file").touch()

    result, text = invoke(command, "--output", tmp_path / "file")

    assert result.exit_code == 1
    assert text == (
        f"error: cannot write {tmp_path}/file: it is a file; name a new directory"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(invoke, tmp_path):
    (tmp_path / "locked").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)

    result, text = invoke("verify", "--json", tmp_path / "locked" / "x.json")

    assert result.exit_code == 1
    assert f"the folder {tmp_path}/locked cannot be written to" in text


def test_a_folder_from_the_configuration_is_refused_as_well(invoke, tmp_path):
    result = CliRunner().invoke(
        train_app, [str(tmp_path / "in.yaml"), "--output", "/proc/1/run"]
    )

    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_a_new_folder_within_new_folders_is_fine(invoke, tmp_path):
    result, text = invoke("verify", "--json", tmp_path / "a" / "b" / "x.json")

    assert result.exit_code == 1
    assert "cannot write" not in text  # the model is what it cannot read


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("out.cif", "ends in .xyz or .extxyz, got out.cif"),
        ("start.xyz", "would replace the file of which start.xyz@0 is one frame"),
    ],
)
def test_a_relaxed_structure_has_a_file_of_its_own_and_extended_xyz(
    invoke, output, told
):
    arguments = ["relax", "model.safetensors", "start.xyz@0", "--output", output]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


@pytest.mark.parametrize(
    "arguments", [["--reach", "nan"], ["--interval", "inf"], ["--reach", "-1"]]
)
def test_lengths_and_times_of_an_analysis_are_positive_numbers(invoke, arguments):
    result = CliRunner().invoke(app, ["analyze", "run", *arguments])

    assert result.exit_code == 1
    assert f"{arguments[0]} must be a number greater than 0" in result.output


def test_a_model_in_the_place_of_the_structure_is_named(invoke):
    result = CliRunner().invoke(app, ["relax", "a.xyz", "model.safetensors"])

    assert result.exit_code == 1
    assert "MODEL STRUCTURE" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "gone.safetensors"],
        ["verify", "gone.safetensors"],
        ["evaluate", "gone.safetensors", "in.yaml"],
        ["data", "check", "gone.xyz"],
        ["train", "gone.yaml"],
        ["md", "gone.yaml"],
    ],
)
def test_a_missing_file_is_named_with_what_its_path_is_relative_to(
    invoke, tmp_path, arguments
):
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    missing = next(name for name in arguments if name.startswith("gone"))
    text = "".join(result.output.split())
    assert f"{missing}(relativeto{tmp_path})" in text
