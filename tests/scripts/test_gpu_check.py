"""The check on a GPU, as far as it runs without one."""

import gpu_check
import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(monkeypatch):
    with pytest.raises(SystemExit, match=r"built without CUDA|finds no GPU"):
        gpu_check.main([])

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(SystemExit, match=r"for CUDA 13\.0 but finds no GPU"):
        gpu_check.main([])


def test_it_builds_then_tests_then_measures(monkeypatch, capsys):
    """And stops at the first step that fails."""
    monkeypatch.setattr(gpu_check, "require_gpu", lambda: None)
    commands = []

    class Done:
        returncode = 0

    def run(command, **_):
        commands.append(command)
        Done.returncode = 3 if "pytest" in command and fails else 0
        return Done

    monkeypatch.setattr(gpu_check.subprocess, "run", run)
    fails = False
    assert gpu_check.main(["--rounds", "3"]) == 0
    assert [command[1] for command in commands] == [
        "cuda_ext/build.py",
        "-m",
        "-m",
    ]
    assert commands[-1][2:5] == ["benchmarks.tensor_products", "--device", "cuda"]
    assert commands[-1][-2:] == ["--rounds", "3"]

    fails = True
    assert gpu_check.main([]) == 3
    assert len(commands) == 5
    assert "test failed with status 3" in capsys.readouterr().err
