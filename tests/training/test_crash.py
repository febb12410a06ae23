"""The command is killed again and again, and must come to the same end."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equipot.checkpoint.file import read_header
from equipot.storage.tensor_file import read_tensor_file
from equipot.training.state import KIND

EPOCHS = 12
PATIENCE = 60.0


@pytest.fixture
def start(tmp_path, write_config, config_tree):
    """Starts the command in a process of its own."""
    config_tree["training"] |= {"epochs": EPOCHS, "checkpoint_steps": 4}
    config = write_config()

    def run(name, *options):
        command = [sys.executable, "-c", "from equipot.cli.train import app; app()"]
        command += [str(config), "--output", str(tmp_path / name), *options]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )

    return run


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def step_of(run):
    """Steps in the newest state; nobody may be writing it."""
    header, _ = read_tensor_file(run / "state.safetensors", KIND)
    return header["record"]["position"]["step"]


def stop_after(process, run, epochs, number):
    """Send a signal some time after an epoch was logged; what was printed."""
    deadline = time.monotonic() + PATIENCE
    while logged_epochs(run) < epochs and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.001)
    time.sleep(random.Random(epochs).uniform(0, 0.1))
    process.send_signal(number)
    return process.communicate(timeout=PATIENCE)[0]


def logged_epochs(run):
    """Rows that are in the table already; before it exists, none."""
    table = run / "metrics.csv"
    return table.read_text().count("\n") - 1 if table.exists() else -1


def rows_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in csv.DictReader(file)
        ]


def points_of(run):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(p.step, p.value) for p in events.Scalars("valid/loss")]


def assert_same_end(run, reference):
    _, tensors = read_tensor_file(run / "state.safetensors", KIND)
    _, expected = read_tensor_file(reference / "state.safetensors", KIND)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.equal(expected[name]), name
    for file in ("model.safetensors", "last.safetensors"):
        assert (
            read_header(run / file)["sha256"] == read_header(reference / file)["sha256"]
        )
    assert rows_of(run) == rows_of(reference)
    assert points_of(run) == points_of(reference)


@pytest.mark.slow
def test_kills_signals_and_a_torn_state_do_not_change_the_end(start, tmp_path):
    run, reference = tmp_path / "stopped", tmp_path / "through"
    finish(start("through"))

    stop_after(start("stopped"), run, 2, signal.SIGKILL)
    first = step_of(run)
    process = start("stopped", "--resume")
    polite = stop_after(process, run, 5, signal.SIGTERM)
    second = step_of(run)
    stop_after(start("stopped", "--resume"), run, 8, signal.SIGKILL)
    newest = run / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    output = finish(start("stopped", "--resume"))

    assert 0 < first < second < 6 * EPOCHS
    assert process.returncode == 130
    assert f"interrupted at step {second}" in polite
    assert "continue with --resume" in polite
    assert "using the previous checkpoint" in output
    assert len(rows_of(run)) == EPOCHS
    assert_same_end(run, reference)
