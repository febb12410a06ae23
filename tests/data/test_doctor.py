import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console
from typer.testing import CliRunner

from equipot.cli.data import app
from equipot.config.data import KeysConfig
from equipot.data.checks.check import examine
from equipot.data.checks.facts import gather_facts
from equipot.data.checks.findings import DataReport, to_json
from equipot.data.checks.report_printing import print_report
from equipot.data.reading.labeled import parse_structure
from equipot.units import GPA_PER_EV_PER_A3

SHARED = Path(__file__).parents[3] / "shared" / "data"


def found(report: DataReport, check: str, severity: str = "error") -> str:
    """All messages of a check."""
    return "\n".join(
        f.message
        for f in report.findings
        if f.check == check and f.severity == severity
    )


def changed(frames: list[Atoms], change: Callable[[Atoms], None]) -> list[Atoms]:
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        change(atoms)
    return copies


def isolated(symbol: str) -> Atoms:
    return Atoms(symbol, info={"REF_energy": -1.0, "config_type": "IsolatedAtom"})


def test_a_sound_set_passes(metals, write_frames):
    report = examine([write_frames(metals)])

    assert report.passed
    (convention,) = [f for f in report.findings if f.check == "stress-convention"]
    assert convention.severity == "info"
    assert "positive in tension, eV/Å^3, order xx yy zz yz xz xy" in convention.message
    assert report.files[0].labels == {"energy": 40, "forces": 40, "stress": 40}
    assert report.files[0].elements == ("Cu", "Ag")
    assert list(report.minimum_distances) == ["Cu-Cu", "Cu-Ag", "Ag-Ag"]


def test_a_sound_set_of_molecules_passes(molecules, write_frames):
    report = examine([write_frames(molecules)])

    assert report.passed
    assert "determine 1 of 3 reference energies" in found(report, "references", "info")


def test_isolated_atoms_settle_what_the_compositions_leave_open(
    molecules, write_frames
):
    atoms = [isolated(symbol) for symbol in "HCO"]

    report = examine([write_frames([*atoms, *molecules])])

    (text,) = [f.message for f in report.findings if f.check == "references"]
    assert text.startswith("isolated atoms define all 3 reference energies")
    assert text.endswith("would determine 1")


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1.0, "positive in compression, eV/Å^3"),
        (GPA_PER_EV_PER_A3, "positive in tension, GPa"),
        (-10 * GPA_PER_EV_PER_A3, "positive in compression, kbar"),
        (0.0054458, "positive in tension, Hartree/Bohr^3"),
    ],
)
def test_sign_and_unit_of_the_stress_are_recognized(
    metals, write_frames, factor, words
):
    def scale(atoms):
        atoms.info["REF_stress"] = atoms.info["REF_stress"] * factor

    report = examine([write_frames(changed(metals, scale))])

    assert words in found(report, "stress-convention")


def test_a_virial_in_place_of_a_stress_is_recognized(metals, write_frames):
    def to_virial(atoms):
        atoms.info["REF_stress"] = atoms.info["REF_stress"] * -atoms.get_volume()

    report = examine([write_frames(changed(metals, to_virial))])

    assert "positive in compression" in found(report, "stress-convention")


def test_virials_given_as_such_are_right(metals, write_frames):
    def to_virial(atoms):
        atoms.info["W"] = atoms.info.pop("REF_stress") * -atoms.get_volume()

    path = write_frames(changed(metals, to_virial))

    assert examine([path], KeysConfig(virials="W")).passed


def test_another_order_of_shear_components_is_recognized(metals, write_frames):
    def reorder(atoms):
        s = np.asarray(atoms.info["REF_stress"])
        atoms.info["REF_stress"] = [
            *np.diag(s),
            *(s[0, 1], s[1, 2], s[0, 2]),  # xy yz xz, as VASP writes
        ]

    report = examine([write_frames(changed(metals, reorder))])

    assert "order xx yy zz xy yz xz" in found(report, "stress-convention")


def test_a_group_with_another_convention_is_named(metals, write_frames):
    frames = [atoms.copy() for atoms in metals]
    for n, atoms in enumerate(frames):
        atoms.info["config_type"] = "vasp" if n >= 28 else "ase"
        if n >= 28:
            atoms.info["REF_stress"] = -atoms.info["REF_stress"]

    report = examine([write_frames(frames)])

    message = found(report, "stress-convention")
    assert "in the group 'vasp' seems to be positive in compression" in message
    assert "group 'ase'" not in message


