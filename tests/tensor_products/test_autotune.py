"""What ``backend="auto"`` chooses, whom it leaves out, and what it remembers."""

import json
import logging
import time
import warnings
from dataclasses import replace

import pytest
import torch

from equipot.storage.user_cache import store_cached
from equipot.tensor_products import ClebschGordan, TensorProductSpec, autotune, trial
from equipot.tensor_products.autotune import BackendExcludedWarning, choose_backend
from equipot.tensor_products.blocks import BLOCK_BYTES
from equipot.tensor_products.trial import Problem
from tests.broken_backends import BROKEN, Wrapped, WrongWhere

PROBLEM = Problem(
    specs=(TensorProductSpec(0, 1, 1), TensorProductSpec(1, 1, 1)),
    channels=3,
    num_nodes=10,
    num_edges=50,
    dtype=torch.float32,
    device=torch.device("cpu"),
)


class Fast(Wrapped):
    """Right, and said to be fast."""


class Slow(Wrapped):
    """Right, and said to be slow."""


class Impossible(Wrapped):
    """Cannot compute anything."""

    @staticmethod
    def unsupported(spec):
        return "it needs a larger computer"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "equipot" / "autotune"


@pytest.fixture
def install(monkeypatch):
    """Makes the reference and some others all backends that there are."""

    def run(**backends):
        everything = {"clebsch_gordan": ClebschGordan, **backends}
        monkeypatch.setattr(autotune, "BACKENDS", everything)

    return run


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """Time as a function of the backend; the classes that were timed, in order."""
    seen = []
    took = {ClebschGordan: 0.002, Slow: 0.009}

    def seconds(products, problem, inputs):
        kind = type(next(iter(products.values())))
        seen.append(kind)
        return took.get(kind, 0.001)

    monkeypatch.setattr(autotune, "seconds", seconds)
    return seen


def test_the_fastest_is_chosen_and_the_reason_is_told(install):
    install(slow=Slow, fast=Fast)

    choice = choose_backend(PROBLEM)

    assert choice.backend == "fast"
    assert choice.milliseconds == {"clebsch_gordan": 2.0, "slow": 9.0, "fast": 1.0}
    threads = torch.get_num_threads()
    assert str(choice).startswith(
        "backend auto is fast on this machine; 1 ms for 64 edges forward and backward, "
        f"float32, {threads} thread{'s' * (threads != 1)} (clebsch_gordan 2 ms, slow 9 "
        "ms); "
    )
    assert str(choice).endswith("measured now")


def test_the_reference_is_chosen_where_it_is_fastest(install):
    install(slow=Slow)

    assert choose_backend(PROBLEM).backend == "clebsch_gordan"


def test_candidates_take_turns(install, timed):
    install(slow=Slow, fast=Fast)

    choose_backend(PROBLEM)

    turns = [kind for kind in timed if kind is not Slow][-10:]
    assert turns in ([ClebschGordan, Fast] * 5, [Fast, ClebschGordan] * 5)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("wrong_coupling", "float64: messages differ from clebsch_gordan by .*e-0"),
        ("wrong_gradient", "float64: gradients by features differ .* error of 1.0e-03"),
        ("wrong_second_derivative", "float64: second derivatives by features differ"),
        ("wrong_in_float32", "float32: messages differ .* error of 1.0e-03"),
        ("not_a_number", "float64: messages differ .* error of (inf|nan)"),
        ("once_differentiable", "float64: second derivatives by features differ"),
        ("unfinished", "it raised NotImplementedError: no kernel for float64"),
    ],
)
def test_a_wrong_backend_is_left_out_with_numbers_however_fast(install, name, what):
    install(**{name: BROKEN[name]}, slow=Slow)

    with pytest.warns(BackendExcludedWarning, match=what) as caught:
        choice = choose_backend(PROBLEM)

    assert f"backend {name!r} is excluded, it is wrong" in str(caught[0].message)
    assert choice.backend == "clebsch_gordan"
    assert set(choice.excluded) == {name}
    assert set(choice.milliseconds) == {"clebsch_gordan", "slow"}
    assert f"excluded: {name} (" in str(choice)


def test_right_backends_are_left_out_for_no_reason(install):
    install(fast=Fast, slow=Slow)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice = choose_backend(replace(PROBLEM, dtype=torch.float64))

    assert choice.excluded == {}


def test_backends_that_cannot_compute_the_products_are_listed(install):
    install(impossible=Impossible)

    choice = choose_backend(PROBLEM)

    assert choice.skipped == {"impossible": "it needs a larger computer"}
    assert choice.backend == "clebsch_gordan"
    assert "it is the only candidate" in str(choice)
    assert "not supported: impossible" in str(choice)


