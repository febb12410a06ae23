"""Training that starts from the weights of a potential."""

import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from rich.console import Console
from torch.testing import assert_close

from equipot.checkpoint.file import (
    load_domain,
    load_potential,
    read_header,
    read_weights,
    save_potential,
)
from equipot.config.model import parse_model
from equipot.config.train import TrainConfig
from equipot.data.reading.errors import DataError
from equipot.models.architectures import ARCHITECTURES
from equipot.models.build import build_potential
from equipot.neighbors import build_graph
from equipot.storage.rotation import StateError
from equipot.training.run import TrainingResult, run_training
from equipot.training.start import read_start, transfer, with_architecture_of
from equipot.training.step import train_step
from tests.potentials import SMALL, random_potential, statistics_of


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """File of a potential with random weights for H, Cu and Au."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    settings = {
        "cutoff": 3.2, "lmax": 1, "channels": 2, "num_layers": 2, "num_basis": 3,
        "radial_hidden": (4,), "readout_hidden": 4,
    }  # fmt: skip
    potential = random_potential((1, 29, 79), **settings)
    config = parse_model({**settings, "dtype": "float64", "backend": "clebsch_gordan"})
    save_potential(path, potential, config, statistics_of((1, 29, 79), 3.2))
    return path


@pytest.fixture
def tune(config_tree, start, tmp_path):
    """Runs a training that starts from the potential."""
    del config_tree["model"]
    config_tree["training"]["epochs"] = 1

    def run(
        folder: str = "run",
        *,
        resume: bool = False,
        model: object = None,
        **section: object,
    ) -> TrainingResult:
        tree = {**config_tree, **({"model": model} if model else {})}
        training = {**tree["training"], "start_from": {"path": str(start), **section}}
        config = TrainConfig.model_validate({**tree, "training": training})
        console = Console(quiet=True)
        return run_training(config, tmp_path / folder, resume=resume, console=console)

    return run


def frames(config_tree, name: str) -> list[Atoms]:
    return ase.io.read(Path(config_tree["data"]["root"]) / f"{name}.xyz", ":")


def metrics_of(result: TrainingResult) -> dict:
    """Contents of ``metrics.json``, without times."""
    metrics = json.loads(result.directory.metrics.read_text())
    for row in (metrics, *metrics["history"]):
        del row["seconds"]
    return metrics


def interrupt_at(monkeypatch, step: int) -> None:
    """Send a signal to this process in a step of the next run, counted from 1."""
    steps = itertools.count(1)

    def interrupted(*args, **kwargs):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*args, **kwargs)

    monkeypatch.setattr("equipot.training.trainer.train_step", interrupted)


def test_scales_are_kept_and_energies_fit_the_training_set(tune, start, config_tree):
    result = tune()

    before, after = read_header(start), read_header(result.directory.best)
    for key in ("energy_scale", "energy_shift", "average_num_neighbors"):
        assert after["statistics"][key] == before["statistics"][key]
    assert after["statistics"]["elements"] == [1, 29, 79]
    old, new = (h["statistics"]["reference_energies"] for h in (before, after))
    assert new["1"] == old["1"]  # no structure says anything about it
    assert new["29"] != old["29"]
    assert str(start) in after["provenance"]["data"]
    assert after["model"]["channels"] == 2
    # the residuals of a least-squares fit are orthogonal to the composition
    potential = load_potential(start, device="cpu")
    rows, residuals = [], []
    for atoms in frames(config_tree, "train"):
        energy = potential(build_graph(atoms, 3.2), ("energy",)).energy.item()
        counts = np.array([(atoms.numbers == z).sum() for z in (29, 79)])
        change = [new[str(z)] - old[str(z)] for z in (29, 79)]
        rows.append(counts / len(atoms))
        labeled = atoms.info["REF_energy"]
        residuals.append((labeled - energy - counts @ change) / len(atoms))
    assert np.abs(np.array(rows).T @ residuals).max() < 1e-9


def test_old_structures_without_energies_are_replayed(
    tune, start, config_tree, tmp_path
):
    alone = tune("alone")
    old = frames(config_tree, "test")
    for atoms in old:
        del atoms.info["REF_energy"]
        atoms.info["config_type"] = "old"
        atoms.numbers[1] = 1  # of the old set only
    ase.io.write(tmp_path / "old.xyz", old, format="extxyz")
    config_tree["data"]["train"].append(str(tmp_path / "old.xyz"))
    config_tree["data"]["weights"] = {"old": 0.2}

    result = tune("both")

    statistics = read_header(result.directory.best)["statistics"]
    assert statistics["config_types"]["old"] == len(old)
    expected = read_header(alone.directory.best)["statistics"]["reference_energies"]
    assert statistics["reference_energies"] == expected


def test_errors_before_training_are_those_of_the_potential(tune, start, config_tree):
    result = tune(reference_energies="keep")

    before = json.loads(result.directory.errors_before.read_text())
    metrics = json.loads(result.directory.metrics.read_text())
    assert metrics["errors_before"] == before
    potential = load_potential(start, device="cpu")
    errors = [
        potential(build_graph(atoms, 3.2), ("forces",)).forces.numpy()
        - atoms.arrays["REF_forces"]
        for atoms in frames(config_tree, "test")
    ]
    rmse = 1e3 * np.sqrt(np.mean(np.concatenate(errors) ** 2))
    found = before["bulk"]["forces"]["overall"]["rmse"]
    assert found == pytest.approx(rmse, rel=1e-9)
    assert metrics["errors"]["bulk"]["forces"]["overall"]["rmse"] < found


def test_frozen_weights_stay_and_others_change(tune, start):
    result = tune(frozen=["backbone.*"])

    before = load_potential(start, device="cpu").state_dict()
    after = load_potential(result.directory.best, device="cpu").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("head.") for name in changed)


def test_the_learning_rate_of_a_part_scales_its_first_step(tune, start):
    """Adam's first step is the learning rate, whatever the gradient."""
    before = load_potential(start, device="cpu").state_dict()
    moved = []
    for folder, factors in (("full", {}), ("tenth", {"head.*": 0.1})):
        result = tune(folder, lr_factors=factors)
        after = load_potential(result.directory.last, device="cpu").state_dict()
        moved.append(
            (after["head.last.2.weight"] - before["head.last.2.weight"]).norm()
        )

    assert moved[1] < 0.3 * moved[0]


