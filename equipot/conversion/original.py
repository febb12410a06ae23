"""Predictions of the original package, in a process of its own.

The original unpickles its file, which runs whatever the file says. That is why it is
never imported here, and why comparing with it is an option.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from equipot.conversion.converted import Original
from equipot.conversion.errors import ConversionError
from equipot.data.labels import Labels
from equipot.data.samples import sample_to_json
from equipot.data.structure import Structure

NOT_INSTALLED = 3
"""Exit status where the package is not installed."""
LAST_LINES = 3
"""Lines of its error messages that are shown."""
RUNNER = """
import importlib, json, sys

request = json.load(sys.stdin)
try:
    package = importlib.import_module(request["module"])
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit({not_installed})
{script}
from ase import Atoms

found = calculator(request["path"], request["head"], request["dtype"])
results = []
for item in request["structures"]:
    atoms = Atoms(
        item["numbers"], item["positions"], cell=item["cell"], pbc=item["pbc"]
    )
    atoms.calc = found
    result = {{
        "energy": float(atoms.get_potential_energy()),
        "forces": [[float(x) for x in row] for row in atoms.get_forces()],
    }}
    if atoms.pbc.all() and "stress" in found.implemented_properties:
        stress = atoms.get_stress(voigt=False)
        result["stress"] = [[float(x) for x in row] for row in stress]
    results.append(result)
answer = {{"version": str(getattr(package, "__version__", "")), "results": results}}
with open(request["output"], "w") as file:
    json.dump(answer, file)
"""
"""Program of the process; numbers go both ways as JSON, which keeps every bit."""


def predict_with_original(
    original: Original,
    path: Path,
    structures: Sequence[Structure],
    *,
    head: str | None,
    dtype: str,
    python: Path | None = None,
) -> tuple[list[Structure], str]:
    """Structures with what the original package predicts as labels.

    Args:
        original: Package.
        path: File of the package.
        structures: Their own labels are replaced.
        head: Of the original, if it has several.
        dtype: That the original computes in.
        python: Interpreter in which the package is installed; this one by default.

    Returns:
        Structures with labels, and the version of the package.

    Raises:
        ConversionError: If the package is not installed, or fails.
    """
    program = RUNNER.format(not_installed=NOT_INSTALLED, script=original.script)
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        request = {
            "module": original.module,
            "path": str(path.absolute()),
            "head": head,
            "dtype": dtype,
            "structures": [sample_to_json(s.atoms) for s in structures],
            "output": str(answer),
        }
        done = subprocess.run(
            [str(python or sys.executable), "-c", program],
            input=json.dumps(request),
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode == NOT_INSTALLED:
            raise ConversionError(
                f"--check needs the package {original.module}: {original.install}, or "
                "name a Python that has it with --python; predictions of it that are "
                "labels of a file are compared with --check-labels"
            )
        if done.returncode or not answer.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise ConversionError(
                f"the original package failed: {' | '.join(lines[-LAST_LINES:])[:500]}"
            )
        found = json.loads(answer.read_text(encoding="utf-8"))
    labeled = [
        replace(structure, labels=_labels(result))
        for structure, result in zip(structures, found["results"], strict=True)
    ]
    return labeled, str(found["version"])


def _labels(result: dict[str, Any]) -> Labels:
    def tensor(values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    nothing = [[float("nan")] * 3] * 3
    return Labels(
        tensor([result["energy"]]),
        tensor(result["forces"]).reshape(-1, 3),
        tensor([result.get("stress", nothing)]),
    )