def test_a_backend_that_is_not_built_is_listed(install, monkeypatch):
    install(fast=Fast)
    monkeypatch.setattr(
        autotune,
        "unavailable",
        lambda name, device: "run make" if name == "fast" else None,
    )

    assert choose_backend(PROBLEM).skipped == {"fast": "run make"}


def test_the_choice_is_remembered(install, timed):
    install(fast=Fast)
    first = choose_backend(PROBLEM)
    count = len(timed)

    second = choose_backend(replace(PROBLEM, num_edges=60, num_nodes=12))

    assert len(timed) == count
    assert second.remembered
    assert replace(second, remembered=False) == first
    assert str(second).endswith("from the cache")


def test_wrong_backends_are_warned_of_when_remembered_too(install):
    install(wrong_coupling=BROKEN["wrong_coupling"])
    with pytest.warns(BackendExcludedWarning):
        choose_backend(PROBLEM)

    with pytest.warns(BackendExcludedWarning, match="'wrong_coupling' is excluded"):
        assert choose_backend(PROBLEM).remembered


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": torch.float64},
        {"channels": 4},
        {"num_edges": 200},
        {"num_nodes": 40},
        {"specs": PROBLEM.specs[1:]},
    ],
)
def test_another_problem_is_measured_anew(install, change):
    install(fast=Fast)
    choose_backend(PROBLEM)

    assert not choose_backend(replace(PROBLEM, **change)).remembered


@pytest.mark.parametrize("what", ["hardware", "threads", "torch", "sources", "equipot"])
def test_another_machine_or_version_is_measured_anew(install, monkeypatch, what):
    install(fast=Fast)
    choose_backend(PROBLEM)
    now = autotune.fingerprint(PROBLEM.device)
    assert what in now

    monkeypatch.setattr(autotune, "fingerprint", lambda device: {**now, what: "other"})

    assert not choose_backend(PROBLEM).remembered


def test_a_new_backend_is_measured(install):
    install(slow=Slow)
    choose_backend(PROBLEM)

    install(slow=Slow, fast=Fast)

    assert choose_backend(PROBLEM).backend == "fast"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"question": {}, "answer": {}}',
        "null",
        "\x00\xff",
        {"answer": {"backend": "fast"}},
        {"answer": "fast"},
        {"answer": None},
    ],
)
def test_a_damaged_cache_is_told_of_and_measured_anew(install, folder, content, caplog):
    install(fast=Fast)
    choose_backend(PROBLEM)
    (file,) = folder.iterdir()
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_text(content)

    with caplog.at_level(logging.WARNING, "equipot"):
        choice = choose_backend(PROBLEM)

    assert not choice.remembered
    assert choice.backend == "fast"
    assert "is recomputed" in caplog.text
    assert choose_backend(PROBLEM).remembered


def test_a_choice_that_no_longer_exists_is_measured_anew(install, folder):
    install(fast=Fast)
    choose_backend(PROBLEM)
    (file,) = folder.iterdir()
    file.write_text(file.read_text().replace('"backend": "fast"', '"backend": "warp"'))

    assert choose_backend(PROBLEM).backend == "fast"


def test_without_a_place_to_remember_it_chooses_all_the_same(
    install, tmp_path, monkeypatch, caplog
):
    install(fast=Fast)
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with caplog.at_level(logging.WARNING, "equipot"):
        choice = choose_backend(PROBLEM)

    assert choice.backend == "fast"
    assert "it is not cached" in caplog.text


def test_measuring_leaves_random_numbers_alone(install):
    install(fast=Fast)
    state = torch.random.get_rng_state()

    choose_backend(PROBLEM)

    assert torch.equal(torch.random.get_rng_state(), state)


def test_products_of_any_size_are_bounded():
    huge = replace(PROBLEM, channels=128, num_nodes=10**5, num_edges=10**7).bounded()
    none = replace(PROBLEM, num_nodes=1, num_edges=0).bounded()

    assert huge.num_edges < 10**6
    assert huge.num_edges / huge.num_nodes == pytest.approx(100, rel=1)
    assert none.num_edges >= 1
    assert none.num_nodes >= 1


@pytest.fixture
def slices(monkeypatch):
    """Times of the passes of a backend in order; the last one holds for all others."""

    def run(**of_backends):
        given = {
            {"fast": Fast, "slow": Slow, "clebsch_gordan": ClebschGordan}[name]: list(t)
            for name, t in of_backends.items()
        }
        passes = []

        def seconds(products, problem, inputs):
            kind = type(next(iter(products.values())))
            passes.append(kind)
            left = given[kind]
            return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(autotune, "seconds", seconds)
        monkeypatch.setattr(autotune, "limited_to_time", lambda problem, *rest: problem)
        return passes

    return run


