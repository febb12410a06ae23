"""Converted models of MACE against its formulas, on files that are written here."""

from dataclasses import replace

import pytest
import torch
from ase import Atoms

from equipot.checkpoint.file import load_potential
from equipot.conversion.convert import build, find_source, read_model, save_converted
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources.mace import SOURCE
from equipot.models.build import with_backend
from equipot.neighbors import build_graph
from tests.conversion.mace_files import Settings, tiny_model, write
from tests.conversion.mace_formulas import energy

MOLECULE = Atoms("CHOH", [[0, 0, 0], [0, 1.1, 0], [1.2, -0.3, 0.2], [0.5, -0.4, 1.3]])
VARIANTS = {
    "old": Settings(),
    "residual": Settings(kinds=("Residual", "Residual"), heads=("Default",)),
    "never_residual": Settings(kinds=("", ""), scale_shift=False),
    "density": Settings(
        kinds=("Density", "DensityResidual"), transform="Agnesi", repulsion=True
    ),
    "late_cutoff": Settings(
        kinds=("DensityResidual", "Density"), transform="Soft", heads=("x",),
        apply_cutoff=False,
    ),
    "heads": Settings(heads=("a", "b", "c"), repulsion=True),
    "tanh": Settings(gate=torch.tanh),
    "one_layer": Settings(kinds=("Residual",)),
    "three_layers": Settings(kinds=("", "Residual", "Residual"), correlation=2),
    "fewer_channels_sent": Settings(sent=1),
    "degrees_to_2": Settings(lmax=2, hidden=2, correlation=2),
    "repulsion": Settings(repulsion=True, scale_shift=False),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", VARIANTS)
def test_energy_and_forces_are_those_of_the_formulas(name, tmp_path):
    settings = VARIANTS[name]
    model = tiny_model(settings)
    path = write(model, tmp_path / "tiny.model")
    heads = settings.heads if settings.heads and len(settings.heads) > 1 else (None,)

    for index, head in enumerate(heads):
        converted = read_model(path, find_source(path), head)
        prediction = build(converted)(build_graph(MOLECULE, 3.0))

        positions = torch.tensor(MOLECULE.positions, requires_grad=True)
        expected = energy(model, MOLECULE, positions, index)
        (gradient,) = torch.autograd.grad(expected, positions)
        assert gradient.abs().max() > 0.01
        scale = max(1.0, float(gradient.abs().max()))
        assert abs(prediction.energy.item() - expected.item()) < 1e-11 * scale
        assert (prediction.forces + gradient).abs().max() < 1e-11 * scale


@pytest.mark.parametrize("number", [1, 6, 8])
def test_a_free_atom_has_the_energy_of_the_formulas(number, tmp_path):
    model = tiny_model(Settings(kinds=("Residual", "Residual")))
    path = write(model, tmp_path / "tiny.model")
    atom = Atoms([number], [[0, 0, 0]])

    potential = build(read_model(path, SOURCE))

    found = potential(build_graph(atom, 3.0), ("energy",)).energy.item()
    expected = energy(model, atom, torch.zeros(1, 3)).item()
    assert abs(found - expected) < 1e-12


@pytest.mark.parametrize("name", ["density", "degrees_to_2"])
def test_backends_agree_on_a_converted_model(name, tmp_path):
    path = write(tiny_model(VARIANTS[name]), tmp_path / "tiny.model")
    potential = build(read_model(path, SOURCE))
    graph = build_graph(MOLECULE, 3.0)

    other = with_backend(potential, "fused")(graph)

    reference = potential(graph)
    torch.testing.assert_close(other.energy, reference.energy, rtol=1e-13, atol=1e-11)
    torch.testing.assert_close(other.forces, reference.forces, rtol=1e-11, atol=1e-11)


def test_a_converted_model_is_the_same_after_saving(tmp_path):
    path = write(tiny_model(VARIANTS["density"]), tmp_path / "tiny.model")
    converted = read_model(path, SOURCE)
    potential = build(converted)

    save_converted(tmp_path / "m.safetensors", converted, potential)
    loaded = load_potential(
        tmp_path / "m.safetensors", device="cpu", backend="clebsch_gordan"
    )

    graph = build_graph(MOLECULE, 3.0)
    same = torch.equal(loaded(graph).forces, potential(graph).forces)
    assert same


def test_hessian_of_a_converted_model_is_the_derivative_of_forces(tmp_path):
    path = write(tiny_model(VARIANTS["late_cutoff"]), tmp_path / "tiny.model")
    potential = build(read_model(path, SOURCE))
    graph = build_graph(MOLECULE, 3.0)

    hessian = potential(graph, ("hessian",)).hessian[0].reshape(12, 12)

    step = 1e-4
    for column in range(12):
        moved = []
        for sign in (1, -1):
            atoms = MOLECULE.copy()
            atoms.positions.reshape(-1)[column] += sign * step
            moved.append(potential(build_graph(atoms, 3.0)).forces.reshape(-1))
        expected = -(moved[0] - moved[1]) / (2 * step)
        torch.testing.assert_close(hessian[:, column], expected, rtol=1e-5, atol=1e-5)


def test_float32_originals_keep_their_numbers(tmp_path):
    settings = replace(VARIANTS["density"], dtype=torch.float32)
    model = tiny_model(settings)
    model.atomic_energies_fn.double()  # as in some published files
    path = write(model, tmp_path / "tiny.model")

    converted = read_model(path, SOURCE)

    assert converted.origin.dtype == "float32"
    found = build(converted)(build_graph(MOLECULE, 3.0)).energy.item()
    expected = energy(model.double(), MOLECULE, torch.tensor(MOLECULE.positions))
    # couplings of the file were rounded: they are not quite equivariant
    assert abs(found - expected.item()) < 1e-5


def test_a_head_must_be_chosen_where_there_are_several(tmp_path):
    path = write(tiny_model(VARIANTS["heads"]), tmp_path / "tiny.model")

    with pytest.raises(ConversionError, match="heads a, b, c: choose one with --head"):
        SOURCE.read(path, None)
    with pytest.raises(ConversionError, match="no head 'd', only a, b, c"):
        SOURCE.read(path, "d")
    assert SOURCE.read(path, "b").origin.head == "b"