def test_elements_that_no_structure_has_can_be_dropped(tune, start):
    result = tune(elements="data")

    assert load_potential(result.directory.best).elements == (29, 79)
    assert load_domain(result.directory.best).features is not None


def test_kept_elements_that_are_not_trained_are_told(tune):
    result = tune()

    warnings = read_header(result.directory.best)["statistics"]["warnings"]
    assert any("1 elements of" in w and "(H)" in w for w in warnings)
    assert load_domain(result.directory.best).features is None


def test_the_domain_covers_both_training_sets(tune, start):
    result = tune()

    before, after = read_header(start), read_header(result.directory.best)
    limits = after["statistics"]["minimum_distances"]
    assert set(limits) >= set(before["statistics"]["minimum_distances"])
    assert after["statistics"]["num_structures"] == 12


@pytest.mark.parametrize(
    ("section", "model", "message"),
    [
        (
            {"frozen": ["tail.*"]},
            None,
            "'tail.\\*' fits no weight; they are called back",
        ),
        ({"frozen": ["*"]}, None, "names all weights: nothing trains"),
        ({"lora": {"parts": ["tail"]}}, None, "lora.parts: 'tail' fits no weight"),
        ({"lr_factors": {"tail": 0.1}}, None, "lr_factors: 'tail' fits no weight"),
        (
            {},
            {"channels": 4},
            "model.channels is 4, but .* has 2: .* leave the key",
        ),
        ({}, {"architecture": "mace"}, "model.architecture is 'mace', but .* 'nequip'"),
    ],
    ids=["frozen", "all frozen", "parts", "factors", "channels", "architecture"],
)
def test_what_fits_no_part_of_the_potential_is_refused(tune, section, model, message):
    with pytest.raises(ValueError, match=message):
        tune(model=model, **section)


def test_dtype_and_backend_may_be_chosen(tune):
    result = tune(model={"dtype": "float32", "backend": "fused"})

    model = read_header(result.directory.best)["model"]
    assert (model["dtype"], model["backend"], model["channels"]) == (
        "float32",
        "fused",
        2,
    )


@pytest.mark.parametrize(
    "section",
    [
        {"frozen": ["backbone.embedding.*"], "lr_factors": {"head.*": 0.5}},
        {"lora": {"rank": 1}},
    ],
    ids=["weights", "adapters"],
)
def test_interrupted_fine_tuning_comes_to_the_same_end(
    tune, config_tree, monkeypatch, section
):
    config_tree["training"]["epochs"] = 2
    config_tree["training"]["optimizer"] = {"lr": 0.01, "relative_steps": True}
    whole = tune("whole", **section)
    interrupt_at(monkeypatch, 7)
    assert tune("stopped", **section).progress.finished is None
    stopped = tune("stopped", resume=True, **section)

    for file in ("best", "last"):
        ends = [getattr(run.directory, file) for run in (whole, stopped)]
        expected, found = map(read_weights, ends)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert metrics_of(stopped) == metrics_of(whole)
    assert metrics_of(whole)["steps"] == 12


def test_a_lost_model_with_adapters_is_restored_from_the_checkpoint(tune):
    result = tune(lora={"rank": 1})
    content = result.directory.best.read_bytes()
    result.directory.best.unlink()

    tune(lora={"rank": 1}, resume=True)

    assert result.directory.best.read_bytes() == content


