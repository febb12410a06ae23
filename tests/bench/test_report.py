"""Tables and conclusions: they say what the numbers say."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from equipot.bench import run as run_module
from equipot.bench.conclusions import conclusions
from equipot.bench.console import names_of
from equipot.bench.expressivity import Expressivity
from equipot.bench.measure import Ability, Cost, Result, Settings, measure
from equipot.bench.operations import Operations
from equipot.bench.record import to_json
from equipot.bench.steps import STEPS
from equipot.bench.timing import Timing
from equipot.cli.main import app
from equipot.tensor_products import BACKENDS, ClebschGordan, Path, TensorProduct

TINY = Settings((1, 2), (2,), 8, torch.float32, seconds=0.0)
EVEN = (Path(0, 0, 0), Path(1, 1, 0))
ODD = (Path(1, 1, 1),)


def ability(family, backends, interacting, ranks, lmax=2):
    impossible = tuple(p for p in (*EVEN, *ODD) if p not in interacting)
    found = Expressivity(interacting, impossible, ranks)
    return Ability(family, backends, lmax, 1e-16, 1e-16, found)


def cost(family, backend, time, count, lmax=2, exponent=5):
    times = {step: Timing(time, time, time, 3) for step in STEPS}
    memory = dict.fromkeys(STEPS, 100)
    work = Operations(count, exponent)
    return Cost(family, backend, lmax, 2, 0.0, 1e-7, work, 0.0, 40.0, times, memory)


def result(abilities, costs):
    return Result(TINY, tuple(abilities), tuple(costs), {})


ABILITIES = (
    ability("CG", ("clebsch_gordan", "so2"), EVEN, (2,)),
    ability("Gaunt", ("clebsch_gordan", "spherical_grid"), EVEN, (1, 2)),
)
COSTS = tuple(
    cost(family, backend, time * lmax**power, count * lmax**power, lmax, exponent)
    for lmax in (1, 2)
    for family, backend, time, power, count, exponent in (
        ("CG", "clebsch_gordan", 8.0, 1, 30, 5),
        ("CG", "so2", 6.0, 2, 20, 3),
        ("Gaunt", "clebsch_gordan", 6.0, 1, 30, 5),
        ("Gaunt", "spherical_grid", 1.0, 2, 25, 4),
    )
)


def test_backends_of_equal_coefficients_are_called_equal():
    sentences = conclusions(result(ABILITIES, COSTS))

    assert sentences[0].startswith("CG: clebsch_gordan = so2 to lmax 2;")
    assert sentences[1].startswith("Gaunt: clebsch_gordan = spherical_grid to lmax 2;")


def test_backends_of_other_coefficients_are_said_to_disagree():
    abilities = (
        ability("CG", ("clebsch_gordan",), EVEN, (2,)),
        ability("CG", ("so2",), EVEN, (2,)),
        ABILITIES[1],
    )

    sentences = conclusions(result(abilities, COSTS))

    assert sentences[0] == "CG: backends DISAGREE, clebsch_gordan is not so2."


def test_equal_spans_are_found_and_missing_couplings_are_counted():
    more = ability("CG, SO(3)", ("clebsch_gordan",), (*EVEN, *ODD), (3,))
    less = ability("less", (), EVEN[:1], (1,))
    text = "\n".join(conclusions(result((*ABILITIES, more, less), COSTS)))

    assert (
        "Gaunt, lmax 2: 2 of 3 couplings can occur, 1 of them independently with one "
        "channel and 2 with 2 mixed ones, which makes the same maps as CG." in text
    )
    assert "independently with one channel, which makes all of CG and 1 more." in text
    assert "independently with one channel, which leaves out 1 of CG." in text


def test_speed_is_set_against_expressivity():
    text = "\n".join(conclusions(result(ABILITIES, COSTS)))

    # 4 against 16 in time, 1 against 2 couplings
    assert "(spherical_grid, clebsch_gordan): 4x faster for 1 instead of 2" in text
    assert "independent couplings, 2x faster per coupling." in text


def test_a_slower_product_is_called_slower():
    slow = [replace(c, times=COSTS[1].times) if c.family == "CG" else c for c in COSTS]
    fast = [c for c in slow if c.backend != "spherical_grid"]

    text = "\n".join(conclusions(result(ABILITIES, fast)))

    assert "2x slower for 1 instead of 2 independent couplings, 4x slower per" in text


def test_theory_is_compared_with_practice():
    text = "\n".join(conclusions(result(ABILITIES, COSTS)))

    assert (
        "CG, 2 channels: in the limit lmax^3 is best (so2), at lmax 2 clebsch_gordan "
        "has the fewest operations, and clebsch_gordan is fastest, growing as lmax^1.0 "
        "where its operations grow as lmax^1.0 and in the limit as lmax^5: theory does "
        "not tell the winner." in text
    )
    assert "spherical_grid is fastest" in text


def test_long_lists_of_couplings_are_cut_and_counted():
    assert names_of((*EVEN, *ODD), 2) == "0x0→0, 1x1→0, and 1 more"
    assert names_of(()) == "none"


class WrongCoupling(TensorProduct):
    """The reference with one coupling too large."""

    def __init__(self, spec):
        super().__init__(spec)
        self.right = ClebschGordan(spec)

    @staticmethod
    def unsupported(spec):
        return None if spec.weighting == "per_path" else "not tried"

    def prepare(self, directions, connectivity):
        return self.right.prepare(directions, connectivity)

    def forward(self, x, edges, weights):
        wrong = weights.clone()
        wrong[:, 0] *= 1.001
        return self.right(x, edges, wrong)


@pytest.fixture
def few_backends(monkeypatch):
    """The reference and a wrong backend, so that a measurement takes a second."""
    for name in list(BACKENDS):
        if name != "clebsch_gordan":
            monkeypatch.delitem(BACKENDS, name)
    monkeypatch.setitem(BACKENDS, "wrong", WrongCoupling)


@pytest.mark.usefixtures("few_backends")
def test_a_wrong_coupling_shows_in_equivalence_and_in_the_error():
    found = measure(replace(TINY, lmax=(1,)))

    (wrong,) = [c for c in found.costs if (c.family, c.backend) == ("CG", "wrong")]
    assert 1e-4 < wrong.error < 1e-2
    sentences = conclusions(found)
    assert "CG: backends DISAGREE, clebsch_gordan is not wrong." in sentences


@pytest.mark.usefixtures("few_backends")
def test_the_command_prints_and_writes_what_it_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        run_module, "measure", lambda settings, progress: measure(TINY, progress)
    )
    command = ["bench", "tensor-products", "--output", str(tmp_path), "--threads", "1"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert "11 of 15" in done.output
    assert "matrix product" in done.output
    written = json.loads((tmp_path / run_module.JSON).read_text(encoding="utf-8"))
    assert written["about"]["Threads"] == "1"
    costs = [c for c in written["costs"] if c["backend"] == "clebsch_gordan"]
    assert {c["lmax"] for c in costs} == {1, 2}
    assert all(c["times"]["forward"]["median"] > 0 for c in costs)
    assert written["conclusions"]


def test_json_has_no_numbers_that_json_lacks():
    document = to_json(result(ABILITIES, COSTS), {})

    read = json.loads(json.dumps(document, allow_nan=False))

    assert read["abilities"][1]["expressivity"]["ranks"] == [1, 2]
    assert read["costs"][1]["operations"] == {"count": 20, "exponent": 3}


def test_measuring_needs_a_lmax_of_one_to_six():
    done = CliRunner().invoke(app, ["bench", "tensor-products", "--lmax", "7"])

    assert done.exit_code == 2
