"""Attacks on labels that `equipot data check` must see or say that it cannot."""

from collections.abc import Callable
from pathlib import Path

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from pydantic import ValidationError
from typer.testing import CliRunner

from equipot.cli.data import app
from equipot.config.data import DataConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.atomic_energies import free_atom_energy, sum_of_free_atoms
from equipot.data.checks.check import examine
from equipot.data.checks.findings import DoctorReport
from equipot.data.dataset import load_dataset
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import read_structures
from equipot.data.reading.unit_conversion import size_of
from equipot.data.statistics import compute_statistics

KCAL = ase.units.mol / ase.units.kcal
KJ = ase.units.mol / ase.units.kJ
HA, BOHR = ase.units.Hartree, ase.units.Bohr


def found(report: DoctorReport, *checks: str) -> str:
    """All errors of some checks."""
    return "\n".join(
        f.message
        for f in report.findings
        if f.severity == "error" and (not checks or f.check in checks)
    )


def told(report: DoctorReport) -> str:
    return "\n".join(f.message for f in report.findings)


def spoilt(frames: list[Atoms], change: Callable[[Atoms], None]) -> list[Atoms]:
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        change(atoms)
    return copies


def scaled(
    frames: list[Atoms], energy=1.0, forces=1.0, length=1.0, stress=1.0
) -> list[Atoms]:
    def change(atoms: Atoms) -> None:
        atoms.info["REF_energy"] *= energy
        atoms.arrays["REF_forces"] = atoms.arrays["REF_forces"] * forces
        atoms.set_cell(atoms.cell * length)
        atoms.positions *= length
        if "REF_stress" in atoms.info:
            atoms.info["REF_stress"] = np.asarray(atoms.info["REF_stress"]) * stress

    return spoilt(frames, change)


@pytest.mark.parametrize("name", ["metals", "molecules"])
@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"energy": KCAL, "forces": KCAL}, "kcal/mol"),
        ({"energy": KJ, "forces": KJ}, "kJ/mol"),
        ({"energy": 1 / HA, "forces": 1 / HA}, "Ha/Å with energies in Ha"),
        ({"energy": 1 / HA, "forces": BOHR / HA}, "Ha/bohr with energies in Ha"),
        ({"length": 1 / BOHR}, "are positions and cell in bohr?"),
        (
            {"energy": 1 / HA, "forces": BOHR / HA, "length": 1 / BOHR},
            "are positions and cell in bohr?",
        ),
        ({"energy": KCAL}, "energies in kcal/mol with forces in eV/Å"),
        ({"forces": 2.0}, "times the work of the forces"),
        ({"forces": 0.5}, "times the work of the forces"),
        ({"forces": -1.0}, "the forces have the wrong sign"),
    ],
)
def test_wrong_units_of_all_labels_are_errors(
    name, factors, words, request, write_frames
):
    frames = scaled(request.getfixturevalue(name), **factors)

    report = examine([write_frames(frames)])

    assert words in found(report, "units", "lengths", "forces")


@pytest.mark.parametrize("name", ["metals", "molecules"])
def test_right_units_are_confirmed(name, request, write_frames):
    report = examine([write_frames(request.getfixturevalue(name))])

    assert report.passed
    assert "forces are in eV/Å as far as" in told(report)
    assert "energies are consistent with the forces" in told(report)


def test_a_stress_of_half_the_size_is_an_error(metals, write_frames):
    report = examine([write_frames(scaled(metals, stress=0.5))])

    assert "times the work of REF_stress" in found(report, "stress-scale")


@pytest.mark.parametrize("factor", [-1.0, 160.21766208])
def test_one_stress_of_another_convention_is_found(factor, metals, write_frames):
    frames = [atoms.copy() for atoms in metals]
    sizes = [np.abs(atoms.info["REF_stress"]).max() for atoms in frames]
    odd = int(np.argmax(sizes))
    frames[odd].info["REF_stress"] = frames[odd].info["REF_stress"] * factor

    report = examine([write_frames(frames)])

    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert finding.check == "stress-frames"
    assert finding.sources[0].endswith(f"#{odd}")


@pytest.mark.parametrize("name", ["metals", "molecules"])
def test_a_shift_of_half_of_the_energies_is_found(name, request, write_frames):
    frames = [atoms.copy() for atoms in request.getfixturevalue(name)]
    for atoms in frames[::4] + frames[3::4]:
        atoms.info["REF_energy"] += 30.0

    report = examine([write_frames(frames)])

    assert "are shifted by 30 eV relative to similar frames" in found(
        report, "energies"
    )


def test_nothing_is_derived_from_forces_that_were_set_to_zero(metals, write_frames):
    def fix(atoms: Atoms) -> None:
        atoms.arrays["REF_forces"][:4] = 0.0

    report = examine([write_frames(spoilt(metals, fix))])

    assert "Their true forces are needed" in found(report, "zero-forces")
    assert "not judged (undecided)" in told(report)
    assert "seems to be" not in told(report)


