import csv
import io
import json

import ase.io
import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import load_domain, load_potential, read_header
from equipot.cli.train import app
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.neighbors import build_graph
from equipot.storage.rotation import StateError
from equipot.storage.run_folder import RunFolderError
from equipot.training.run import run_training
from equipot.training.step import NonFiniteError


@pytest.fixture
def train(tmp_path, write_config):
    """Runs training into a folder and returns result and what was printed."""

    def run(*overrides, resume=False, name="run"):
        config = load_config(write_config(), overrides, TrainConfig)
        console = Console(file=io.StringIO(), width=200)
        result = run_training(config, tmp_path / name, resume=resume, console=console)
        return result, console.file.getvalue()

    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_all_its_files(train):
    result, printed = train()
    files = result.directory

    assert [row["epoch"] for row in rows_of(files.table)] == ["1", "2", "3"]
    assert list(files.tensorboard.glob("events*"))
    assert json.loads(files.environment.read_text())[0]["packages"]["torch"]
    assert set(json.loads(files.data.read_text())) == {
        "train.xyz",
        "valid.xyz",
        "test.xyz",
    }
    assert load_config(files.config, [], TrainConfig).seed == 3
    metrics = json.loads(files.metrics.read_text())
    assert set(metrics["errors"]) == {"valid", "bulk"}
    assert set(metrics["errors"]["bulk"]["forces"]["per_element"]) == {"Cu", "Au"}
    assert "structures: train 12, valid 3, test: bulk 3" in printed
    assert "training ends" in files.log.read_text()


def test_saved_models_are_the_ones_that_were_validated(train):
    result, _ = train()
    files = result.directory
    best = min(rows_of(files.table), key=lambda row: float(row["valid_loss"]))

    errors = result.errors["valid"]["forces"]["overall"]

    assert errors["mae"] == pytest.approx(float(best["valid_forces_mae"]), rel=1e-12)
    header = read_header(files.best)
    assert header["training"]["errors"] == result.errors
    assert [row["epoch"] for row in header["training"]["history"]] == [1, 2, 3]
    assert header["provenance"]["data"] == json.loads(files.data.read_text())
    assert load_potential(files.last, device="cpu").dtype == torch.float64


def test_the_best_model_knows_its_domain(train, config_tree):
    result, _ = train()
    domain = load_domain(result.directory.best)
    data = config_tree["data"]
    frames = [
        atoms
        for name in ("train", "valid")
        for atoms in ase.io.read(f"{data['root']}/{name}.xyz", ":")
    ]

    scores = []
    for atoms in frames:
        calculator = EquipotCalculator(
            result.directory.best, device="cpu", on_extrapolation="record"
        )
        calculator.get_forces(atoms)
        assert calculator.extrapolation_events == ()
        potential = calculator.potential
        graph = build_graph(atoms, potential.cutoff)
        features = potential(graph, {"energy", "features"}).features
        scores.append(domain.features.scores(atoms.numbers, features.numpy()))

    for element in (29, 79):
        of_element = np.concatenate(
            [
                s[atoms.numbers == element]
                for s, atoms in zip(scores, frames, strict=True)
            ]
        )
        assert of_element.max() == pytest.approx(1.0)
    assert load_domain(result.directory.last).features is None


def test_the_same_run_twice_is_the_same_to_the_bit(train):
    first, _ = train(name="a")
    second, _ = train(name="b")

    assert (
        read_header(first.directory.best)["sha256"]
        == read_header(second.directory.best)["sha256"]
    )


def test_settings_of_the_process_are_restored(train):
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()

    train("training.epochs=1")

    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )


def test_an_existing_run_is_not_overwritten(train):
    train("training.epochs=1")

    with pytest.raises(RunFolderError, match=r"is not empty; add --resume"):
        train("training.epochs=1")


