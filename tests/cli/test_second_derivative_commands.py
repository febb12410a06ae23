"""`equipot relax`, `vibrations`, `saddle`, `phonons`, `elastic`: print, write, exit."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import read, write
from typer.testing import CliRunner

from equipot.checkpoint.file import save_potential
from equipot.cli.calculation import load_calculator
from equipot.cli.main import app
from equipot.cli.phonons import parse_supercell
from equipot.cli.structures import read_structure
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.workflows import model_hessian
from tests.potentials import statistics_of
from tests.workflows.analytic_potentials import mueller_brown, stillinger_weber_silicon

CONFIG = NequIPConfig(
    cutoff=3.0,
    lmax=1,
    channels=4,
    num_layers=2,
    radial_hidden=(8,),
    zbl=True,
    backend="clebsch_gordan",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random weights and a repulsion: it has minima, if not those of nature."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    pairs = dict.fromkeys(("H-H", "H-O", "O-O", "Si-Si"), 0.3)
    statistics = replace(statistics_of((1, 8, 14), 3.0), minimum_distances=pairs)
    save_potential(
        path, build_potential(CONFIG, statistics, seed=3), CONFIG, statistics
    )
    return path


@pytest.fixture
def water(tmp_path):
    path = tmp_path / "water.xyz"
    write(path, Atoms("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)]))
    return path


@pytest.fixture
def crystal(tmp_path):
    path = tmp_path / "crystal.xyz"
    write(path, bulk("Si", "diamond", a=4.2))
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_relax_writes_a_structure_without_forces(model, water, tmp_path):
    relaxed = tmp_path / "new" / "relaxed.xyz"

    result = run("relax", model, water, "--output", relaxed, "--fmax", "1e-4")

    assert result.exit_code == 0, result.output
    assert "steps, energy" in result.output
    again = run("relax", model, relaxed, "--output", relaxed, "--fmax", "1e-3")
    assert again.output.startswith("0 steps")
    assert np.isfinite(read(relaxed).get_potential_energy())


def test_relax_of_all_frames_gives_the_energies_of_single_ones(model, water, tmp_path):
    frames = tmp_path / "frames.xyz"
    start = read(water)
    turned = start.copy()
    turned.rattle(0.05, seed=1)
    write(frames, [start, turned])
    relaxed = tmp_path / "relaxed.xyz"

    result = run("relax", model, f"{frames}@:", "--output", relaxed)
    short = run(
        "relax",
        model,
        f"{frames}@:",
        "--output",
        relaxed.with_stem("s"),
        "--max-steps",
        1,
    )
    refused = run("relax", model, f"{frames}@:", "--trajectory", tmp_path / "t.xyz")
    single = run("relax", model, f"{frames}@0", "--output", tmp_path / "single.xyz")

    assert result.exit_code == single.exit_code == 0, result.output
    assert "structure 1 (H2O): " in result.output
    energies = [atoms.get_potential_energy() for atoms in read(relaxed, ":")]
    expected = read(tmp_path / "single.xyz").get_potential_energy()
    np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-4)
    assert short.exit_code == 1
    assert "2 structures of 2, number 0, 1" in " ".join(short.output.split())
    assert "are for one structure" in " ".join(refused.output.split())


def test_relax_that_runs_out_of_steps_fails(model, water, tmp_path):
    file = tmp_path / "relaxed.xyz"

    result = run("relax", model, water, "--output", file, "--max-steps", "0")

    assert result.exit_code == 1
    assert "not converged" in result.output
    assert file.exists()


def test_vibrations_write_modes_numbers_and_a_page(model, water, tmp_path):
    folder = tmp_path / "new" / "vibrations"

    result = run("vibrations", model, water, "--output", folder, "--quasi-rrho")

    assert result.exit_code == 0, result.output
    assert "3 modes, 0 imaginary: a minimum" in result.output
    assert "ideal gas, quasi-RRHO at 298.15 K" in result.output
    record = json.loads((folder / "vibrations.json").read_text(encoding="utf-8"))
    assert len(record["frequencies_per_cm"]) == 3
    assert record["thermochemistry"]["temperature"] == 298.15
    frames = read(folder / "modes.xyz", ":")
    assert len(frames) == 3 * 20
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<option") == 3
    assert "http" not in page


def test_vibrations_away_from_a_minimum_say_so(model, water, tmp_path):
    result = run(
        "vibrations", model, water, "--no-relax", "--output", tmp_path / "vibrations"
    )

    assert result.exit_code == 0, result.output
    assert "not a stationary point" in " ".join(result.output.split())
    page = (tmp_path / "vibrations" / "report.html").read_text(encoding="utf-8")
    assert "not a stationary point" in page


def vibrations_of(model, atoms, folder, *options):
    """What the command prints, its exit status, and the numbers that it writes."""
    file = folder / "structure.xyz"
    write(file, atoms)
    out = folder / "vibrations"
    result = run("vibrations", model, file, "--output", out, *options)
    record = json.loads((out / "vibrations.json").read_text(encoding="utf-8"))
    return result, record, (out / "report.html").read_text(encoding="utf-8")


def test_masses_of_the_file_reach_frequencies_numbers_and_page(model, water, tmp_path):
    light = read(water)
    heavy = light.copy()
    heavy.set_masses([15.999, 2.014, 2.014])

    _, before, page_before = vibrations_of(model, light, tmp_path)
    result, after, page = vibrations_of(model, heavy, tmp_path)

    assert result.exit_code == 0, result.output
    assert "isotope: H of 2.014 amu, atoms 1, 2" in result.output
    assert after["masses_amu"] == [15.999, 2.014, 2.014]
    ratios = np.divide(after["frequencies_per_cm"], before["frequencies_per_cm"])
    assert ((ratios > 0.69) & (ratios < 0.8)).all()
    assert after["zero_point_energy_ev"] < 0.8 * before["zero_point_energy_ev"]
    assert "H of 2.014 amu: 1, 2" in page
    assert "Masses are the standard atomic weights" in page_before
    frames = read(tmp_path / "vibrations" / "modes.xyz", ":1")
    np.testing.assert_allclose(frames[0].get_masses(), [15.999, 2.014, 2.014])


def test_a_molecule_in_a_box_is_that_in_the_gas(model, water, tmp_path):
    free = read(water)
    box = free.copy()
    box.set_cell([11, 12, 13])
    box.pbc = True
    box.wrap()

    _, gas, _ = vibrations_of(model, free, tmp_path)
    result, boxed, page = vibrations_of(model, box, tmp_path)

    assert result.exit_code == 0, result.output
    assert "(3 translations, 3 rotations)" in result.output
    assert "ideal gas at 298.15 K, per molecule of H2O: enthalpy" in result.output
    assert boxed["per"] == boxed["thermochemistry"]["per"] == "per molecule of H2O"
    assert "per molecule of H₂O" in page
    energies = [r["thermochemistry"]["free_energy"] for r in (gas, boxed)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)


def test_a_free_energy_that_is_undefined_is_not_given(model, water, tmp_path):
    one, other = read(water), read(water)
    other.translate((9, 0, 0))

    result, record, page = vibrations_of(model, one + other, tmp_path)

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "error: no thermochemistry: an ideal gas needs one isolated molecule" in text
    assert "this structure has 2 parts that do not interact" in text
    assert "ideal gas at" not in result.output
    assert record["thermochemistry"] is None
    assert any("2 parts" in warning for warning in record["warnings"])
    assert "Undefined for this structure" in page
    assert "2 parts that do not interact" in page


def test_atoms_on_fixed_ones_say_so(model, water, tmp_path):
    atoms = read(water)
    atoms.set_constraint(FixAtoms([0]))

    result, record, _ = vibrations_of(model, atoms, tmp_path)
    rotors, as_rotors, _ = vibrations_of(model, atoms, tmp_path, "--quasi-rrho")

    assert result.exit_code == 1
    assert result.output.count("indistinguishable from zero") == 3
    assert "1 of them fixed" in record["per"]
    assert record["fixed_atoms"] == [0]
    assert rotors.exit_code == 0, rotors.output
    assert "is treated as a free rotor" in " ".join(rotors.output.split())
    assert as_rotors["thermochemistry"]["notes"]


def test_options_of_a_gas_have_no_effect_on_a_crystal(model, crystal, tmp_path):
    result, record, _ = vibrations_of(
        model, read(crystal), tmp_path, "--symmetry-number", "2", "--no-relax"
    )

    assert "have no effect" in " ".join(result.output.split())
    assert record["per"] == "per cell of Si2 (2 atoms)"


def test_a_structure_that_the_model_cannot_know_is_an_error(model, tmp_path):
    file = tmp_path / "close.xyz"
    write(file, Atoms("OHH", [(0, 0, 0), (0.2, 0, 0), (-0.24, 0.93, 0)]))

    result = run("vibrations", model, file, "--output", tmp_path / "vibrations")

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "error: atoms 0 (O) and 1 (H) are 0.2000 Å apart" in text
    assert "--extrapolate" in text


def test_a_saddle_that_is_none_is_an_error(model, water, tmp_path):
    relaxed = tmp_path / "relaxed.xyz"
    run("relax", model, water, "--output", relaxed, "--fmax", "1e-6")

    result = run("saddle", model, relaxed, "--output", tmp_path / "saddle")

    assert result.exit_code == 1
    assert "no saddle point after 0 steps" in result.output
    assert not (tmp_path / "saddle").exists()


@pytest.fixture
def mueller_and_brown(monkeypatch):
    """`equipot saddle` on a surface of two dimensions in place of a model."""
    calculator = mueller_brown()
    calculator.models = ()
    monkeypatch.setattr(
        "equipot.cli.calculation.load_calculator", lambda *_: calculator
    )
    monkeypatch.setattr("equipot.workflows.model_hessian", lambda c: c.hessian)


@pytest.fixture
def stillinger_and_weber(monkeypatch):
    """`equipot eos` with a potential in closed form in place of a model."""
    calculator = stillinger_weber_silicon()
    calculator.models = ()
    calculator.potential = SimpleNamespace(cutoff=3.77)
    monkeypatch.setattr(
        "equipot.cli.calculation.load_calculator", lambda *_: calculator
    )
    monkeypatch.setattr("equipot.workflows.model_hessian", lambda c, *_: c.hessian)


def place(x, y):
    return Atoms("HH", [(x, y, 0), (9, 9, 9)], constraint=FixAtoms([1]))


def test_a_transition_state_between_two_minima_is_verified(mueller_and_brown, tmp_path):
    ends = tmp_path / "ends.xyz"
    write(ends, [place(-0.05, 0.47), place(-0.56, 1.44)])
    folder = tmp_path / "new" / "saddle"

    result = run(
        "saddle", "any", f"{ends}@0", f"{ends}@1", "--step", 0.03, "--output", folder
    )

    assert result.exit_code == 0, result.output
    assert "Transition state: one imaginary mode" in result.output
    assert "Barriers 0.401 eV (forward) and 1.060 eV (backward)" in result.output
    assert "does not end in the given" not in result.output
    files = {path.name for path in folder.iterdir()}
    assert files == {"report.html", "reaction.json", "path.xyz", "points.xyz"}
    start, _, end = read(folder / "points.xyz", ":")
    assert start.positions[0, 0] > end.positions[0, 0]


def test_a_path_that_does_not_arrive_is_not_verified(mueller_and_brown, tmp_path):
    ends = tmp_path / "ends.xyz"
    write(ends, [place(-0.05, 0.47), place(-0.56, 1.44)])
    folder = tmp_path / "saddle"

    result = run(
        "saddle", "any", f"{ends}@0", f"{ends}@1", "--path-steps", 2, "--output", folder
    )

    assert result.exit_code == 1
    assert "Not a verified transition state" in result.output
    assert "the path does not reach the end" in result.output
    record = json.loads((folder / "reaction.json").read_text(encoding="utf-8"))
    assert record["verified"] is False
    assert record["per"] == "for H2 (2 atoms, 1 of them fixed)"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The path does not reach the end" in page
    assert "The path ends" in page


def test_a_path_to_other_minima_than_the_given_ones_is_not_verified(
    mueller_and_brown, tmp_path
):
    ends = tmp_path / "ends.xyz"
    write(ends, [place(0.62, 0.03), place(-0.56, 1.44)])

    result = run(
        "saddle", "any", f"{ends}@0", f"{ends}@1", "--step", 0.05,
        "--output", tmp_path / "saddle",
    )  # fmt: skip

    assert result.exit_code == 1
    assert "Not a verified transition state" in result.output
    record = json.loads((tmp_path / "saddle" / "reaction.json").read_text("utf-8"))
    assert record["verified"] is False
    assert "the path leads to another start than the given one" in result.output
    assert "there may be several barriers" in " ".join(result.output.split())
    page = (tmp_path / "saddle" / "report.html").read_text(encoding="utf-8")
    assert "The path leads to another start than the given one" in page


def test_phonons_write_numbers_a_page_and_what_phonopy_reads(model, crystal, tmp_path):
    phonopy = pytest.importorskip("phonopy", reason="needs equipot[phonons]")
    folder = tmp_path / "phonons"
    result = run(
        "phonons", model, crystal, "--supercell", 2, 2, 2, "--output", folder,
        "--method", "derivatives",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert (
        "supercell 2x2x2, 16 atoms; force constants by 1 Hessian-vector products"
        in result.output
    )
    assert "the interaction range is 12.0 Å" in " ".join(result.output.split())
    record = json.loads((folder / "phonons.json").read_text(encoding="utf-8"))
    assert record["sum_rule_ev_per_square_angstrom"] < 1e-10
    lattice = phonopy.load(folder / "phonopy_params.yaml", log_level=0)
    lattice.run_qpoints([(0, 0, 0)])
    at_gamma = lattice.qpoints.frequencies[0]
    first_line = record["bands"]["frequencies_thz"][0]
    np.testing.assert_allclose(at_gamma, first_line[0], atol=1e-5)
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")


def test_elastic_constants_of_a_cubic_crystal_are_cubic(model, crystal, tmp_path):
    file = tmp_path / "new" / "elastic.json"

    result = run("elastic", model, crystal, "--json", file)

    record = json.loads(file.read_text(encoding="utf-8"))
    assert result.exit_code == (0 if record["stable"] else 1), result.output
    assert "C / GPa, relaxed-ion" in result.output
    c = np.array(record["birch_gpa"])
    np.testing.assert_allclose(c[:3, 3:], 0, atol=1e-6)
    np.testing.assert_allclose(np.diag(c)[:3], c[0, 0])
    np.testing.assert_allclose(np.diag(c)[3:], c[3, 3])


@pytest.mark.parametrize("command", ["phonons", "elastic", "eos"])
def test_a_molecule_is_refused_before_it_is_relaxed(command, model, tmp_path):
    gas, box = tmp_path / "gas.xyz", tmp_path / "box.xyz"
    atoms = Atoms("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
    write(gas, atoms)
    atoms.set_cell([20] * 3)
    atoms.pbc = True
    write(box, atoms)

    for file, message in ((gas, "three periodic directions"), (box, "in a box")):
        result = run(command, model, file)
        assert result.exit_code == 1
        text = " ".join(result.output.split())
        assert message in text
        assert "vibrations" in text
        assert "relaxed in" not in text


@pytest.mark.parametrize("command", ["phonons", "elastic", "eos"])
def test_fixed_atoms_of_a_crystal_are_refused(command, model, tmp_path):
    file = tmp_path / "held.xyz"
    atoms = bulk("Si", "diamond", a=4.2)
    atoms.set_constraint(FixAtoms([0]))
    write(file, atoms)

    result = run(command, model, file)

    assert result.exit_code == 1
    assert "has fixed atoms" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", (2, 2, 2)),
        ("1,2,3", (1, 2, 3)),
        ("1x2x3", (1, 2, 3)),
        ("1X2X3", (1, 2, 3)),
        ("1×2×3", (1, 2, 3)),
        ("1 2 3", (1, 2, 3)),
        (" 1, 2,  3 ", (1, 2, 3)),
        ("1 x 2 x 3", (1, 2, 3)),
    ],
)
def test_supercells_are_read_in_every_spelling(text, expected):
    assert parse_supercell(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "2,2", "1.5", "-1", "a", "2,,2", "2x2x", "2 0 1", "1,2,3,4"]
)
def test_other_supercells_are_refused_with_what_is_expected(text):
    with pytest.raises(ValueError, match=r"expects one or three.*2x2x2.*got"):
        parse_supercell(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("M", "S", "--supercell", "1", "2", "3"),
        ("--supercell", "1", "2", "3", "M", "S"),
        ("--supercell=1", "2", "3", "M", "S"),
        ("M", "--supercell", "1x2x3", "S"),
    ],
)
def test_three_numbers_may_follow_the_option(arguments, monkeypatch):
    seen = []

    def stop(text):
        seen.append(text)
        raise ValueError("seen")

    monkeypatch.setattr("equipot.cli.phonons.parse_supercell", stop)

    assert run("phonons", *arguments).exit_code == 1
    assert seen in (["1,2,3"], ["1x2x3"])


def test_phonons_writes_third_order_force_constants(model, crystal, tmp_path):
    pytest.importorskip("phono3py", reason="needs equipot[conductivity]")
    out = tmp_path / "out"

    result = run(
        "phonons", model, crystal, "--output", out, "--supercell", 2,
        "--third-order", 1, 1, 2, "--no-relax",
    )  # fmt: skip

    assert "third order: supercell 1x1x2, 4 atoms" in result.output
    names = {"phono3py_params.yaml", "fc2.hdf5", "fc3.hdf5", "phonons.json"}
    assert names <= {path.name for path in out.iterdir()}
    found = json.loads((out / "phonons.json").read_text())["third_order"]
    assert found["relative_asymmetry"] < 1e-10
    assert found["relative_sum_rule"] < 1e-10


def test_relax_keeps_what_the_file_says_and_writes_its_steps(model, crystal, tmp_path):
    start = read(crystal)
    start.info["name"] = "a b"
    start.set_tags([3, 4])
    start.set_masses([30.0, 28.0])
    start.set_initial_magnetic_moments([0.5, -0.5])
    start.set_momenta(np.ones((2, 3)))
    start.set_constraint(FixAtoms([1]))
    start.positions[0] += 0.05
    write(crystal, start)
    relaxed, steps = tmp_path / "relaxed.xyz", tmp_path / "steps.xyz"

    result = run(
        "relax", model, crystal, "--output", relaxed, "--trajectory", steps,
        "--cell", "--cell-mask", "hydrostatic", "--pressure", 1,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "per cell of Si2 (2 atoms), largest force" in result.output
    assert "at 1 GPa: enthalpy" in result.output
    assert "momenta are dropped" in result.output
    found, frames = read(relaxed), read(steps, ":")
    assert found.info["name"] == "a b"
    assert found.info["pressure_gpa"] == 1
    assert found.get_tags().tolist() == [3, 4]
    assert found.get_masses().tolist() == [30, 28]
    assert found.get_initial_magnetic_moments().tolist() == [0.5, -0.5]
    assert not found.has("momenta")
    assert [c.get_indices().tolist() for c in found.constraints] == [[1]]
    assert [f.info["step"] for f in frames] == list(range(len(frames)))
    assert len(frames) > 1
    np.testing.assert_allclose(frames[0].positions, start.positions, atol=1e-7)
    np.testing.assert_allclose(frames[-1].positions, found.positions)
    np.testing.assert_allclose(found.cell.angles(), 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pressure", 1), "--cell"),
        (("--cell-mask", "xx"), "--cell"),
        (("--cell", "--cell-mask", "aa"), "unknown strain aa"),
        (("--cell", "--cell-mask", ","), "expects names such as xx,yy,xy"),
        (("--trajectory", "steps.traj"), "ends in .xyz"),
    ],
)
def test_relax_refuses_what_it_cannot_do(options, message, model, crystal, tmp_path):
    result = run("relax", model, crystal, "--output", tmp_path / "r.xyz", *options)

    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "r.xyz").exists()


def test_relax_does_not_write_its_steps_over_the_structure(model, crystal):
    before = crystal.read_bytes()

    result = run("relax", model, f"{crystal}@0", "--trajectory", crystal)

    assert result.exit_code == 1
    assert crystal.read_bytes() == before


def test_a_hessian_is_computed_in_parts_with_progress(model, crystal):
    calculator = load_calculator(model, "cpu", "float64", None, extrapolate=True)
    atoms = read(crystal).repeat((3, 3, 1))
    seen = []

    parts = model_hessian(calculator, lambda *done: seen.append(done))(atoms)

    np.testing.assert_allclose(parts, calculator.get_hessian(atoms), atol=1e-10)
    assert seen == [(0, 18), (8, 18), (16, 18), (18, 18)]


def test_an_equation_of_state_writes_numbers_a_page_and_the_scan(
    stillinger_and_weber, crystal, tmp_path
):
    write(crystal, bulk("Si", "diamond", a=5.44))
    folder = tmp_path / "new" / "eos"

    result = run("eos", "any", crystal, "--points", 7, "--output", folder)

    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "per cell of Si2: 2 atoms, 2 formula units of Si" in text
    record = json.loads((folder / "eos.json").read_text(encoding="utf-8"))
    assert record["bulk_modulus_gpa"] == pytest.approx(101.4, abs=1)
    assert record["volume_cubic_angstrom_per_atom"] == pytest.approx(20.02, abs=0.01)
    assert len(read(folder / "scan.xyz", ":")) == 7
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")


def test_an_equation_of_state_without_a_minimum_is_an_error(
    stillinger_and_weber, crystal, tmp_path
):
    write(crystal, bulk("Si", "diamond", a=6.0))

    result = run("eos", "any", crystal, "--points", 5, "--output", tmp_path / "eos")

    assert result.exit_code == 1
    assert "the minimum is outside" in " ".join(result.output.split())
    assert not (tmp_path / "eos").exists()
    centered = run(
        "eos", "any", crystal, "--points", 5, "--cell", "--output", tmp_path / "eos"
    )
    assert centered.exit_code == 0, centered.output


def test_structures_are_read_without_labels_and_with_fixed_atoms(tmp_path):
    file = tmp_path / "a.xyz"
    atoms = Atoms("OH", [(0, 0, 0), (0.97, 0, 0)])
    atoms.set_constraint(FixAtoms([0]))
    atoms.info["REF_energy"] = -3.0
    write(file, [atoms, atoms])

    found = read_structure(f"{file}@0")

    assert found.calc is None
    assert found.info == {}
    assert [c.get_indices().tolist() for c in found.constraints] == [[0]]
    with pytest.raises(ValueError, match="expected one structure"):
        read_structure(f"{file}@:")
    with pytest.raises(ValueError, match="cannot read a structure"):
        read_structure(f"{file}@7")
