"""`equipot plan`: extrapolation from small systems."""

import json
from contextlib import nullcontext
from itertools import islice, pairwise

import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from equipot.bench import planning
from equipot.bench.model_comparison import CallCost
from equipot.bench.plan import Plan, Sample, measure_samples
from equipot.bench.similar_structures import half, num_edges, similar_structures
from equipot.bench.timing import Timing
from equipot.bench.workloads import workload
from equipot.checkpoint.file import save_potential
from equipot.cli.main import app
from equipot.config.model import parse_model
from tests.potentials import random_potential, statistics_of

CUTOFF = 5.0


def sample(atoms, seconds=None):
    """On the lines 2 ms + 10 µs/edge and 400 MB + 1 kB/edge by default."""
    edges = 28 * atoms
    peak = 400_000_000 + 1000 * edges
    return Sample(atoms, edges, seconds or 2e-3 + 1e-5 * edges, 0.01, peak)


def cost(atoms):
    """The same as the result of a measurement."""
    expected = sample(len(atoms))
    wall = Timing(expected.seconds, expected.seconds, expected.seconds, 5)
    one = Timing(1.0, 1.0, 1.0, 5)
    memory = (4 * 10**8, expected.peak_bytes)
    return CallCost(
        "", "", len(atoms), wall, one, one, one, (), 0.0, 0.0, *memory, None
    )


def test_lines_are_extrapolated_exactly():
    plan = Plan(tuple(map(sample, (64, 128, 256, 512))), 28.0)

    found = plan.forecast(4096)

    expected = sample(4096)
    assert found.seconds == pytest.approx(expected.seconds)
    assert found.peak_bytes == pytest.approx(expected.peak_bytes)
    assert found.seconds_error == 0.01  # the spread
    assert found.peak_error == pytest.approx(0, abs=1e-12)
    days = found.nanoseconds_per_day(timestep=0.5)
    assert days == pytest.approx(86400 * 0.5e-6 / expected.seconds)
    assert plan.atoms_that_fit(int(4e8 + 28e6)) == pytest.approx(1000, abs=1)


def test_a_largest_system_beside_the_line_shows_as_an_error():
    samples = [*map(sample, (64, 128, 256)), sample(512, seconds=0.3)]

    found = Plan(tuple(samples), 28.0).forecast(4096)

    assert found.seconds > sample(4096).seconds
    without = sample(4096).seconds
    assert found.seconds_error == pytest.approx(1 - without / found.seconds)


def test_measured_sizes_are_interpolated():
    plan = Plan(tuple(map(sample, (64, 128, 256, 512))), 28.0)

    assert plan.forecast(128).seconds == pytest.approx(sample(128).seconds)
    assert plan.atoms_that_fit(0) == 0


def test_memory_ends_the_measurements():
    systems = similar_structures(bulk("Si"), CUTOFF)

    found = measure_samples(
        systems, cost, lambda a: 28 * len(a), available=int(1.2e9), seconds=1e9
    )

    sizes = [s.num_atoms for s in found]
    assert sizes == [64 * 2**n for n in range(len(sizes))]
    largest = 28e3 * sizes[-1]
    assert largest < 0.2e9 < 2.5 * largest  # half of 1.2 GB, less 400 MB


@pytest.mark.parametrize("name", ["molecule", "silicon-4", "water-2"])
def test_smaller_and_larger_structures_have_similar_neighborhoods(name):
    atoms = workload(name)

    sizes = list(islice(similar_structures(atoms, CUTOFF), 6))

    assert any(len(size) == len(atoms) for size in sizes)
    density = num_edges(atoms, CUTOFF) / len(atoms)
    for small, large in pairwise(sizes):
        assert 1.9 * len(small) < len(large) < 2.2 * len(small)
        assert num_edges(large, CUTOFF) / len(large) == pytest.approx(density, rel=0.05)


def test_a_cut_leaves_no_atoms_on_top_of_each_other():
    atoms = bulk("Cu", cubic=True).repeat((3, 1, 1))  # 1.5 cells remain

    part = half(atoms, CUTOFF)

    assert part.cell.lengths()[0] == pytest.approx(atoms.cell.lengths()[0] / 2)
    assert len(part) > 0
    assert num_edges(part, 2.5) == 0  # as in the crystal


def test_the_command_prints_and_writes_forecasts(tmp_path, monkeypatch):
    settings = {"cutoff": CUTOFF, "channels": 4, "lmax": 0, "num_layers": 1}
    potential = random_potential((14,), readout_hidden=None, **settings)
    config = parse_model(settings | {"readout_hidden": None, "dtype": "float64"})
    model = tmp_path / "model.safetensors"
    save_potential(model, potential, config, statistics_of((14,), CUTOFF))
    write(tmp_path / "si.xyz", bulk("Si"))
    monkeypatch.setattr(
        planning, "calculator_processes", lambda *_: nullcontext([None])
    )
    monkeypatch.setattr(planning, "built", lambda *_: {})
    monkeypatch.setattr(planning, "_cost", lambda _, system: cost(system))
    command = ["plan", str(model), str(tmp_path / "si.xyz"), "--seconds", "0"]

    done = CliRunner().invoke(
        app, [*command, "--atoms", "4096", "--json", str(tmp_path / "plan.json")]
    )

    assert done.exit_code == 0, done.output
    assert "4 systems of 64 to 512 atoms" in " ".join(done.output.split())
    (found,) = json.loads((tmp_path / "plan.json").read_bytes())["forecasts"]
    assert found["seconds"] == pytest.approx(sample(4096).seconds)
