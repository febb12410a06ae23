"""Runs that learn Hessians: resumed to the bit, saved, evaluated."""

import copy
import json

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from typer.testing import CliRunner

from equipot.checkpoint.file import load_potential, read_header
from equipot.cli.main import app
from equipot.config.data import KeysConfig
from equipot.config.model import parse_model
from equipot.config.train import TrainConfig
from equipot.data.dataset import load_dataset
from equipot.data.reading.errors import DataError
from equipot.data.statistics import compute_statistics
from equipot.evaluation.hessians import derivative_hessians
from equipot.evaluation.loading import load_structures
from equipot.models import build_potential, direct_hessian
from equipot.neighbors import build_graph
from equipot.storage.rotation import StateError
from equipot.system.interrupt import Interruption
from equipot.training.build import build_trainer
from equipot.training.run import run_training
from equipot.training.same_run import check_same_config


def springs(atoms, rest):
    """Energy, forces and Hessian at rest of springs of 10 eV/Å^2 between all atoms."""
    n = len(atoms)
    energy, forces, hessian = 0.0, np.zeros((n, 3)), np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i):
            d = atoms.positions[i] - atoms.positions[j]
            unit = d / np.linalg.norm(d)
            stretch = np.linalg.norm(d) - rest.get_distance(i, j)
            energy += 5 * stretch**2
            forces[i] -= 10 * stretch * unit
            forces[j] += 10 * stretch * unit
            block = 10 * np.outer(unit, unit)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b] += sign * block
    return energy, forces, hessian.reshape(3 * n, 3 * n)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Water and hydrogen sulphide; two of three have Hessians."""
    path = tmp_path_factory.mktemp("springs")
    for part, seeds in (("train", range(6)), ("test", range(6, 9))):
        frames, hessians = [], {}
        for n, seed in enumerate(seeds):
            rest = molecule("H2O" if n % 2 else "SH2")
            atoms = rest.copy()
            atoms.rattle(0.05, seed=seed)
            energy, forces, hessian = springs(atoms, rest)
            atoms.info["REF_energy"] = energy
            atoms.arrays["REF_forces"] = forces
            if n % 3 < 2:
                hessians[f"{n:03d}"] = hessian.astype(np.float32)
            frames.append(atoms)
        ase.io.write(path / f"{part}.xyz", frames, format="extxyz")
        np.savez(path / f"{part}.npz", **hessians)
    return path


@pytest.fixture
def tree(folder):
    return {
        "seed": 3,
        "model": {
            "cutoff": 3.0,
            "lmax": 1,
            "channels": 2,
            "num_layers": 2,
            "num_basis": 3,
            "radial_hidden": [4],
            "readout_hidden": 4,
            "dtype": "float64",
            "backend": "clebsch_gordan",
            "direct_hessian": {"cutoff": 4.0, "channels": 2, "hidden": [4]},
        },
        "data": {
            "root": str(folder),
            "train": ["train.xyz"],
            "valid": ["test.xyz"],
            "test": {"test": ["test.xyz"]},
            "hessians": {"train.xyz": "train.npz", "test.xyz": "test.npz"},
        },
        "training": {
            "epochs": 2,
            "batch_size": 2,
            "optimizer": {"lr": 0.01},
            "loss": {
                "hessian": {"weight": 0.1, "mode": "probes"},
                "hessian_direct": {"weight": 0.1, "mode": "rows", "kind": "huber"},
            },
            "num_threads": 1,
            "device": "cpu",
            "verify": False,
        },
    }


def trainer_of(tree):
    """Trainer, and the list of states that it saves."""
    config = TrainConfig.model_validate(tree)
    dataset = load_dataset(config.data, config.model.cutoff, config.seed)
    statistics = compute_statistics(dataset.train)
    states = []
    trainer = build_trainer(
        config,
        build_potential(config.model, statistics, seed=config.seed),
        dataset,
        statistics,
        save_state=lambda state: states.append(copy.deepcopy(state)),
        save_model=lambda *_: None,
    )
    return trainer, states


def test_a_resumed_run_draws_the_same_vectors(tree):
    """Every state leads to the same end, to the bit."""
    tree["training"]["checkpoint_steps"] = 2
    trainer, states = trainer_of(tree)
    trainer.fit(Interruption())
    *before, end = states
    assert {s.record["position"]["step"] for s in before} == {0, 2, 4}

    for state in before:
        resumed, again = trainer_of(tree)
        torch.rand(7)  # another process has other random numbers
        resumed.load_state(state)
        resumed.fit(Interruption())

        tensors = again[-1].tensors
        assert all(
            torch.equal(tensors[name], end.tensors[name])
            for name in tensors
            if not name.startswith("random")
        )
        losses = [row["valid_loss"] for row in resumed.progress.history]
        assert losses == [row["valid_loss"] for row in trainer.progress.history]


def test_every_epoch_and_step_has_its_own_vectors(tree, monkeypatch):
    keys = []
    trainer, _ = trainer_of(tree)
    penalties = trainer.loss.penalties

    def noted(*args, key, **kwargs):
        keys.append(tuple(key))
        return penalties(*args, key=key, **kwargs)

    monkeypatch.setattr(trainer.loss, "penalties", noted)
    trainer.fit(Interruption())

    steps = [key for key in keys if len(key) > 1]
    assert steps == [(3, e, b) for e in range(2) for b in range(3)]
    assert [key for key in keys if len(key) == 1] == [(0,), (0,)]


def test_a_run_ends_in_a_model_with_a_head(tree, tmp_path, folder):
    """Saved, read, evaluated on the command line: the same Hessians throughout."""
    result = run_training(TrainConfig.model_validate(tree), tmp_path / "run")
    path = result.directory.best

    potential = load_potential(path, device="cpu")
    again = load_potential(path, device="cpu")

    assert read_header(path)["model"]["direct_hessian"]["cutoff"] == 4.0
    assert read_header(path)["statistics"]["label_counts"]["hessian"] == 4
    atoms = ase.io.read(folder / "test.xyz", 0)
    graph = build_graph(atoms, potential.cutoff)
    (direct,) = direct_hessian(potential, graph).matrices()
    assert torch.equal(direct, direct_hessian(again, graph).matrices()[0])
    assert direct.abs().max() > 1e-3
    (derivative,) = derivative_hessians(potential, graph)

    output = tmp_path / "errors.json"
    command = ["evaluate", str(path), str(folder / "test.xyz"), "--json", str(output)]
    done = CliRunner().invoke(
        app, [*command, "--device", "cpu", "--hessians", str(folder / "test.npz")]
    )

    assert done.exit_code == 0, done.output
    assert "lowest mode" in done.output
    found = json.loads(output.read_text())["hessians"]
    assert found["derivative"]["count"] == found["direct"]["count"] == 2
    with np.load(folder / "test.npz") as file:
        labels = [file["000"], file["001"]]
    first = np.abs(derivative - labels[0]).mean()
    atoms = ase.io.read(folder / "test.xyz", 1)
    (other,) = derivative_hessians(potential, build_graph(atoms, potential.cutoff))
    expected = (first + np.abs(other - labels[1]).mean()) / 2
    assert found["derivative"]["mae"] == pytest.approx(expected, rel=1e-9)


def test_files_without_a_head_are_read_as_before(tree):
    """A header of before this head says nothing of it."""
    model = dict(tree["model"])
    del model["direct_hessian"]

    assert parse_model(model).direct_hessian is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t["training"]["loss"].pop("hessian_direct"),
            r"hessian_direct\.weight is 0, but model\.direct_hessian adds a head",
        ),
        (
            lambda t: t["model"].pop("direct_hessian"),
            "is positive, but the model has no direct head",
        ),
        (
            lambda t: t["data"].pop("hessians"),
            r"loss\.hessian\.weight is positive, but no training structure has a Hess",
        ),
        (
            lambda t: t["training"]["loss"]["hessian"].update(kind="mae"),
            "mode probes estimates the mean square only, kind is 'mae'",
        ),
    ],
    ids=["untrained_head", "no_head", "no_labels", "biased"],
)
def test_what_does_not_fit_together_is_refused(tree, change, message):
    change(tree)

    with pytest.raises(ValueError, match=message):
        trainer_of(tree)


def test_hessians_that_are_not_learned_are_reported(tree, tmp_path):
    """They are never ignored silently."""
    tree["training"]["loss"] = {}
    tree["training"]["epochs"] = 1
    tree["model"].pop("direct_hessian")

    result = run_training(TrainConfig.model_validate(tree), tmp_path / "run")

    log = result.directory.log.read_text()
    assert "4 training structures have labels of hessian, which are not used" in log


def test_one_file_of_hessians_belongs_to_one_of_structures(folder):
    files = [folder / "train.xyz", folder / "test.xyz"]

    with pytest.raises(DataError, match="has the Hessians of one file, but 2"):
        load_structures(files, KeysConfig(), folder / "test.npz")


def test_a_run_of_before_these_keys_can_be_resumed(tree):
    tree["training"]["loss"] = {}
    del tree["model"]["direct_hessian"], tree["data"]["hessians"]
    now = TrainConfig.model_validate(tree).model_dump(mode="json")
    before = copy.deepcopy(now)
    del before["training"]["loss"]["hessian"], before["model"]["direct_hessian"]
    del before["training"]["loss"]["hessian_direct"], before["data"]["hessians"]

    check_same_config(before, now)

    now["training"]["loss"]["hessian"]["weight"] = 1.0
    with pytest.raises(StateError, match=r"training\.loss\.hessian\.weight: 0\.0 in"):
        check_same_config(before, now)


def test_the_configuration_survives_a_file(tree):
    config = TrainConfig.model_validate(tree)

    again = TrainConfig.model_validate(
        yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    )

    assert again == config
