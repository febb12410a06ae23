"""ml-peg's physicality tests, by its own commands and with its own scores.

It runs in processes of its own, and nothing here imports it.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from ase.data import chemical_symbols

from equipot.checkpoint.file import load_potential
from judges.verdict import Verdict

JUDGE = f"ml-peg {version('ml-peg')}"
CHECKS: dict[str, list[str]] = {
    "translational_symmetry": [],
    "rotational_symmetry": [],
    "jacobian_symmetry": [],
    "locality": [],
    "extensivity": [],
    "diatomics": ["--run-slow"],
    "compression": ["--run-very-slow"],
}
"""All tests of `physicality` that need no external data, with flags."""
CURVES = ("diatomics", "compression")
"""Threshold of tests that depend on the training data and extend far below all training
distances: the score must be better than ml-peg's "bad"."""
LEAST_SCORE = 0.95
"""Threshold of the other tests, independent of the training data; 1 is "good" in
ml-peg."""
OURS, TEACHER = "equipot", "teacher"
SCRIPTS = Path(__file__).parents[1]


def judge(path: Path) -> list[Verdict]:
    """Verdicts on a model trained on `judges.teachers.MorsePairs`."""
    elements = [chemical_symbols[z] for z in load_potential(path).elements]
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models.yml"
        models.write_text(yaml.safe_dump(_models(path.resolve())))
        for check, flags in CHECKS.items():
            verdicts += _judged(check, flags, models, elements)
    return verdicts


def _models(path: Path) -> dict[str, Any]:
    """Registry entries of ml-peg for the model and its reference potential."""
    common = {
        "module": "judges.ml_peg_calculators",
        "device": None,
        "trained_on_dispersion": True,  # so that none is added
    }
    return {
        OURS: common | {"class_name": "ours", "kwargs": {"model": str(path)}},
        TEACHER: common | {"class_name": "teacher"},
    }


def _judged(
    check: str, flags: list[str], models: Path, elements: list[str]
) -> list[Verdict]:
    start = time.perf_counter()
    package = Path(find_spec("ml_peg").submodule_search_locations[0])
    for table in _tables(package, check):
        table.unlink()  # of an earlier run
    common = ["--category", "physicality", "--test", check]
    common += ["--models-file", str(models)]
    # The exit status of these commands does not depend on test results.
    for command in (["calc", *common, "--no-verbose", *flags], ["analyse", *common]):
        output = _run(command, package, elements)
        if " passed" not in output or " failed" in output or " error" in output:
            return [_failure(check, output, time.perf_counter() - start)]
    seconds = time.perf_counter() - start
    (table,) = _tables(package, check)
    content = json.loads(table.read_text())
    rows = {row["MLIP"]: row for row in content["data"]}
    ours, teacher = rows[OURS], rows[TEACHER]
    return [
        _verdict(check, name, limits, ours[name], teacher[name], seconds)
        for name, limits in content["thresholds"].items()
    ]


def _run(arguments: list[str], package: Path, elements: list[str]) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(SCRIPTS),
        "JUDGED_ELEMENTS": " ".join(elements),
        # Its tests lie inside of this repository, whose settings are not theirs.
        "PYTEST_ADDOPTS": f"-c {os.devnull} --rootdir {package} -p no:cacheprovider "
        "-p judges.few_structures",
    }
    program = Path(sys.executable).with_name("ml_peg")
    done = subprocess.run(
        [program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _tables(package: Path, check: str) -> list[Path]:
    return sorted((package / "app/data/physicality" / check).glob("*_table.json"))


def _failure(check: str, output: str, seconds: float) -> Verdict:
    print(output, flush=True)
    return Verdict(JUDGE, check, "failed", "a table", "it runs", False, seconds)


def _verdict(
    check: str,
    name: str,
    limits: dict[str, Any],
    ours: float | None,
    teacher: float | None,
    seconds: float,
) -> Verdict:
    unit = limits.get("unit") or ""
    score = _score(ours, limits)
    curve = check in CURVES
    return Verdict(
        JUDGE,
        f"{check}: {name} {unit if unit != '-' else ''}".strip(),
        "none" if ours is None else ours,
        "none" if teacher is None else teacher,
        f"score > 0: {score:.3f}" if curve else f"score >= {LEAST_SCORE}: {score:.3f}",
        score > 0 if curve else score >= LEAST_SCORE,
        seconds,
    )


def _score(value: float | None, limits: dict[str, Any]) -> float:
    """Score of ml-peg: 1 is good, 0 is bad or missing."""
    if value is None or not math.isfinite(value):
        return 0.0
    share = (value - limits["bad"]) / (limits["good"] - limits["bad"])
    return min(max(share, 0.0), 1.0)