def test_resuming_with_another_configuration_names_the_keys(train):
    train("training.epochs=1")

    with pytest.raises(StateError) as error:
        train("training.epochs=1", "training.optimizer.lr=0.5", "seed=4", resume=True)

    assert "training.optimizer.lr: 0.01 in the run, 0.5 now" in str(error.value)
    assert "seed: 3 in the run, 4 now" in str(error.value)


def test_a_constant_schedule_goes_on_as_if_it_had_been_longer(train):
    constant = "training.schedule={kind: constant}"
    train("training.epochs=1", constant, name="constant")
    resumed, _ = train("training.epochs=2", constant, resume=True, name="constant")
    through, _ = train("training.epochs=2", constant, name="through")

    assert len(rows_of(resumed.directory.table)) == 2
    last = [load_potential(r.directory.last, device="cpu") for r in (resumed, through)]
    for one, other in zip(*(p.parameters() for p in last), strict=True):
        assert torch.equal(one, other)


def test_a_model_that_is_not_the_best_of_the_state_is_put_back(train):
    files = train(name="run")[0].directory
    other = train("seed=4", name="other")[0].directory
    before = files.best.read_bytes()
    files.best.write_bytes(other.best.read_bytes())

    _, printed = train(resume=True, name="run")

    assert "model.safetensors is restored to epoch 3" in printed
    assert files.best.read_bytes() == before


def test_a_run_that_goes_on_has_no_errors_of_an_earlier_end(train, monkeypatch):
    constant = "training.schedule={kind: constant}"
    files = train("training.epochs=1", constant)[0].directory
    assert files.metrics.exists()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("equipot.training.trainer.Trainer._train_epoch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train("training.epochs=2", constant, resume=True)

    assert not files.metrics.exists()


def test_damaged_notes_on_the_environment_do_not_end_a_run(train):
    files = train("training.epochs=1")[0].directory
    files.environment.write_bytes(b"\0" * 40)

    train("training.epochs=1", resume=True)

    lost, start = json.loads(files.environment.read_text())
    assert "could not be read" in lost["lost"]
    assert start["packages"]["torch"]


def test_resuming_with_other_data_names_the_file(train, crystal_folder, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in crystal_folder.glob("*.xyz"):
        (folder / file.name).write_bytes(file.read_bytes())
    train("training.epochs=1", f"data.root={folder}")
    valid = (folder / "valid.xyz").read_text()
    (folder / "valid.xyz").write_text(valid.replace("type0", "type2"))

    with pytest.raises(StateError, match=r"other data: .* valid\.xyz; restore"):
        train("training.epochs=1", f"data.root={folder}", resume=True)


def test_labels_that_are_not_learned_are_pointed_out(train):
    _, printed = train("training.epochs=1", "training.loss.stress.weight=0")

    assert "WARNING" in printed
    assert "12 training structures have labels of stress, which are not" in printed


def test_structures_that_break_training_can_be_looked_at(train, tmp_path):
    with pytest.raises(NonFiniteError, match=r"nonfinite_batch\.extxyz") as error:
        train("training.optimizer.lr=1e200", "training.gradient_clip=null")

    written = ase.io.read(tmp_path / "run" / "nonfinite_batch.extxyz", ":")
    assert len(written) == 2
    assert all(atoms.info["source"] in str(error.value) for atoms in written)
    assert written[0].info["REF_stress"].shape == (3, 3)
    assert written[0].arrays["REF_forces"].shape == (4, 3)
    assert (tmp_path / "run" / "state.safetensors").exists()


def test_the_command_ends_with_a_table_of_errors(write_config, tmp_path):
    arguments = [str(write_config()), "--set", "training.epochs=1"]

    result = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "run")])

    assert result.exit_code == 0, result.output
    assert "label std" in result.output
    assert "meV/atom" in result.output
    assert "GPa" in result.output
    assert "model.safetensors" in result.output


def test_a_run_that_never_began_does_not_block_its_directory(train, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        train("data.train=nowhere.xyz")

    result, _ = train("training.epochs=1")

    assert result.progress.finished
