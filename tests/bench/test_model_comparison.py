"""`equipot bench models`: calculators in processes of their own."""

import ast
import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from typer.testing import CliRunner

from equipot.bench import model_worker
from equipot.bench.calculator_spec import (
    check_labels,
    equipot_calculator,
    foreign_calculator,
)
from equipot.bench.workloads import workload
from equipot.cli.main import app

STUB = """
import os

from ase.calculators.lj import LennardJones


class Logged(LennardJones):
    def __init__(self, log, mark, most=100, dies=False, **parameters):
        super().__init__(sigma=2.0, **parameters)
        self.log, self.mark, self.most, self.dies = log, mark, most, dies

    def calculate(self, atoms=None, properties=(), system_changes=()):
        if len(atoms) > self.most:
            if self.dies:
                print("the last words")
                os._exit(3)
            raise ValueError("too many atoms")
        with open(self.log, "a") as file:
            file.write(self.mark + "\\n")
        super().calculate(atoms, properties, system_changes)
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Runs the command with calculators of a module outside of the package."""
    (tmp_path / "stub.py").write_text(STUB, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    log = tmp_path / "log"

    def run(*calculators, options=()):
        arguments = ["bench", "models", "--threads", "1", "--rounds", "3"]
        for name, text in calculators:
            factory = f"stub:Logged,path={tmp_path},log={log},label={name},mark={name}"
            arguments += ["--against", f"{factory}{text}"]
        done = CliRunner().invoke(app, [*arguments, "--seconds", "0.01", *options])
        names = log.read_text(encoding="utf-8").split() if log.exists() else []
        return done, [name for name, _ in groupby(names)]

    return run


def test_calculators_take_turns_and_failures_do_not_end_the_comparison(bench, tmp_path):
    files = [tmp_path / "out" / "a.json", tmp_path / "out" / "a.svg"]

    done, turns = bench(
        ("a", ",epsilon=1.0"),
        ("b", ",epsilon=2.0,most=20"),
        options=[
            *("-s", "silicon-2", "-s", "silicon-1"),
            *("--json", str(files[0]), "--plot", str(files[1])),
        ],
    )

    assert done.exit_code == 0, done.output
    assert turns[:8] == ["a", "b"] * 4  # the first calls, and three rounds
    assert set(turns[8:]) == {"a"}
    assert "silicon-2: b: ValueError: too many atoms" in done.output
    text = files[0].read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    found = json.loads(text)
    small, other, large = found["costs"]
    assert [small["calculator"], other["calculator"]] == ["a", "b"]
    assert large["num_atoms"] == 64
    assert small["relative"]["median"] == 1
    assert small["max_force_difference"] == 0 < other["max_force_difference"]
    assert 0 < small["cpu"]["low"] <= small["cpu"]["median"]
    assert 0 < small["loaded_bytes"] <= small["peak_bytes"]
    assert "numpy" in found["calculators"][1]["packages"]
    assert files[1].read_text(encoding="utf-8").count("silicon-2") == 1


def test_a_process_that_ends_is_reported_with_its_last_lines(bench):
    done, _ = bench(("a", ",most=0,dies=true"), options=["-s", "silicon-1"])

    assert done.exit_code == 1
    assert "the process ended (exit status 3); its last lines:" in done.output
    assert "the last words" in done.output


def test_steps_of_dynamics_start_from_the_same_state_in_every_sample():
    worker = model_worker.Worker()
    worker.build("ase.calculators.lj", "LennardJones", {"sigma": 2.0}, [], 1)
    atoms = workload("silicon-1")
    structure = {"numbers": atoms.numbers, "positions": atoms.positions.copy()}

    worker.load({**structure, "info": {}}, ["md"])
    found = worker.sample(0.0)

    assert len(found["wall"]) == 1
    assert not np.allclose(worker.call.atoms.positions, atoms.positions, atol=1e-6)
    worker.call.reset()
    assert np.array_equal(worker.call.atoms.positions, atoms.positions)
    with pytest.raises(TypeError, match="LennardJones has no method get_hessian"):
        worker.load({**structure, "info": {}}, ["hessian"])


def test_the_worker_needs_the_standard_library_numpy_and_ase_only():
    tree = ast.parse(Path(model_worker.__file__).read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }

    assert imported - set(sys.stdlib_module_names) == {"numpy", "ase"}


def test_options_of_calculators_are_split_from_arguments_of_the_factory(tmp_path):
    text = "pkg.mod:make,model=medium,layers=2,fast=true,tol=1e-3,label=fast"

    found = foreign_calculator(f"{text},path={tmp_path},python={sys.executable}")

    assert (found.module, found.factory, found.label) == ("pkg.mod", "make", "fast")
    expected = {"model": "medium", "layers": 2, "fast": True, "tol": 1e-3}
    assert found.arguments == expected
    assert (found.path, found.python) == ((str(tmp_path),), sys.executable)
    model = equipot_calculator("runs/a,dtype=float64", [Path("/m.safetensors")])
    assert (model.label, model.arguments["dtype"]) == ("a", "float64")
    with pytest.raises(ValueError, match="append ,label=NAME"):
        check_labels([model, model])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mace", "expected MODULE:FACTORY"),
        ("a:b,c", "expected KEY=VALUE"),
        ("a:b,c=1,c=2", "given twice"),
        ("a:b,python=/no/python", "no Python interpreter"),
        ("a:b,path=/no/folder", "no folder"),
    ],
)
def test_a_calculator_in_another_form_is_an_error(text, told):
    with pytest.raises(ValueError, match=told):
        foreign_calculator(text)


@pytest.mark.parametrize(
    ("name", "atoms", "neighbors"),
    [
        ("molecule", 27, 1.93),
        ("water", 192, 4 / 3),
        ("silicon-2", 64, 4),
        ("silicon-5", 1000, 4),
    ],
)
def test_workloads_have_chemical_bonds_and_no_contacts(name, atoms, neighbors):
    found = workload(name)

    assert len(found) == atoms
    radii = covalent_radii[found.numbers]
    i, j, distances = neighbor_list("ijd", found, 3.0)
    relative = distances / (radii[i] + radii[j])
    assert relative.min() > 0.8
    assert (relative < 1.2).sum() / atoms == pytest.approx(neighbors, abs=0.01)
