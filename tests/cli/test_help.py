"""The command line starts at once because it imports nothing heavy."""

import subprocess
import sys

import pytest

from equipot.cli.main import app

HEAVY = ["torch", "ase", "matplotlib", "scipy", "e3nn", "numpy"]


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["equipot", "equipot.cli.main", "equipot.cli.train"])
def test_starting_imports_nothing_heavy(module):
    modules = _modules_after(f"import {module}")

    assert modules.isdisjoint(HEAVY)


def test_every_command_has_a_summary():
    for command in app.registered_commands:
        assert (command.callback.__doc__ or "").strip()
