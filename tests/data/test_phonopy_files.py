"""Force constants of phonopy as labels: every format, and what is refused."""

import lzma

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from ase.units import Bohr, Rydberg
from torch.testing import assert_close

from equipot.cli.data import force_constants as command
from equipot.config.data import KeysConfig
from equipot.data.dataset import make_example
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import read_structures
from equipot.data.reading.phonopy_files import read_force_constants
from equipot.data.statistics import compute_statistics
from equipot.evaluation.hessians import derivative_hessians
from equipot.training.loss import EnergyForcesStressLoss, LossTerm
from equipot.training.step import make_batch, train_step
from tests.potentials import random_potential

phonopy = pytest.importorskip("phonopy", reason="needs equipot[phonons]")
file_io = pytest.importorskip("phonopy.file_IO")


def springs(atoms: Atoms) -> np.ndarray:
    """Force constants in eV/Å^2 of springs between first and second neighbors."""
    constants = np.zeros((len(atoms), len(atoms), 3, 3))
    for i, j, d in zip(*neighbor_list("ijD", atoms, 4.2), strict=True):
        block = (3.0 if np.linalg.norm(d) < 3 else 0.7) * np.outer(d, d) / (d @ d)
        constants[i, i] += block
        constants[i, j] -= block
    return constants


def as_atoms(cell) -> Atoms:
    return Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)


def salt(copies=2, calculator=None, length=1.0):
    """Phonopy object of NaCl, with force constants of springs in eV/Å^2."""
    cell = bulk("NaCl", "rocksalt", a=5.6)
    made = phonopy.Phonopy(
        phonopy.structure.atoms.PhonopyAtoms(
            cell.get_chemical_symbols(),
            cell=cell.cell.array / length,
            scaled_positions=cell.get_scaled_positions(),
        ),
        supercell_matrix=np.eye(3, dtype=int) * copies,
        primitive_matrix=np.eye(3),
        calculator=calculator,
    )
    supercell = as_atoms(made.supercell)
    supercell.set_cell(supercell.cell * length, scale_atoms=True)
    return made, springs(supercell)


def matrix(constants):
    return constants.transpose(0, 2, 1, 3).reshape(3 * len(constants), -1)


def saved(made, folder, **settings):
    path = folder / "phonopy_params.yaml"
    made.save(path, settings=settings)
    return path


def compact(made, constants):
    return constants[made.primitive.p2s_map]


def displace(made, constants, **options):
    made.generate_displacements(distance=0.02, **options)
    at_rest = made.supercell.positions
    made.forces = np.stack(
        [
            -np.einsum("ijab,jb->ia", constants, cell.positions - at_rest)
            for cell in made.supercells_with_displacements
        ]
    )


@pytest.mark.parametrize(
    "form", ["yaml", "xz", "text", "hdf5", "single", "random", "FORCE_SETS"]
)
def test_every_format_gives_the_same_hessian(tmp_path, form):
    made, constants = salt()
    extra = {}
    match form:
        case "yaml" | "xz":
            made.force_constants = compact(made, constants)
            path = saved(made, tmp_path, force_constants=True)
            if form == "xz":
                content = path.read_bytes()
                path = tmp_path / "phonopy_params.yaml.xz"
                path.write_bytes(lzma.compress(content))
        case "text":
            path = saved(made, tmp_path)
            extra["force_constants"] = tmp_path / "FORCE_CONSTANTS"
            file_io.write_FORCE_CONSTANTS(constants, tmp_path / "FORCE_CONSTANTS")
        case "hdf5":
            path = saved(made, tmp_path)
            extra["force_constants"] = tmp_path / "force_constants.hdf5"
            file_io.write_force_constants_to_hdf5(
                compact(made, constants),
                extra["force_constants"],
                p2s_map=made.primitive.p2s_map,
            )
        case "single" | "FORCE_SETS":
            displace(made, constants)
            path = saved(made, tmp_path, force_sets=form == "single")
            if form == "FORCE_SETS":
                extra["force_sets"] = tmp_path / "FORCE_SETS"
                file_io.write_FORCE_SETS(made.dataset, extra["force_sets"])
        case "random":
            displace(made, constants, number_of_snapshots=20, random_seed=1)
            path = saved(made, tmp_path, force_sets=True)

    found = read_force_constants(path, **extra)

    accuracy = {"FORCE_SETS": 1e-6, "random": 1e-6}.get(form, 1e-8)
    np.testing.assert_allclose(found.hessian, matrix(constants), atol=accuracy)
    assert found.asymmetry < 1e-6
    if form in {"single", "FORCE_SETS", "random"}:
        assert len(found.displaced) == len(made.supercells_with_displacements)
        moved = found.displaced[0].positions - found.supercell.positions
        np.testing.assert_allclose(
            found.displaced[0].arrays["REF_forces"].ravel(),
            -matrix(constants) @ moved.ravel(),
            atol=1e-8,
        )


