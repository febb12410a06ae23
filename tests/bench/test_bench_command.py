"""`equipot bench tensor-products`: tables and JSON hold what was measured."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from equipot.bench import tensor_products as command_module
from equipot.bench.measure import Settings, measure
from equipot.bench.table import table_of
from equipot.bench.tensor_products import coupling_names, tables
from equipot.cli.main import app
from equipot.tensor_products import BACKENDS, ClebschGordan, Path, TensorProduct

TINY = Settings((1, 2), (2,), 8, torch.float32, seconds=0.0)
COUPLINGS = (Path(0, 0, 0), Path(1, 1, 0), Path(1, 1, 1))


def test_long_lists_of_couplings_are_cut_and_counted():
    assert coupling_names(COUPLINGS, 2) == "0x0→0, 1x1→0, and 1 more"
    assert coupling_names((), 2) == "none"


def test_a_table_has_a_column_for_every_key():
    rows = [{"name": "a", "x": 1.23456}, {"name": "a", "y": 2}, {"name": "b", "x": 1.0}]

    cells = [list(column.cells) for column in table_of("title", rows).columns]

    assert cells == [["a", "", "b"], ["1.23", "–", "1"], ["–", "2", "–"]]


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
def test_a_wrong_coupling_shows_in_the_errors():
    found = measure(replace(TINY, lmax=(1,)))

    right, wrong = (c for c in found.costs if c.family == "CG")
    assert right.coupling_error < 1e-14
    assert 1e-4 < wrong.coupling_error < 1e-2
    assert 1e-4 < wrong.error < 1e-2


@pytest.mark.usefixtures("few_backends")
def test_tables_have_a_row_for_every_measurement():
    found = measure(TINY)

    functions, costs, exponents = (rows for _, rows in tables(TINY, found))

    assert len(functions) == len(found.functions) == 2 * 5
    assert functions[5]["possible"] == "11 of 15"
    assert len(costs) == len(found.costs) == 2 * (5 + 3)
    assert [row["lmax"] for row in costs[:4]] == [1, 2, 1, 2]
    assert all(row["double backward"] > 0 for row in costs)
    assert exponents[0]["asymptotic"] == 5


@pytest.mark.usefixtures("few_backends")
def test_the_command_prints_and_writes_what_it_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        command_module, "measure", lambda settings, progress: measure(TINY, progress)
    )
    file = tmp_path / "bench.json"
    command = ["bench", "tensor-products", "--json", str(file), "--threads", "1"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert "11 of 15" in done.output
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["environment"]["threads"] == 1
    assert written["functions"][5]["expressivity"]["ranks"] == [11]
    costs = [c for c in written["costs"] if c["backend"] == "clebsch_gordan"]
    assert {c["lmax"] for c in costs} == {1, 2}
    assert all(c["times"]["forward"]["median"] > 0 for c in costs)


def test_lmax_is_one_to_six():
    done = CliRunner().invoke(app, ["bench", "tensor-products", "--lmax", "7"])

    assert done.exit_code == 2
