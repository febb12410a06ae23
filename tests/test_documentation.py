"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from equipot.cli.main import app
from equipot.config.md import MDConfig
from equipot.config.train import TrainConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*.md")])
GUIDE = ROOT / "docs" / "guide.md"


def schema_of(tree):
    return MDConfig if "ensemble" in tree else TrainConfig


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_exist(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = re.findall(r"\]\(([^)#]+)\)", prose)

    local = [t for t in targets if not t.startswith("http")]

    assert [t for t in local if not (page.parent / t).exists()] == []


def test_configurations_of_the_guide_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)

    assert len(blocks) == 2
    for block in blocks:
        tree = yaml.safe_load(block)
        schema_of(tree).model_validate(tree)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda p: p.name
)
def test_presets_are_valid_start_with_their_command_and_are_in_the_guide(path):
    text = path.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    command = "equipot md" if schema_of(tree) is MDConfig else "train-potential"

    schema_of(tree).model_validate(tree)

    assert text.startswith(f"# {command} configs/{path.name}")
    assert f"](../configs/{path.name})" in GUIDE.read_text(encoding="utf-8")


def test_the_data_of_the_guide_pass_the_check(tmp_path):
    (example,) = re.findall(
        r"```\n(3\n.*?)```", GUIDE.read_text(encoding="utf-8"), re.S
    )
    (tmp_path / "train.xyz").write_text(example, encoding="utf-8")

    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "train.xyz")])

    assert "1 structure + 2 isolated atoms" in result.output
    assert result.exit_code == 0, result.output
