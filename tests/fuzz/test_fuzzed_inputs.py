"""Mutated inputs of each kind are read, or refused with a clear error."""

import warnings

import pytest
from fuzzing.cases import Case
from fuzzing.corpus import KINDS, Corpus
from fuzzing.sandbox import FAILED, READ, judge
from fuzzing.targets import REFUSED, TARGETS, read_input
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import integers

EXAMPLES = {"structures": 80, "hessians": 50, "configs": 15, "models": 50}


@pytest.fixture(scope="module")
def corpus():
    return Corpus(seed=1)


def read(case, folder):
    path = folder / case.name
    path.write_bytes(case.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_input(case.kind, path)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_inputs_are_read_or_refused(kind, corpus, tmp_path):
    seen = set()

    @settings(
        max_examples=EXAMPLES[kind],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(integers(0, 10**9))
    def check(number):
        verdict, message = read(corpus.case(kind, number), tmp_path)
        assert verdict == READ or message
        seen.add(verdict)

    check()

    assert seen == {READ, REFUSED}


def test_intact_inputs_are_read(corpus, tmp_path):
    for case in corpus.intact():
        folder = tmp_path / f"{case.kind} {case.label}"
        folder.mkdir()

        assert read(case, folder) == (READ, ""), case.label


def test_cases_are_a_function_of_seed_and_number(corpus):
    again, other = Corpus(seed=1), Corpus(seed=2)

    assert again.intact() == corpus.intact()
    for kind in KINDS:
        first = [corpus.case(kind, number) for number in range(20)]
        assert [again.case(kind, number) for number in range(20)] == first
        assert [other.case(kind, number) for number in range(20)] != first


@pytest.fixture
def broken_readers(monkeypatch, tmp_path):
    """Readers with each defect that the sandbox is for, by the kind of the input."""
    import faulthandler
    import os
    import pickle
    import subprocess

    def write(path):
        (tmp_path / "canary").write_bytes(b"")

    def spin(path):
        while True:
            pass

    def die(path):
        faulthandler.disable()  # pytest's, which would print a traceback
        os.abort()

    class Payload:
        def __reduce__(self):
            return print, ("executed",)

    payload = pickle.dumps(Payload())
    readers = {
        "leaks": lambda path: {}[path.name],
        "dies": die,
        "spins": spin,
        "allocates": lambda path: bytearray(3 << 30),
        "swells": lambda path: bytearray(b"x") * (300 << 20),
        "unpickles": lambda path: pickle.loads(payload),
        "evaluates": lambda path: eval(path.read_text()),
        "starts": lambda path: subprocess.run(["true"], check=True),
        "writes": write,
        "changes": lambda path: path.write_bytes(b"other"),
        "leaves": lambda path: path.with_name("new").write_bytes(b""),
        "reads": lambda path: path.read_bytes(),
    }
    for kind, reader in readers.items():
        monkeypatch.setitem(TARGETS, kind, (reader, (ValueError,)))
    # long enough for all but the endless one, on any machine
    monkeypatch.setattr("fuzzing.sandbox.CPU_SECONDS", 3.0)
    return list(readers)


def test_the_sandbox_catches_every_defect(broken_readers):
    cases = [(n, Case(k, k, "input", b"1 + 1")) for n, k in enumerate(broken_readers)]

    verdicts = {case.kind: verdict for case, verdict in judge(cases)}

    messages = {
        "leaks": "KeyError",
        "dies": "died",
        "spins": "hangs",
        "allocates": "MemoryError",
        "swells": "took",
        "unpickles": "pickle.find_class",
        "evaluates": "exec of code",
        "starts": "subprocess.Popen",
        "writes": "open",
        "changes": "changed its input",
        "leaves": "made files",
    }
    assert set(messages) == set(broken_readers) - {"reads"}
    for kind, message in messages.items():
        assert verdicts[kind].verdict == FAILED, kind
        assert message in verdicts[kind].message, kind
    assert verdicts["reads"].verdict == READ