def test_elements_that_are_exchanged_have_odd_bonds(molecules, write_frames):
    def exchange(atoms: Atoms) -> None:
        old = atoms.numbers.copy()
        atoms.numbers[old == 6], atoms.numbers[old == 1] = 1, 6

    report = examine([write_frames(spoilt(molecules, exchange))])

    assert "are elements exchanged" in found(report, "elements")


def test_elements_exchanged_in_one_frame_are_found(molecules, write_frames):
    frames = [atoms.copy() for atoms in molecules]
    old = frames[7].numbers.copy()
    frames[7].numbers[old == 6], frames[7].numbers[old == 8] = 8, 6

    report = examine([write_frames(frames)])

    (finding,) = [f for f in report.findings if f.check == "elements"]
    assert finding.sources[0].endswith("#7")


def water(count: int, shift: float = -9.5) -> list[Atoms]:
    """Water with energies of all electrons, without forces."""
    rng = np.random.default_rng(0)
    frames = [molecule("H2O") for _ in range(count)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.03, size=(3, 3))
        energy = sum_of_free_atoms(atoms.numbers.tolist()) + shift
        atoms.info["REF_energy"] = energy + rng.normal(scale=0.1)
    return frames


def energies(frames: list[Atoms], factor: float) -> list[Atoms]:
    def change(atoms: Atoms) -> None:
        atoms.info["REF_energy"] *= factor

    return spoilt(frames, change)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / HA, "total energies of all electrons in Ha"),
        (KCAL, "total energies of all electrons in kcal/mol"),
        (2.0, "lower than those of all electrons"),
        (0.99, "are not those of their elements"),
    ],
)
def test_all_electron_energies_tell_their_unit_without_forces(
    factor, words, write_frames
):
    report = examine([write_frames(energies(water(20), factor))])

    assert words in found(report, "units", "energies")
    clean = examine([write_frames(water(20))])
    assert clean.passed
    assert "those of all electrons of these elements, in eV" in told(clean)


def test_energies_of_free_atoms():
    """Hydrogen exactly; Ne against Hartree-Fock (-128.547 Ha) less correlation."""
    assert free_atom_energy(1) == pytest.approx(-13.6057, abs=1e-4)
    assert free_atom_energy(10) / HA == pytest.approx(-128.547, rel=0.004)
    assert free_atom_energy(36) / HA == pytest.approx(-2752.05, rel=0.02)


def atom(symbol: str, energy: float, **info) -> Atoms:
    return Atoms(symbol, info={"REF_energy": energy, **info})


def test_energies_that_no_free_atoms_are_bound_by_are_errors(metals, write_frames):
    atoms = [atom(s, -2041.8, config_type="IsolatedAtom") for s in ("Cu", "Ag")]

    report = examine([write_frames([*metals, *atoms])])

    assert "eV per atom beyond isolated atoms" in found(report, "references")


def test_so_are_atomization_energies_beside_total_ones(write_frames):
    frames = water(20)
    for atoms in frames:
        atoms.info["REF_energy"] -= sum_of_free_atoms(atoms.numbers.tolist())
    free = [
        atom("HO"[n], free_atom_energy(z), config_type="IsolatedAtom")
        for n, z in enumerate((1, 8))
    ]

    report = examine([write_frames([*frames, *free])])

    assert "or these are atomization energies" in found(report, "references")


def dataset(path: Path, **config):
    return load_dataset(DataConfig(train=[str(path)], valid=2, **config), 5.0)


def test_free_atoms_are_references_whatever_they_are_called(metals, write_frames):
    free = [
        atom("Cu", 0.1, config_type="isolated_atom"),
        Atoms("Ag", cell=np.eye(3) * 20, pbc=True, info={"REF_energy": 0.2}),
    ]
    path = write_frames([*metals, *free])

    sets = dataset(path)
    statistics = compute_statistics(sets.train, isolated=sets.isolated)

    assert sets.isolated == {29: 0.1, 47: 0.2}
    assert len(sets.train) + len(sets.valid) == len(metals)
    assert statistics.reference_source == "isolated_atoms"
    assert "2 single atoms without neighbors" in told(examine([path]))


def test_atoms_that_are_all_apart_determine_the_element_that_is_left(
    metals, write_frames
):
    pair = Atoms("CuAg", [[0, 0, 0], [0, 0, 30.0]], info={"REF_energy": 0.7})
    path = write_frames([*metals, atom("Cu", 0.1), pair])

    assert dataset(path).isolated == pytest.approx({29: 0.1, 47: 0.6})


def test_two_energies_of_a_free_atom_are_refused(metals, write_frames):
    rows = [
        atom("Cu", 0.1, config_type="IsolatedAtom"),
        atom("Cu", 5.0, config_type="x"),
    ]

    with pytest.raises(DataError, match="two energies of the isolated atom Cu"):
        dataset(write_frames([*metals, *rows, atom("Ag", 0.0)]))


