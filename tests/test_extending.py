"""The programs of docs/extending.md run, and each is short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
SECTIONS = re.findall(
    r"^## (.*?)\n.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S | re.M
)


@pytest.mark.parametrize(("title", "program"), SECTIONS, ids=[t for t, _ in SECTIONS])
def test_programs_of_the_page_run(title, program, tmp_path):
    pytest.importorskip("torch_geometric")
    # torch_geometric uses what torch has deprecated
    warnings = ["-W", "error", "-W", "ignore:`torch.jit.script`"]
    command = [sys.executable, *warnings, "-c", program]

    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert len(program.splitlines()) < 100


def test_the_page_has_a_program_for_every_kind_of_extension():
    assert [title for title, _ in SECTIONS] == [
        "An architecture",
        "An SO(2) convolution",
        "A tensor-product backend",
        "A radial basis",
        "A head",
        "Parts in a notebook",
    ]