def test_stress_of_noise_is_undecided(metals, write_frames):
    rng = np.random.default_rng(0)

    def scramble(atoms):
        noise = rng.normal(size=(3, 3))
        atoms.info["REF_stress"] = noise + noise.T

    report = examine([write_frames(changed(metals, scramble))])

    assert "undecided" in found(report, "stress-convention", "info")


def disguised(atoms: Atoms, seed: int = 0) -> Atoms:
    """The same structure: shifted, permuted, rounded."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(atoms))
    copy = atoms[order]
    copy.info = dict(atoms.info)
    copy.positions += rng.normal(size=3)
    copy.positions += rng.normal(scale=1e-5, size=copy.positions.shape)
    if copy.pbc.all():
        copy.wrap()
    return copy


@pytest.mark.parametrize("kind", ["metals", "molecules"])
def test_a_structure_in_train_and_test_is_a_leak_however_disguised(
    request, write_frames, kind
):
    frames = request.getfixturevalue(kind)
    train = write_frames(frames[:20])
    test = write_frames([disguised(frames[3]), *frames[20:25]], "test.xyz")

    report = examine([train, test])

    (leak,) = [f for f in report.findings if f.check == "leakage"]
    assert leak.severity == "error"
    assert leak.message.startswith("1 structure of one file found in another as well")
    assert leak.sources == (f"{train}#3 = {test}#0",)


def test_parts_of_one_set_do_not_leak(metals, write_frames):
    train = write_frames(metals[:20])
    more = write_frames([metals[3], *metals[20:25]], "more.xyz")

    report = examine([train, more], pooled=True)

    assert report.passed
    assert "found in two of the files" in found(report, "repetition", "warning")


def test_a_rotated_copy_is_a_warning(metals, write_frames):
    turned = metals[3].copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.arrays["REF_forces"] = np.linalg.norm(
        turned.arrays["REF_forces"], axis=1, keepdims=True
    ) * [[1.0, 0, 0]]
    del turned.info["REF_stress"]
    train = write_frames(metals[:20])
    test = write_frames([turned], "test.xyz")

    report = examine([train, test])

    assert "rotated or mirrored" in found(report, "leakage", "warning")


def test_small_displacements_and_strains_are_not_duplicates(metals, write_frames):
    displaced, strained = metals[0].copy(), metals[0].copy()
    displaced.positions[0, 0] += 0.01
    strained.set_cell(strained.cell @ (np.eye(3) + 0.005 * np.eye(3)[[1, 0, 2]]), True)

    report = examine([write_frames([metals[0], displaced, strained, *metals[1:8]])])

    assert not [f for f in report.findings if f.check == "repetition"]


def test_equal_structures_with_different_energies_contradict(metals, write_frames):
    again = metals[3].copy()
    again.info["REF_energy"] += 0.5

    report = examine([write_frames([*metals[:10], again])])

    assert "by up to 31.2 meV/atom" in found(report, "contradiction")


@pytest.mark.parametrize("step", [1, -1])
def test_energies_of_the_neighboring_frame_are_recognized(metals, write_frames, step):
    frames = [atoms.copy() for atoms in metals[::2]]
    energies = np.roll([atoms.info["REF_energy"] for atoms in frames], step)
    for atoms, energy in zip(frames, energies, strict=True):
        atoms.info["REF_energy"] = energy

    report = examine([write_frames(frames)])

    name = "next" if step == 1 else "previous"
    assert f"energies that the {name} frame lists" in found(report, "energies")


def test_forces_of_the_neighboring_frame_are_recognized(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[::2]]
    forces = [atoms.arrays["REF_forces"].copy() for atoms in frames]
    for n, atoms in enumerate(frames):
        atoms.arrays["REF_forces"] = forces[n - 1]

    report = examine([write_frames(frames)])

    assert "those that the next frame lists" in found(report, "forces")


def test_swapped_columns_of_forces_are_recognized(metals, write_frames):
    def shift_columns(atoms):
        atoms.arrays["REF_forces"] = np.roll(atoms.arrays["REF_forces"], 1, axis=1)

    report = examine([write_frames(changed(metals, shift_columns))])

    assert "columns of the forces are z x y" in found(report, "forces")


def test_gradients_in_place_of_forces_are_recognized(metals, write_frames):
    def flip(atoms):
        atoms.arrays["REF_forces"] = -atoms.arrays["REF_forces"]

    report = examine([write_frames(changed(metals, flip))])

    assert "the wrong sign" in found(report, "forces")


def test_forces_in_another_unit_than_energies_are_recognized(metals, write_frames):
    def to_atomic_units(atoms):
        atoms.arrays["REF_forces"] = atoms.arrays["REF_forces"] / 51.422

    report = examine([write_frames(changed(metals, to_atomic_units))])

    assert "convert energies to eV and forces to eV/Å" in found(report, "units")


def test_energies_per_atom_are_recognized(metals, write_frames):
    def divide(atoms):
        atoms.info["REF_energy"] = atoms.info["REF_energy"] / len(atoms)

    report = examine([write_frames(changed(metals, divide))])

    assert "are the energies per atom?" in found(report, "units")


def test_zero_forces_are_placeholders_unless_symmetry_explains_them(
    metals, write_frames
):
    frames = [atoms.copy() for atoms in metals]
    frames[5].arrays["REF_forces"][:] = 0
    frames[6].arrays["REF_forces"][2] = 0
    perfect = Atoms("Cu4", cell=[3.7] * 3, pbc=True)
    perfect.set_scaled_positions(
        [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    )
    perfect.info["REF_energy"] = 0.0
    perfect.arrays["REF_forces"] = np.zeros((4, 3))

    report = examine([path := write_frames([*frames, perfect])])

    (placeholder,) = [
        f for f in report.findings if f.check == "zero-forces" and f.severity == "error"
    ]
    assert placeholder.sources == (f"{path}#5",)
    assert "1 atom in 1 structure with" in found(report, "zero-forces", "warning")


def test_constant_energies_and_zero_stress_are_placeholders(metals, write_frames):
    def hollow(atoms):
        atoms.info["REF_energy"] = 0.0
        atoms.info["REF_stress"] = np.zeros((3, 3))

    report = examine([write_frames(changed(metals[:10], hollow))])

    assert "all energies are 0.0 eV" in found(report, "constant")
    assert "all stress labels are zero" in found(report, "constant")


def test_a_key_that_is_not_there_is_an_error(metals, write_frames):
    report = examine([write_frames(metals[:5])], KeysConfig(energy="dft_energy"))

    message = found(report, "keys")
    assert "no frame has energy under 'dft_energy'" in message
    assert "REF_energy" in message


def test_labels_under_another_name_are_pointed_out(metals, write_frames):
    def rename(atoms):
        atoms.arrays["dft_forces"] = atoms.arrays.pop("REF_forces")

    report = examine([write_frames(changed(metals[:5], rename))])

    assert "pass --forces-key dft_forces" in found(report, "keys")


def test_a_virial_is_not_called_a_stress(metals, write_frames):
    def rename(atoms):
        atoms.info["virial"] = -atoms.info.pop("REF_stress") * atoms.get_volume()

    report = examine([write_frames(changed(metals[:5], rename))])

    assert "pass --virials-key virial" in found(report, "keys", "warning")


def test_labels_are_found_in_any_case_and_structures_of_weight_zero_left_out(
    metals, write_frames
):
    def rename(atoms):
        atoms.info["ref_ENERGY"] = atoms.info.pop("REF_energy")

    frames = changed(metals[:6], rename)
    frames[3].info.update(config_weight=0, ref_ENERGY=1e4)

    report = examine([write_frames(frames)])

    assert report.files[0].structures == 5
    assert "energy" not in found(report, "keys") + found(report, "labels", "warning")


def test_atoms_without_a_force_are_counted(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[:6]]
    frames[2].arrays["REF_forces"][:3] = np.nan
    frames[2].info["config_weight"] = 2

    report = examine([write_frames(frames)])

    assert "3 atoms in 1 structures have no force" in found(report, "labels", "info")
    assert found(report, "keys", "info") == ""


def test_unreadable_frames_are_counted_and_the_rest_examined(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[:6]]
    frames[2].info["REF_energy"] = np.inf
    frames[4].positions[0] = np.inf

    report = examine([write_frames(frames)])

    assert "#2: REF_energy contains infinite values" in found(report, "reading")
    assert "2 frames are unusable" in found(report, "reading")
    assert report.files[0].structures == 4


def test_partial_labels_outliers_and_close_atoms_are_pointed_out(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[:20]]
    del frames[0].info["REF_energy"]
    frames[1].info["REF_energy"] += 100.0
    frames[2].arrays["REF_forces"][0] += 80.0
    frames[3].positions[0] = frames[3].positions[1] + [0, 0, 0.5]

    report = examine([write_frames(frames)])

    assert "energy labels on 19 of 20" in found(report, "labels", "warning")
    outliers = found(report, "outliers", "warning")
    assert "energies of 1 structure are outliers" in outliers
    assert "forces of up to" in outliers
    assert "do not sum to zero" in found(report, "net-force", "warning")
    assert "down to Cu-Cu 0.5 Å" in found(report, "distances")


def test_a_molecule_turned_without_its_forces_is_noticed(molecules, write_frames):
    turned = molecules[0].copy()
    turned.rotate(90, "x")

    report = examine([write_frames([turned, *molecules[1:]])])

    assert "exert a torque" in found(report, "torque", "warning")


def test_energies_of_32_bits_are_noticed(metals, write_frames):
    def round_energy(atoms):
        atoms.info["REF_energy"] = float(np.float32(atoms.info["REF_energy"] - 4e4))

    report = examine([write_frames(changed(metals, round_energy))])

    assert "rounded to 32 bits" in found(report, "precision", "warning")


def test_incomplete_isolated_atoms_are_an_error(metals, write_frames):
    report = examine([write_frames([isolated("Cu"), *metals[:6]])])

    assert "IsolatedAtom rows, but none for Ag" in found(report, "references")
    assert report.files[0].isolated == 1


def test_fingerprints_do_not_depend_on_place_orientation_or_order(metals):
    rng = np.random.default_rng(1)
    structure = parse_structure(metals[1], KeysConfig(), "#0")
    moved = metals[1][rng.permutation(len(metals[1]))]
    moved.positions += 1.3
    moved.rotate(70, (1, 1, 3), rotate_cell=True)

    first = gather_facts(structure, 0)
    second = gather_facts(replace(structure, atoms=moved), 0)

    assert np.abs(first.fingerprint - second.fingerprint).max() < 1e-10
    assert np.abs(first.orientation - second.orientation).max() > 3e-4


def test_the_report_prints_and_becomes_json(metals, write_frames):
    report = examine([write_frames([*metals[:10], metals[0]])])
    stream = StringIO()

    print_report(report, Console(file=stream, width=120))
    tree = json.loads(to_json(report))

    assert "✓ no errors that would degrade a training run" in stream.getvalue()
    assert "train.xyz#0 = train.xyz#10" in stream.getvalue()
    assert tree["passed"] is True
    assert tree["files"][0]["structures"] == 11


def test_the_report_fits_a_narrow_terminal(metals, write_frames):
    labeled = [*(m.copy() for m in metals[:10]), isolated("Cu"), isolated("Ag")]
    del labeled[3].info["REF_stress"]
    stream = StringIO()

    print_report(examine([write_frames(labeled)]), Console(file=stream, width=80))

    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines[0] == "train.xyz"
    assert lines[1] == "  10 structures + 2 isolated atoms · 16 atoms · Cu Ag"
    assert "(on 9 of 10)" in " ".join(lines[2:4])


def test_the_command_exits_with_1_if_there_is_an_error(metals, write_frames):
    path = str(write_frames(metals[:10]))
    report = Path(path).with_name("report.json")

    good = CliRunner().invoke(app, ["check", path, "--json", str(report)])
    bad = CliRunner().invoke(app, ["check", path, "--energy-key", "E"])

    assert good.exit_code == 0
    assert json.loads(report.read_text(encoding="utf-8"))["passed"]
    assert bad.exit_code == 1
    assert "would degrade a training run" in bad.output


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the labeled sets in ../shared")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("mlearn/Si_train.extxyz", "order xx yy zz yz xz xy"),
        ("sio2_batio3_response/SiO2_test.extxyz", "order xx yy zz yz xz xy"),
    ],
)
def test_labels_of_quantum_chemistry_follow_the_convention(file, words):
    report = examine([SHARED / file])

    message = found(report, "stress-convention", "info")
    assert f"positive in tension, eV/Å^3, {words}" in message
    assert report.passed


def test_a_file_given_twice_is_refused(metals, write_frames):
    path = write_frames(metals[:4])

    with pytest.raises(ValueError, match="a file is listed twice"):
        examine([path, path])