def test_training_refuses_free_atoms_of_another_code(metals, write_frames):
    rows = [atom(s, -2041.8, config_type="IsolatedAtom") for s in ("Cu", "Ag")]
    sets = dataset(write_frames([*metals, *rows]))

    with pytest.raises(DataError, match=r"2\d+ eV per atom beyond isolated atoms"):
        compute_statistics(sets.train, isolated=sets.isolated)


def test_a_fit_keeps_the_energies_of_free_atoms(metals, write_frames):
    sets = dataset(write_frames([*metals, atom("Cu", 0.1)]))

    statistics = compute_statistics(
        sets.train, reference_energies="least_squares", isolated=sets.isolated
    )

    assert statistics.reference_energies[29] == 0.1
    assert (
        statistics.reference_source
        == "least_squares (rank 1 of 1), isolated atoms of Cu"
    )
    assert "only the reference energies of Cu are those of isolated atoms" in str(
        statistics.warnings
    )


def test_without_energies_it_is_said_that_they_mean_nothing(metals, write_frames):
    def drop(atoms: Atoms) -> None:
        del atoms.info["REF_energy"]

    sets = dataset(write_frames(spoilt(metals, drop)))

    assert "mean nothing" in str(compute_statistics(sets.train).warnings)


@pytest.mark.parametrize("given", [{29: 0.5, 47: 1.0}, "{29: 0.5, 47: 1.0}"])
def test_reference_energies_by_atomic_number(given, metals, write_frames):
    config = DataConfig(train=[str(write_frames(metals))], E0s=given)

    sets = load_dataset(config, 5.0)
    statistics = compute_statistics(
        sets.train, reference_energies=config.reference_energies
    )

    assert statistics.reference_energies == {29: 0.5, 47: 1.0}
    assert DataConfig(train=["a"], E0s="average").reference_energies == "least_squares"


@pytest.mark.parametrize("unit", ["Ha/bohr", "hartree/Bohr", "HA / bohr"])
def test_labels_are_converted_from_stated_units(unit, metals, write_frames):
    units = {"energy": "Ha", "forces": unit, "length": "bohr", "stress": "GPa"}
    au = scaled(metals, 1 / HA, BOHR / HA, 1 / BOHR, 1 / ase.units.GPa)

    original = read_structures(write_frames(metals, "a.xyz"))
    converted = read_structures(write_frames(au, "b.xyz"), units=UnitsConfig(**units))

    for a, b in zip(original, converted, strict=True):
        assert np.allclose(a.atoms.positions, b.atoms.positions, atol=1e-6)
        assert np.allclose(a.atoms.cell, b.atoms.cell, atol=1e-6)
        assert float(a.labels.energy) == pytest.approx(float(b.labels.energy))
        assert np.allclose(a.labels.forces, b.labels.forces, atol=1e-6)
        assert np.allclose(a.labels.stress, b.labels.stress, atol=1e-7)


def test_sizes_of_units():
    """CODATA 2014 (ase.units), by hand for what is put together."""
    assert size_of("Ha/bohr") == pytest.approx(51.42206707)
    assert size_of("Ha/bohr^3") == pytest.approx(183.6315331)
    assert size_of("kJ/mol/nm") == pytest.approx(0.0010364270)
    assert size_of("kbar") == pytest.approx(1 / 1602.1766208)


def test_units_must_be_known_and_complete():
    with pytest.raises(ValidationError, match="state forces as well"):
        UnitsConfig(energy="Ha")
    with pytest.raises(ValidationError):
        UnitsConfig(forces="N")


def test_stress_in_a_unit_that_was_not_stated_is_refused(metals, write_frames):
    units = UnitsConfig(energy="Ha", forces="Ha/bohr")

    with pytest.raises(DataError, match="state stress as well"):
        read_structures(write_frames(metals), units=units)


def test_stated_units_that_the_labels_contradict_are_refused(metals, write_frames):
    units = {"energy": "Ha", "forces": "Ha/Å", "stress": "eV/Å^3"}
    path = write_frames(metals)

    report = examine([path], units=UnitsConfig(**units))
    with pytest.raises(DataError, match=r"data\.units: the stated units"):
        dataset(path, units=units)

    assert report.units == {"energy": "Ha", "forces": "Ha/Å"}
    assert "contradict the labels" in found(report, "units")


def test_training_warns_of_labels_that_are_not_in_ev(molecules, write_frames):
    path = write_frames(scaled(molecules, KCAL, KCAL))

    (warning,) = dataset(path).warnings

    assert warning.startswith("labels do not look like eV and Å: bonds are ")
    assert "kcal/mol" in warning
    assert dataset(write_frames(molecules)).warnings == ()


def test_the_command_converts_stated_units(molecules, write_frames):
    path = str(write_frames(scaled(molecules, KCAL, KCAL)))
    options = ["--energy-unit", "kcal/mol", "--forces-unit", "kcal/mol/Å"]

    wrong = CliRunner().invoke(app, ["check", path])
    right = CliRunner().invoke(app, ["check", path, *options])

    assert wrong.exit_code == 1
    assert right.exit_code == 0
    assert "converted on reading: energy in kcal/mol" in right.output
