"""Analyses of trajectories against closed forms."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.units import fs
from typer.testing import CliRunner

from equipot.cli.main import app
from equipot.md.analysis import analyze, read_trajectory
from equipot.md.analysis.blocks import average, block_error
from equipot.md.analysis.correlation import autocorrelation, mean_square_displacement
from equipot.md.analysis.diffusion import diffusion
from equipot.md.analysis.radial import half_height, radial_distribution
from equipot.md.analysis.spectrum import spectrum
from equipot.md.analysis.trajectory import unwrap

TRICLINIC = np.array([[12.0, 0, 0], [4.0, 11.0, 0], [-3.0, 5.0, 13.0]])
RNG = np.random.default_rng(7)


def written(path, frames, interval=0.01):
    for n, frame in enumerate(frames):
        frame.info.setdefault("time_ps", n * interval)
    write(path, frames, format="traj" if path.suffix == ".traj" else "extxyz")
    return path


def gas(numbers, cell, frames):
    return [
        Atoms(numbers, RNG.random((len(numbers), 3)) @ cell, cell=cell, pbc=True)
        for _ in range(frames)
    ]


@pytest.mark.parametrize("cell", [10 * np.eye(3), TRICLINIC], ids=["cubic", "tilted"])
def test_an_ideal_gas_has_a_radial_distribution_of_one(cell, tmp_path):
    """Also between few atoms, where N^2 in place of N (N - 1) would be 10 % off."""
    frames = gas([18] * 10 + [10] * 30, cell, 300)
    path = written(tmp_path / "gas.traj", frames)

    found = radial_distribution(
        read_trajectory(path, interval=None, wrapped=False), bins=10
    )

    assert set(found.functions) == {"all", "Ne-Ne", "Ne-Ar", "Ar-Ar"}
    for name, values in found.functions.items():
        weights = found.distances**2 / (found.distances**2).sum()
        tolerance = 0.06 if name == "Ar-Ar" else 0.02
        assert (weights * values).sum() == pytest.approx(1, abs=tolerance), name


@pytest.mark.parametrize("cubic", [True, False])
def test_the_shells_of_fcc_are_where_and_as_full_as_they_should_be(cubic, tmp_path):
    atoms = bulk("Cu", a=3.6, cubic=cubic).repeat(3 if cubic else 6)
    path = written(tmp_path / "cu.traj", [atoms])

    found = radial_distribution(read_trajectory(path), bins=500)

    name = "Cu-Cu"
    place, _ = found.first_peak(name)
    assert place == pytest.approx(3.6 / np.sqrt(2), abs=0.02)
    for distance, number in ((3.0, 12), (4.0, 18), (4.7, 42)):
        n = np.searchsorted(found.distances, distance)
        assert found.coordination[name][n] == pytest.approx(number)


def test_coordination_depends_on_the_center(tmp_path):
    """CsCl with one Cl missing: a Cs has fewer Cl than a Cl has Cs."""
    atoms = bulk("CsCl", "cesiumchloride", a=4.1).repeat(3)
    del atoms[[a.index for a in atoms if a.symbol == "Cl"][:9]]
    path = written(tmp_path / "salt.traj", [atoms])

    found = radial_distribution(read_trajectory(path), bins=100)
    near = np.searchsorted(found.distances, 3.8)

    assert found.coordination["Cl-Cs"][near] == pytest.approx(8)
    assert found.coordination["Cs-Cl"][near] == pytest.approx(8 * 18 / 27)


def test_distances_beyond_half_of_the_smallest_height_are_refused(tmp_path):
    path = written(tmp_path / "gas.traj", gas([18] * 5, TRICLINIC, 2))
    frames = read_trajectory(path, wrapped=False)
    volume = abs(np.linalg.det(TRICLINIC))
    heights = [
        volume / np.linalg.norm(np.cross(TRICLINIC[i - 1], TRICLINIC[i - 2]))
        for i in range(3)
    ]

    assert half_height(frames) == pytest.approx(min(heights) / 2)
    with pytest.raises(ValueError, match="are counted with their own periodic images"):
        radial_distribution(frames, reach=min(heights) / 2 + 0.01)


def walk(steps, atoms, width, start=0.0):
    moves = RNG.normal(0, width, (steps, atoms, 3))
    moves[0] = start
    return np.cumsum(moves, axis=0)


def test_displacements_are_those_of_the_definition():
    positions = walk(40, 3, 0.2)

    found = mean_square_displacement(positions)

    for lag in (0, 1, 7, 39):
        difference = positions[lag:] - positions[: len(positions) - lag]
        np.testing.assert_allclose(
            found[lag], (difference**2).mean(axis=(0, 1)), atol=1e-12
        )


def test_autocorrelation_is_that_of_the_definition():
    series = RNG.normal(size=(30, 4))

    found = autocorrelation(series)

    for lag in (0, 3, 29):
        expected = (series[lag:] * series[: len(series) - lag]).mean(axis=0)
        np.testing.assert_allclose(found[lag], expected, atol=1e-12)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_random_walk_has_its_diffusion_coefficient(wrapped, tmp_path):
    """D = width^2 / (2 interval), in a cell that most atoms leave."""
    width, interval, cell = 0.3, 0.02, TRICLINIC
    positions = walk(1000, 40, width) + RNG.random((40, 3)) @ cell
    frames = [Atoms("Li40", x, cell=cell, pbc=True) for x in positions]
    if wrapped:
        for frame in frames:
            frame.wrap()
    path = written(tmp_path / "walk.traj", frames, interval)

    trajectory = read_trajectory(path)
    (entry,), notes = diffusion(trajectory)

    expected = width**2 / (2 * interval)
    assert entry.error < 0.1 * expected
    assert entry.coefficient == pytest.approx(expected, abs=4 * entry.error)
    assert entry.exponent == pytest.approx(1, abs=0.1)
    assert any("wrapped" in note for note in trajectory.notes) == wrapped
    assert notes == []
    moved = trajectory.positions - trajectory.positions[0]
    np.testing.assert_allclose(moved, positions - positions[0], atol=1e-9)


def test_errors_of_diffusion_coefficients_are_their_scatter(tmp_path):
    ratios = []
    for n in range(25):
        positions = walk(400, 10, 0.3)
        frames = [Atoms("Li10", x) for x in positions]
        path = written(tmp_path / f"{n}.traj", frames)
        (entry,), _ = diffusion(read_trajectory(path))
        if entry.coefficient is not None:
            ratios.append((entry.coefficient - 4.5) / entry.error)

    assert len(ratios) > 15
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 2.5


def test_frames_that_are_too_far_apart_are_not_unwrapped():
    cells = np.array([10 * np.eye(3)] * 50)
    positions = RNG.random((50, 20, 3)) * 10

    with pytest.raises(ValueError, match="too far apart to unwrap"):
        unwrap(positions, cells, np.array([True] * 3))
    raw, _ = unwrap(positions, cells, np.array([True] * 3), wrapped=False)
    np.testing.assert_allclose(raw, positions, atol=1e-12)


def test_a_cell_that_breathes_does_not_move_atoms(tmp_path):
    """At rest in the cell, far from its origin."""
    cells = [(10 + 0.1 * np.sin(n)) * np.eye(3) for n in range(60)]
    frames = [Atoms("H", [[7.5] * 3], cell=c, pbc=True) for c in cells]
    for frame, cell in zip(frames, cells, strict=True):
        frame.positions = 0.75 * cell[0, 0]

    positions, _ = unwrap(
        np.array([f.positions for f in frames]), np.array(cells), frames[0].pbc
    )

    np.testing.assert_allclose(positions, positions[:1].repeat(60, axis=0), atol=1e-12)


def test_a_drift_of_the_whole_is_not_diffusion(tmp_path):
    positions = walk(500, 30, 0.2) + 0.5 * np.arange(500)[:, None, None]
    frames = [Atoms("Ar30", x) for x in positions]

    (entry,), notes = diffusion(read_trajectory(written(tmp_path / "a.traj", frames)))

    assert "relative to it" in notes[0]
    assert entry.coefficient == pytest.approx(
        0.2**2 / (2 * 0.01) * 29 / 30, abs=4 * entry.error
    )


def test_atoms_that_rattle_do_not_diffuse(tmp_path):
    atoms = bulk("Cu", cubic=True).repeat(2)
    frames = []
    for _ in range(200):
        frames.append(atoms.copy())
        frames[-1].rattle(0.1, rng=RNG)

    (entry,), _ = diffusion(read_trajectory(written(tmp_path / "cu.traj", frames)))

    assert entry.coefficient is None
    assert "no diffusion within this run" in entry.remark


def oscillators(frequencies, interval, steps):
    """Atoms on springs along x, with their exact motion; THz and ps."""
    times = interval * np.arange(steps)
    omega = 2 * np.pi * np.array(frequencies)
    phases = RNG.uniform(0, 2 * np.pi, len(frequencies))
    frames = []
    for t in times:
        x = np.zeros((len(frequencies), 3))
        v = np.zeros_like(x)
        x[:, 0] = 0.1 * np.cos(omega * t + phases) + 3 * np.arange(len(frequencies))
        v[:, 0] = -0.1 * omega * np.sin(omega * t + phases) / 1000  # Å/fs
        frame = Atoms(["O", "Si"][: len(frequencies)], x)
        frame.set_velocities(v / fs)
        frame.info["time_ps"] = t
        frames.append(frame)
    return frames


def test_the_spectrum_of_oscillators_has_their_frequencies(tmp_path):
    path = written(tmp_path / "o.traj", oscillators([12.0, 5.0], 0.01, 1200))

    found = spectrum(read_trajectory(path))

    for element, frequency in (("O", 12.0), ("Si", 5.0)):
        peak = found.frequencies[found.states[element].argmax()]
        assert peak == pytest.approx(frequency, abs=found.resolution)
    width = found.frequencies[1]
    assert found.total.sum() * width == pytest.approx(1)
    energies = 16 * 12.0**2, 28.1 * 5.0**2  # of equal amplitudes
    share = found.states["O"].sum() * width
    assert share == pytest.approx(energies[0] / sum(energies), rel=0.02)
    omega = 2 * np.pi * 12.0
    assert found.correlation[0] == 1
    assert found.lags[1] == pytest.approx(0.01)
    assert omega > 0


def test_fast_vibrations_in_few_frames_are_refused(tmp_path):
    """95 THz every 10 fs would appear at 5 THz."""
    path = written(tmp_path / "o.traj", oscillators([95.0], 0.01, 400))

    with pytest.raises(ValueError, match="would appear at wrong frequencies"):
        spectrum(read_trajectory(path))


def test_block_errors_know_of_correlation():
    noise = RNG.normal(size=40_000)
    correlated = np.empty_like(noise)
    value = 0.0
    for n, kick in enumerate(noise):
        value = 0.9 * value + kick
        correlated[n] = value

    exact = 1 / (1 - 0.9) / np.sqrt(len(noise))
    assert block_error(noise) == pytest.approx(1 / 200, rel=0.2)
    assert block_error(correlated) == pytest.approx(exact, rel=0.25)
    assert block_error(noise[:5]) is None
    assert abs(average(np.arange(1000.0)).change or 10) > 4


def test_unequal_times_and_other_atoms_are_refused(tmp_path):
    frames = [Atoms("H2", walk(1, 2, 1)[0]) for _ in range(4)]
    for frame, time in zip(frames, (0, 1, 2, 5), strict=True):
        frame.info["time_ps"] = time
    other = [Atoms("H2"), Atoms("HO")]

    with pytest.raises(ValueError, match="frames 2 and 3 are 3 ps apart"):
        read_trajectory(written(tmp_path / "a.traj", frames))
    with pytest.raises(ValueError, match="atoms or periodic directions that differ"):
        read_trajectory(written(tmp_path / "b.traj", other))
    with pytest.raises(ValueError, match="--interval is 3 fs, but"):
        read_trajectory(
            written(tmp_path / "c.traj", [Atoms("H"), Atoms("H")]), interval=0.003
        )


def test_temperature_counts_the_momenta_that_move(tmp_path):
    """Without drift 3N - 3, without rotation 3N - 6, with drift 3N."""
    from equipot.md.velocities import draw_velocities, remove_drift

    box = Atoms("Ar4", RNG.random((4, 3)) * 9, cell=[9] * 3, pbc=True)
    free = Atoms("Ar4", box.positions)
    for atoms, count in ((box, 9), (free, 6)):
        draw_velocities(atoms, 300.0, RNG)
        moving = atoms.copy()
        remove_drift(atoms)
        path = written(tmp_path / "a.traj", [atoms])
        assert read_trajectory(path).degrees_of_freedom == count
        path = written(tmp_path / "b.traj", [moving])
        assert read_trajectory(path).degrees_of_freedom == 12


def test_the_command_writes_a_page_and_json_with_units(tmp_path):
    frames = oscillators([12.0, 5.0], 0.01, 120)
    for frame in frames:
        frame.cell, frame.pbc = [8.0, 8.0, 8.0], True
    path = written(tmp_path / "o.xyz", frames)

    for command in ("analyse", "analyze"):
        folder = tmp_path / command
        result = CliRunner().invoke(
            app, [command, str(path), "--output", str(folder)], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        record = json.loads((folder / "analysis.json").read_text())
        page = (folder / "report.html").read_text()
        assert page.count("<svg") >= 4
        assert record["interval_ps"] == pytest.approx(0.01)
        assert record["averages"]["density"]["unit"] == "g/cm^3"
        assert record["spectrum"]["frequency_THz"][1] > 0
        assert "density of states" in result.output


def test_the_folder_of_a_run_is_analyzed_with_its_log(tmp_path):
    from tests.md.md_runs import copper, run_quietly

    record = {"log": 1, "trajectory": 2, "checkpoint": 100, "format": "extxyz"}
    run_quietly(copper(), "nve", tmp_path / "run", steps=80, record=record)

    result = CliRunner().invoke(
        app, ["analyze", str(tmp_path / "run"), "--output", str(tmp_path / "a")]
    )

    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "a" / "analysis.json").read_text())
    assert content["averages"]["temperature"]["samples"] == 81
    assert content["degrees_of_freedom"] == 9
    assert content["notes"] == []


def test_what_cannot_be_computed_is_said(tmp_path):
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.001 * n]]) for n in range(3)]
    path = tmp_path / "plain.xyz"
    write(path, frames, format="extxyz")

    found = analyze(read_trajectory(path))

    text = " ".join(found.notes)
    assert "no radial distribution: the structure is not 3D-periodic" in text
    assert "--interval" in text
    assert "no density of states" in text
    assert found.diffusion == []


def test_vibrations_between_flight_and_standstill_are_not_diffusion(tmp_path):
    """The displacement of damped oscillators bends from t^2 to a constant."""
    moves, position, velocity = [], np.zeros((16, 3)), np.zeros((16, 3))
    for _ in range(600):
        kick = RNG.normal(0, 0.02, position.shape)
        velocity += -0.05 * position - 0.1 * velocity + kick
        position = position + velocity
        moves.append(position + 3 * np.arange(16)[:, None])
    frames = [Atoms("Si16", x) for x in moves]

    (entry,), _ = diffusion(read_trajectory(written(tmp_path / "a.traj", frames)))

    assert entry.coefficient is None
    assert "no diffusion within this run" in entry.remark


def test_a_constant_has_no_error_and_no_trend():
    found = average(np.full(40, 320.2) * (1 + 1e-16 * RNG.normal(size=40)))

    assert (found.error, found.change) == (0.0, None)
