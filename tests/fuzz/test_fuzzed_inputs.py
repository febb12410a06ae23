"""Damaged inputs are read or refused clearly; the fuzzer notices what is neither."""

import pickle
import subprocess
from collections import Counter

import pytest
from fuzz import make_test
from fuzzing.archives import hessian_seeds
from fuzzing.configurations import config_seeds
from fuzzing.foreign import foreign_seeds
from fuzzing.model_files import model_seeds
from fuzzing.readers import READERS, FuzzFault, check_input
from fuzzing.strategies import TARGETS
from fuzzing.structures import structure_seeds
from hypothesis import HealthCheck, Phase, settings

import equipot.data.reading.geometry

SEEDS = {
    "structures": lambda: structure_seeds().values(),
    "hessians": lambda: [("hessians.npz", data) for data in hessian_seeds()],
    "configurations": config_seeds,
    "models": lambda: model_seeds().values(),
    "foreign": foreign_seeds,
}
EXAMPLES = {
    "structures": 80,
    "hessians": 50,
    "configurations": 30,
    "models": 50,
    "foreign": 200,
}


def fuzz(target, folder, examples):
    outcomes = Counter()
    settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(make_test(target, folder, outcomes))()
    return outcomes


@pytest.mark.parametrize("target", TARGETS)
def test_undamaged_inputs_are_read(target, tmp_path):
    for name, data in SEEDS[target]():
        path = tmp_path / name
        path.write_bytes(data)

        assert check_input(target, path) == "read", name

        path.unlink()


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_read_or_refused(target, tmp_path):
    outcomes = fuzz(target, tmp_path / "inputs", EXAMPLES[target])

    assert set(outcomes) == {"read", "refused"}


def test_a_check_that_is_missing_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(equipot.data.reading.geometry, "_check_cell", lambda *_: None)

    with pytest.raises(FuzzFault, match="cell"):
        fuzz("structures", tmp_path / "inputs", 300)


class Payload:
    def __reduce__(self):
        return abs, (-1,)


PICKLE = pickle.dumps(Payload())


def chain(path):
    try:
        bytearray(3 << 30)
    except MemoryError as error:
        raise ValueError(path.name) from error


def refuse(message):
    raise ValueError(message)


@pytest.mark.parametrize(
    ("reader", "error", "message"),
    [
        (lambda path: {}[path.name], KeyError, "input"),
        (lambda path: bytearray(3 << 30), MemoryError, None),
        (chain, FuzzFault, "no memory"),
        (lambda path: pickle.loads(PICKLE), FuzzFault, "pickle.find_class"),
        (lambda path: subprocess.run(["true"], check=True), FuzzFault, "Popen"),
        (lambda path: path.write_bytes(b"other"), FuzzFault, "changed"),
        (lambda path: path.with_name("new").touch(), FuzzFault, "files were made"),
        (lambda path: path.unlink(), FuzzFault, "removed"),
        (lambda path: refuse("wrong"), FuzzFault, "names no file"),
        (lambda path: refuse(path.name * 2000), FuzzFault, "10000 characters"),
    ],
)
def test_faults_of_readers_are_noticed(reader, error, message, tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "broken", (reader, (ValueError,)))
    path = tmp_path / "input"
    path.write_bytes(b"1 + 1")

    with pytest.raises(error, match=message):
        check_input("broken", path)
