"""Runs with a backend that is chosen, and with one that is wrong."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

import equipot.training.prepare
from equipot.checkpoint.file import load_potential, read_header, read_samples
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.storage.tensor_file import read_tensor_file
from equipot.tensor_products import BACKENDS
from equipot.training.run import run_training
from equipot.verify import BackendMismatchError
from tests.broken_backends import Wrapped, WrongSecondDerivative

AUTO = "model.backend=auto"


@pytest.fixture
def train(tmp_path, write_config):
    """Runs training into a folder and returns its files and what was printed."""

    def run(*overrides, resume=False, name="run"):
        config = load_config(write_config(), overrides, TrainConfig)
        console = Console(file=io.StringIO(), width=300)
        result = run_training(config, tmp_path / name, resume=resume, console=console)
        return result.directory, console.file.getvalue()

    return run


@pytest.fixture
def choose(monkeypatch):
    """Makes auto choose a backend; the problems that it was asked about."""
    asked = []

    def becomes(name):
        def choice(problem):
            asked.append(problem)
            return SimpleNamespace(backend=name, __str__=lambda self: "")

        monkeypatch.setattr(equipot.training.prepare, "choose_backend", choice)
        return asked

    return becomes


def test_a_model_carries_structures_of_the_validation_set(train, crystal_folder):
    files, _ = train("training.epochs=1")

    for path in (files.best, files.last):
        samples = read_samples(read_header(path))
        assert 1 <= len(samples) <= 4
        assert all(set(a.numbers) <= {29, 79} and a.pbc.all() for a in samples)


def test_auto_is_told_the_size_of_a_batch_and_what_it_chose_is_kept(train, choose):
    asked = choose("clebsch_gordan")

    files, _ = train(AUTO, "training.epochs=1")

    (problem,) = asked
    header = read_header(files.best)
    statistics = header["statistics"]
    share = 2 / statistics["num_structures"]
    assert problem.num_edges == round(share * statistics["num_edges"])
    assert problem.num_nodes == round(share * statistics["num_atoms"])
    assert header["model"]["backend"] == "auto"
    assert header["backend_used"] == "clebsch_gordan"


def test_auto_counts_no_more_edges_than_a_batch_may_have(train, choose):
    asked = choose("clebsch_gordan")

    train(AUTO, "training.epochs=1", "training.max_edges=70")

    assert asked[0].num_edges == 70


def test_a_run_says_what_auto_chose_and_that_it_agrees(train, monkeypatch):
    for name in [n for n in BACKENDS if n not in ("clebsch_gordan", "fused")]:
        monkeypatch.delitem(BACKENDS, name)

    files, printed = train(AUTO, "training.epochs=1")

    used = read_header(files.best)["backend_used"]
    assert f"backend auto is {used} on this machine" in printed
    assert f"backend auto is {used} on this machine" in files.log.read_text()


def test_a_resume_keeps_the_backend_that_the_run_began_with(train, choose, monkeypatch):
    monkeypatch.setitem(BACKENDS, "fused", Wrapped)
    constant = (AUTO, "training.schedule={kind: constant}")
    choose("fused")
    through, _ = train(*constant, "training.epochs=2", name="through")
    train(*constant, "training.epochs=1", name="stopped")
    asked = choose("clebsch_gordan")
    count = len(asked)

    resumed, printed = train(
        *constant, "training.epochs=2", resume=True, name="stopped"
    )

    assert len(asked) == count
    assert "backend fused, as at the start of the run" in printed
    assert read_header(resumed.best)["backend_used"] == "fused"
    one, other = (
        load_potential(files.last, backend="clebsch_gordan").state_dict()
        for files in (through, resumed)
    )
    assert all((one[k] == other[k]).all() for k in one)


def test_a_run_with_a_backend_of_its_own_keeps_it_under_the_default(train, monkeypatch):
    """The default was the reference once; who relied on it can go on."""
    monkeypatch.setitem(BACKENDS, "fused", Wrapped)
    constant = "training.schedule={kind: constant}"
    train("model.backend=fused", constant, "training.epochs=1")

    resumed, printed = train(AUTO, constant, "training.epochs=2", resume=True)

    assert "backend fused, as at the start of the run" in printed
    assert read_header(resumed.best)["backend_used"] == "fused"
    with pytest.raises(StateError, match=r"model\.backend: 'auto' in the run, 'so2'"):
        train("model.backend=so2", constant, "training.epochs=2", resume=True)


def test_the_last_and_the_best_model_hold_their_own_golden_outputs(train):
    files, _ = train("training.epochs=2")

    for path in (files.last, files.best):
        assert read_header(path)["golden"]["values"]["energy"]
        assert load_potential(path, device="cpu", dtype="float32")


def test_states_of_earlier_versions_resume(train, tmp_path):
    constant = "training.schedule={kind: constant}"
    files, _ = train("training.epochs=1", constant)
    state = files.path / "state.safetensors"
    header, tensors = read_tensor_file(state, "training state")
    header["record"].pop("backend")
    RotatingCheckpoints(files.path, "training state", header["version"]).save(
        header["record"], tensors
    )

    resumed, _ = train("training.epochs=2", constant, resume=True)

    assert len(read_header(resumed.best)["training"]["history"]) == 2


def test_a_wrong_backend_is_refused_before_the_first_step(train, monkeypatch, tmp_path):
    monkeypatch.setitem(BACKENDS, "fused", WrongSecondDerivative)

    with pytest.raises(BackendMismatchError, match="Hessian-vector"):
        train("model.backend=fused")

    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_a_right_backend_is_said_to_agree(train, monkeypatch):
    monkeypatch.setitem(BACKENDS, "fused", Wrapped)

    files, printed = train("model.backend=fused", "training.epochs=1")

    assert "backend fused agrees with clebsch_gordan on" in printed
    assert read_header(files.best)["backend_used"] == "fused"