@pytest.mark.parametrize("unlucky", [0, 1, 2])
def test_one_unlucky_slice_prunes_no_candidate(install, slices, unlucky):
    install(fast=Fast)
    times = [0.001] * 6
    times[1 + unlucky] = 0.5  # the first fills caches
    passes = slices(fast=times, clebsch_gordan=[0.002])

    choice = choose_backend(PROBLEM)

    assert choice.backend == "fast"
    assert choice.milliseconds == {"clebsch_gordan": 2.0, "fast": 1.0}
    assert passes.count(Fast) == 1 + autotune.MAX_ROUNDS
    assert choose_backend(PROBLEM).remembered


def test_hopeless_candidates_are_measured_three_times(install, slices):
    install(slow=Slow)
    passes = slices(slow=[0.1], clebsch_gordan=[0.002])

    choose_backend(PROBLEM)

    assert passes.count(Slow) == 1 + 3


def test_a_choice_under_noise_is_not_remembered(install, slices, folder):
    install(fast=Fast)
    noise = [0.001, 0.001, *[0.009] * 20]
    slices(fast=noise, clebsch_gordan=[0.002])

    choice = choose_backend(PROBLEM)

    assert choice.backend == "fast"
    assert choice.spread == pytest.approx(8)
    assert "not cached, as repeated timings differ by 800%" in str(choice)
    assert not folder.exists()
    assert not choose_backend(PROBLEM).remembered


def test_noise_of_a_hopeless_candidate_does_not_matter(install, slices):
    install(slow=Slow)
    slices(slow=[0.1, 0.1, 0.9, 0.9], clebsch_gordan=[0.002])

    assert choose_backend(PROBLEM).spread == 0
    assert choose_backend(PROBLEM).remembered


@pytest.mark.parametrize(
    "poison",
    [
        {"backend": "clebsch_gordan"},
        {"backend": 5},
        {"milliseconds": "fast"},
        {"milliseconds": {"fast": "1"}},
        {"milliseconds": {"fast": 1.0}},
        {"milliseconds": {"fast": -1.0, "clebsch_gordan": 2.0}},
        {"milliseconds": {}},
        {"excluded": ["fast"]},
        {"excluded": {"fast": "wrong"}},
        {"skipped": 1},
        {"spread": 3.0},
        {"spread": "none"},
        {"remarks": 1},
    ],
)
def test_a_poisoned_choice_is_measured_anew(install, folder, poison, caplog):
    """Its hash is right: it was written by the function that writes all."""
    install(fast=Fast)
    choose_backend(PROBLEM)
    (file,) = folder.iterdir()
    entry = json.loads(file.read_text())
    store_cached("autotune", entry["question"], {**entry["answer"], **poison})

    with caplog.at_level(logging.WARNING, "equipot"):
        choice = choose_backend(PROBLEM)

    assert choice.backend == "fast"
    assert not choice.remembered
    assert "measuring again" in caplog.text
    assert choose_backend(PROBLEM).remembered


@pytest.mark.parametrize("limits", [{"nodes": 64}, {"edges": 5_000}, {"edges": 20_000}])
def test_a_backend_that_is_wrong_at_large_size_is_left_out(install, limits, many_edges):
    install(large=type("Large", (WrongWhere,), limits))

    with pytest.warns(BackendExcludedWarning, match=r"of \d+ edges differ from"):
        choice = choose_backend(PROBLEM)

    assert choice.backend == "clebsch_gordan"


def test_the_large_comparison_is_limited_by_memory_and_exceeds_a_block(many_edges):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")

    assert trial.large_edges(100, cpu) == trial.large_edges(100, cuda) == 2**15
    numbers = 2**12 * trial.large_edges(2**12, cpu)
    assert numbers == trial.MAX_RADIAL_WEIGHTS_CPU
    assert numbers * torch.float32.itemsize >= 4 * BLOCK_BYTES


def test_waiting_does_not_count_where_one_thread_computes(monkeypatch):
    """A product that sleeps as long as another process would take the processor."""
    if torch.get_num_threads() > 1:
        pytest.skip("PyTorch has several threads here")
    products = {spec: Sleeping(spec) for spec in PROBLEM.specs}
    inputs = trial.random_inputs(PROBLEM)
    start = time.perf_counter()

    taken = trial.seconds(products, PROBLEM, inputs)

    waited = sum(product.waited for product in products.values())
    assert waited > 0.1
    assert taken <= time.perf_counter() - start - waited


class Sleeping(Wrapped):
    """The reference, after a while."""

    waited = 0.0

    def spoil(self, messages):
        time.sleep(0.06)
        self.waited += 0.06
        return messages
