"""The learning-rate finder."""

import math

import pytest
import yaml
from typer.testing import CliRunner

from equipot.cli.train import app
from equipot.training import lr_finder
from equipot.training.lr_finder import RateTrial, suggested_rate


def test_the_command_compares_rates_and_writes_nothing(
    config_tree, tmp_path, monkeypatch
):
    monkeypatch.setattr(lr_finder, "STEPS", 12)
    monkeypatch.setattr(lr_finder, "RATES", (1e-5, 1e-2))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(config_tree))

    result = CliRunner().invoke(app, [str(config), "--find-lr"])

    assert result.exit_code == 0, result.output
    assert "suggested: --set training.optimizer.lr=" in result.output
    assert "1e-05" in result.output
    assert "0.01" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_for_nothing_is_refused(config_tree, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(config_tree))

    result = CliRunner().invoke(app, [str(config), "--find-lr", "--resume"])

    assert result.exit_code != 0
    assert "--find-lr writes nothing" in result.output


def test_the_lowest_of_the_good_rates_is_suggested():
    trials = [RateTrial(1e-3, 2.0), RateTrial(1e-2, 1.2), RateTrial(2e-2, 1.0)]
    diverged = RateTrial(1e-1, math.inf)

    assert suggested_rate([*trials, diverged]) == 1e-2
    with pytest.raises(ValueError, match="not finite with any"):
        suggested_rate([diverged])