def test_units_of_other_programs_are_converted(tmp_path):
    made, constants = salt(calculator="qe", length=Bohr)
    made.force_constants = compact(made, constants) / (Rydberg / Bohr**2)

    found = read_force_constants(saved(made, tmp_path, force_constants=True))

    np.testing.assert_allclose(found.hessian, matrix(constants), rtol=1e-6, atol=1e-9)
    assert found.supercell.cell.lengths()[0] == pytest.approx(5.6 * 2**0.5)


def test_labels_are_symmetrized(tmp_path):
    made, constants = salt()
    noise = np.random.default_rng(0).normal(size=(2, 16, 3, 3))
    made.force_constants = compact(made, constants) + 0.05 * noise

    found = read_force_constants(saved(made, tmp_path, force_constants=True))

    assert 1e-3 < found.asymmetry < 0.1
    assert 1e-3 < found.sum_rule < 0.1
    h = found.hessian
    np.testing.assert_allclose(h, h.T, rtol=0, atol=0)
    np.testing.assert_allclose(h.reshape(48, 16, 3).sum(1), 0, atol=1e-13)


def test_force_constants_of_another_supercell_are_refused(tmp_path):
    made, _ = salt()
    _, larger = salt(copies=3)
    file_io.write_FORCE_CONSTANTS(larger, tmp_path / "FORCE_CONSTANTS")

    with pytest.raises(DataError, match=r"shape \(54, 54, 3, 3\), expected"):
        read_force_constants(saved(made, tmp_path), tmp_path / "FORCE_CONSTANTS")


@pytest.mark.parametrize("form", ["full", "compact"])
def test_another_order_of_atoms_is_refused(tmp_path, form):
    made, constants = salt()
    order = np.random.default_rng(0).permutation(16)
    shuffled = constants[order][:, order]
    if form == "compact":
        shuffled = constants[made.primitive.p2s_map][:, order]
    made.force_constants = shuffled

    with pytest.raises(DataError, match=r"not invariant .* order of atoms"):
        read_force_constants(saved(made, tmp_path, force_constants=True))


def test_swapped_elements_are_refused(tmp_path):
    made, constants = salt()
    made.force_constants = compact(made, constants)
    path = saved(made, tmp_path, force_constants=True)
    _, middle, after = path.read_text().partition("\nsupercell:")
    middle += after.partition("\nforce_constants")[0]
    swapped = middle.replace("Na", "X").replace("Cl", "Na").replace("X", "Cl")
    path.write_text(path.read_text().replace(middle, swapped))

    with pytest.raises(DataError, match="another order of atoms"):
        read_force_constants(path)


def test_an_unstable_site_is_refused(tmp_path):
    made, constants = salt()
    made.force_constants = -compact(made, constants)

    with pytest.raises(DataError, match="expected a positive number"):
        read_force_constants(saved(made, tmp_path, force_constants=True))


def test_files_without_forces_are_refused(tmp_path):
    made, _ = salt()
    made.generate_displacements()

    with pytest.raises(DataError, match="neither force constants nor forces"):
        read_force_constants(saved(made, tmp_path))


def test_objects_in_a_file_are_refused(tmp_path):
    path = tmp_path / "phonopy_params.yaml"
    path.write_text("phonopy: !!python/object/apply:os.mkdir [planted]\n")

    with pytest.raises(DataError, match="could not determine a constructor"):
        read_force_constants(path)

    assert not (tmp_path / "planted").exists()


def test_steps_on_force_constants_lower_the_errors_of_frequencies(tmp_path, capsys):
    made, constants = salt()
    made.force_constants = compact(made, constants)
    path = saved(made, tmp_path, force_constants=True)
    command([path], tmp_path / "salt.extxyz", relaxed=True)
    assert "mode: atoms" in capsys.readouterr().out

    (structure,) = read_structures(
        tmp_path / "salt.extxyz", KeysConfig(), tmp_path / "salt.npz"
    )
    example = make_example(structure, 4.2)
    assert compute_statistics([example]).largest_force is None  # no limit for MD
    batch = make_batch([example])
    student = random_potential((11, 17), cutoff=4.2, lmax=1, num_layers=1).train()
    loss = EnergyForcesStressLoss(
        {
            "forces": LossTerm(((0, 1.0),)),
            "hessian": LossTerm(((0, 1.0),), mode="atoms", samples=2),
        }
    )

    def error():
        """Mean absolute error of the frequencies, over root u."""
        (found,) = derivative_hessians(student, batch.graph)
        root = np.repeat(structure.atoms.get_masses(), 3) ** -0.5
        values = [
            np.linalg.eigvalsh(h * root[:, None] * root)
            for h in (found, matrix(constants))
        ]
        a, b = (np.sign(v) * np.sqrt(np.abs(v)) for v in values)
        return np.abs(a - b).mean()

    before = error()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for step in range(25):
        train_step(
            student,
            optimizer,
            loss,
            batch,
            epoch=0,
            gradient_clip=None,
            key=(step,),
        )

    assert error() < 0.6 * before
    assert_close(structure.labels.forces, torch.zeros(16, 3, dtype=torch.float64))