def test_adapters_change_matrices_by_their_rank(tune, start):
    result = tune(lora={"rank": 1, "parts": ["backbone.*"]})

    before, after = read_weights(start), read_weights(result.directory.best)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.layers.0.radial.output.weight" in changed
    assert all(name.startswith("backbone.") for name in changed)
    change = after["backbone.layers.0.radial.output.weight"]
    change = change - before["backbone.layers.0.radial.output.weight"]
    values = torch.linalg.svdvals(change)
    assert values[1] < 1e-12 * values[0]


def test_the_architecture_is_that_of_the_file_unless_another_is_given(
    config_tree, tmp_path
):
    path = tmp_path / "start.safetensors"
    small = {"architecture": "sevennet", **SMALL["sevennet"], "num_layers": 2}
    settings = {"cutoff": 3.2, "dtype": "float64", **small}
    potential = random_potential((29, 79), **settings)
    config = parse_model({"readout_hidden": 4, **settings})
    save_potential(path, potential, config, statistics_of((29, 79), 3.2))
    training = {"start_from": str(path)}
    tree = {**config_tree, "training": training, "model": {"backend": "fused"}}

    config = TrainConfig.model_validate(tree)
    model = with_architecture_of(config, read_start(config)).model

    assert (model.architecture, model.backend) == ("sevennet", "fused")
    tree["model"]["architecture"] = "nequip"
    config = TrainConfig.model_validate(tree)
    with pytest.raises(ValueError, match=r"is 'nequip', but .* has 'sevennet'"):
        with_architecture_of(config, read_start(config))


def test_another_potential_to_start_from_is_refused_on_resume(tune, start, tmp_path):
    tune()
    content = start.read_bytes()
    try:
        potential = load_potential(start, device="cpu")
        header = read_header(start)
        statistics = replace(statistics_of((1, 29, 79), 3.2), energy_scale=1.4)
        save_potential(start, potential, parse_model(header["model"]), statistics)
        with pytest.raises(StateError, match="cannot resume with other data"):
            tune(resume=True)
    finally:
        start.write_bytes(content)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "nequix"])
@pytest.mark.parametrize("elements", [(6, 8), (1, 6, 7, 8), (1, 7, 8)])
def test_transferred_weights_predict_the_same_for_shared_elements(name, elements):
    """Elements dropped, added, and exchanged, whatever weights depend on them."""
    settings = {**SMALL.get(name, {}), "architecture": name, "num_layers": 2}
    old = random_potential((1, 6, 8), **settings)
    before, after = statistics_of((1, 6, 8), 4.0), statistics_of(elements, 4.0)
    sizes = {"cutoff": 4.0, "channels": 4, "readout_hidden": 4, "dtype": "float64"}
    config = parse_model({**sizes, **settings})
    new = build_potential(config, after, seed=5).eval()

    transfer(new, old.state_dict(), config, before, after)

    shared = [z for z in elements if z in (1, 6, 8)]
    numbers = [*shared, shared[0]]
    positions = np.random.default_rng(0).uniform(0, 3, (len(numbers), 3))
    atoms = Atoms(numbers, positions)
    graph = build_graph(atoms, 4.0)
    assert_close(new(graph).forces, old(graph).forces, rtol=0, atol=1e-12)
    assert_close(new(graph).energy, old(graph).energy, rtol=0, atol=1e-10)


@pytest.mark.parametrize("elements", [(6, 8), (1, 6, 7, 8), (1, 7, 8)])
def test_elements_do_not_change_where_widths_depend_on_their_number(elements):
    settings = {"architecture": "nequix", "num_layers": 2}
    old = random_potential((1, 6, 8), **settings)
    before, after = statistics_of((1, 6, 8), 4.0), statistics_of(elements, 4.0)
    sizes = {"cutoff": 4.0, "channels": 4, "readout_hidden": 4, "dtype": "float64"}
    config = parse_model({**sizes, **SMALL["nequix"], **settings})

    with pytest.raises(ValueError, match="elements cannot be added or dropped"):
        transfer(
            build_potential(config, after), old.state_dict(), config, before, after
        )

    same = build_potential(config, before, seed=5)
    transfer(same, old.state_dict(), config, before, before)
    for name, weight in old.state_dict().items():
        assert torch.equal(same.state_dict()[name], weight)


def test_sets_of_kept_elements_show_what_is_forgotten(tune, config_tree, tmp_path):
    old = tmp_path / "old.xyz"
    atoms = Atoms("HCu", [[0, 0, 0], [0, 0, 1.5]])
    atoms.info["REF_energy"] = -1.0
    atoms.arrays["REF_forces"] = np.zeros((2, 3))
    ase.io.write(old, atoms, format="extxyz")
    config_tree["data"]["test"]["old"] = [str(old)]

    metrics = json.loads(tune().directory.metrics.read_text())

    assert set(metrics["errors_before"]) == {"valid", "bulk", "old"}
    with pytest.raises(DataError, match="contains H, but no training structure does"):
        tune("dropped", elements="data")
