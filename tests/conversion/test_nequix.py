"""Conversion of Nequix."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor
from torch.nn.functional import one_hot, silu

from equipot.conversion.convert import build, find_source, read_model
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources import nequix
from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import build_graph
from equipot.nn import polynomial_envelope
from tests.conversion.convolutions import bessel, convolve, gate, linear, paths_of
from tests.conversion.goldens import assert_golden

GAIN = 1.6765620560798837
NUMBERS = [14, 1, 8]
HIDDEN = [4, 3, 1]


@pytest.mark.parametrize("backend", ["clebsch_gordan", "fused"])
@pytest.mark.parametrize("name", ["nequix-mp-1", "nequix-mp-1-pft", "nequix-oam-1"])
def test_the_original_is_reproduced(name, backend):
    assert_golden("nequix", f"nequix/{name}.nqx", name, backend)


def settings() -> dict[str, Any]:
    return {
        "cutoff": 4.0, "atomic_numbers": NUMBERS, "avg_n_neighbors": 7.0, "scale": 0.8,
        "shift": -0.3, "hidden_irreps": "4x0e + 3x1o + 1x2e", "lmax": 3, "n_layers": 3,
        "radial_basis_size": 3, "radial_mlp_size": 5, "radial_mlp_layers": 2,
        "radial_polynomial_p": 6.0, "index_weights": False, "layer_norm": True,
        "optimizer": "muon", "learning_rate": 0.01, "train_path": ["data/a", "data/b"],
    }  # fmt: skip


def channels(header: dict[str, Any]) -> list[list[int]]:
    inner = [HIDDEN] * (header["n_layers"] - 1)
    return [[len(NUMBERS)], *inner, HIDDEN[:1]]


def paths(header: dict[str, Any], layer: int) -> list[tuple[int, int, int]]:
    before, after = channels(header)[layer : layer + 2]
    targets, degrees = range(len(after)), range(len(before))
    found = paths_of(degrees, header["lmax"], targets, odd=False)
    return sorted(found, key=lambda path: path[2])


def random_arrays(header: dict[str, Any]) -> list[Tensor]:
    """Arrays in float32, in the order of the format."""
    torch.manual_seed(1)
    arrays = [torch.tensor([-5.0, -1.0, -3.0])]
    for k in range(header["n_layers"]):
        before, after = channels(header)[k : k + 2]
        update = [sum(after), *after[1:]]
        columns = sum(before[path[0]] for path in paths(header, k))
        width = header["radial_mlp_size"]
        widths = [header["radial_basis_size"], *[width] * header["radial_mlp_layers"]]
        for rows, count in zip(widths, [*widths[1:], columns], strict=True):
            arrays.append(2 * torch.randn(rows, count) / rows**0.5)
        arrays += [torch.randn(c, c) for c in before]
        for n, count in enumerate(update):
            rows = sum(before[path[0]] for path in paths(header, k) if path[2] == n)
            arrays.append(torch.randn(rows, count))
        of_elements = [len(NUMBERS)] if header["index_weights"] else []
        for shape in zip(before, update, strict=False):
            arrays.append(torch.randn(*of_elements, *shape))
        if header["layer_norm"]:
            arrays += [1 + 0.1 * torch.randn(count) for count in update]
    return [*arrays, torch.randn(HIDDEN[0], 1)]


def write(path: Path, header: dict[str, Any], arrays: list[Any]) -> Path:
    stream = io.BytesIO()
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays:
        np.save(stream, np.asarray(array))
    path.write_bytes(stream.getvalue())
    return path


def energies(header: dict[str, Any], arrays: list[Tensor], atoms: Atoms) -> Tensor:
    """Energies of the atoms, from the equations of the original."""
    rest = iter([array.double() for array in arrays])
    cutoff, graph = header["cutoff"], build_graph(atoms, header["cutoff"])
    references = next(rest)
    z = torch.tensor([NUMBERS.index(n) for n in atoms.numbers])
    count = torch.arange(1.0, header["radial_basis_size"] + 1, dtype=torch.float64)
    roots = count * math.pi / cutoff
    lengths = edge_vectors(graph).norm(dim=1, keepdim=True)
    basis = bessel(graph, roots, cutoff) * polynomial_envelope(lengths / cutoff, 6)
    x = {0: one_hot(z, len(NUMBERS)).double()[:, None]}
    for k in range(header["n_layers"]):
        before, after = channels(header)[k : k + 2]
        radial = basis
        for n in range(header["radial_mlp_layers"] + 1):
            radial = (silu(radial) if n else radial) @ next(rest)
        maps = [{n: next(rest) for n in range(len(before))}]
        maps.append({n: next(rest) for n in range(len(after))})
        maps.append({n: next(rest) for n in range(min(len(before), len(after)))})
        message = convolve(linear(x, maps[0]), graph, 3, radial, paths(header, k))
        if header["index_weights"]:
            skip = {
                n: torch.einsum("nmc,ncd->nmd", x[n], w[z]) / w.shape[1] ** 0.5
                for n, w in maps[2].items()
            }
        else:
            skip = linear(x, maps[2])
        scale = header["avg_n_neighbors"] ** -0.5
        x = {
            n: part * scale + skip.get(n, 0.0)
            for n, part in linear(message, maps[1]).items()
        }
        if header["layer_norm"]:
            norm = sum(
                part.square().sum((1, 2)) / (2 * n + 1) ** 2 for n, part in x.items()
            )
            norm = (norm / len(x) + 1e-12) ** -0.5
            x = {n: part * norm[:, None, None] * next(rest) for n, part in x.items()}
        x = gate(x, after, GAIN)
    readout = next(rest)
    out = x[0][:, 0] @ readout / len(readout) ** 0.5
    return out[:, 0] * header["scale"] + header["shift"] + references[z]


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("SiO", "zincblende", a=4.3).repeat((2, 1, 1))
    atoms.numbers[0] = 1
    atoms.rattle(0.2, seed=3)
    return atoms


@pytest.mark.parametrize(
    "update",
    [{}, {"layer_norm": False}, {"n_layers": 1}, {"index_weights": True}],
    ids=["as published", "no norm", "one layer", "matrices of elements"],
)
def test_energies_are_those_of_the_equations(tmp_path, crystal, update):
    header = settings() | update
    arrays = random_arrays(header)
    path = write(tmp_path / "m.nqx", header, arrays)
    alone = Atoms("O", cell=20 * np.eye(3), pbc=True)

    assert find_source(path) is nequix.SOURCE
    potential = build(read_model(path, nequix.SOURCE))

    for atoms in (crystal, alone):
        found = potential(build_graph(atoms, 4.0), ("energy",)).energies
        expected = energies(header, arrays, atoms)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_what_has_no_effect_is_listed_with_the_reason(tmp_path):
    header = settings() | {"atom_energies": {"1": -1.0}}
    path = write(tmp_path / "m.nqx", header, random_arrays(header))

    origin = read_model(path, nequix.SOURCE).origin

    assert origin.dtype == "float32"
    assert origin.training["train_path"] == "['data/a', 'data/b']"
    lines = " ".join(origin.without_effect)
    assert "Nequix.atom_energies: the original evaluates the array" in lines
    assert "Nequix.learning_rate: describes the training" in lines


def test_scalars_that_repeat_the_settings_are_recognized(tmp_path):
    header = settings()
    numbers = [np.float64(value) for value in nequix._numbers(header)]
    arrays = random_arrays(header)
    good = write(tmp_path / "good.nqx", header, [*arrays, *numbers])
    numbers[3] += 1
    bad = write(tmp_path / "bad.nqx", header, [*arrays, *numbers])

    lines = read_model(good, nequix.SOURCE).origin.without_effect
    with pytest.raises(ConversionError, match="which are not the numbers of the"):
        read_model(bad, nequix.SOURCE)

    assert any(line.startswith(f"{len(numbers)} scalars") for line in lines)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown setting": ({"attention": 4}, "1 setting of Nequix unknown .* attention=4"),
    "matrices of elements": (
        {"index_weights": True},
        r"skip.0 has the shape \(3, 8\)",
    ),
    "repulsion": ({"add_repulsion": True}, "add_repulsion of Nequix is True"),
    "rough envelope": ({"radial_polynomial_p": 2.0}, "radial_polynomial_p is 2"),
    "broken envelope": ({"radial_polynomial_p": 6.5}, "expected an integer"),
    "parity": ({"hidden_irreps": "4x0e + 3x1e"}, "degrees 0, 1, ... of natural"),
    "more vectors": ({"hidden_irreps": "4x0e + 5x1o"}, "increase with the degree"),
    "few harmonics": ({"lmax": 1}, "degrees above lmax 1"),
    "no elements": ({"atomic_numbers": "all"}, "expected a list of atomic numbers"),
    "one twice": ({"atomic_numbers": [1, 1, 8]}, "expected different atomic numbers"),
    "no scale": ({"scale": float("inf")}, "scale is inf: expected a finite number"),
    "no cutoff": ({"cutoff": -4.0}, "cutoff is -4: expected a positive number"),
    "text": ({"n_layers": "three"}, "n_layers is 'three': expected a number"),
    "widths": ({"radial_mlp_size": 6}, r"layers.0.radial.0 has the shape \(3, 5\)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_the_equations_do_not_have_are_refused(change, tmp_path):
    update, message = CHANGES[change]
    path = write(tmp_path / "m.nqx", settings() | update, random_arrays(settings()))

    with pytest.raises(ConversionError, match=message):
        read_model(path, nequix.SOURCE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays[:-1], "tensor readout is missing"),
        (lambda arrays: [*arrays, torch.ones(2)], r"1 tensor .*: array \d+ \(2,\)"),
        (lambda arrays: arrays[::-1], "atom_energies has the shape"),
        (lambda arrays: [arrays[0] * np.nan, *arrays[1:]], "is not finite"),
    ],
    ids=["missing", "too many", "order", "not finite"],
)
def test_arrays_that_do_not_fit_are_refused(
    change: Callable[[list[Tensor]], list[Tensor]], message: str, tmp_path: Path
):
    path = write(tmp_path / "m.nqx", settings(), change(random_arrays(settings())))

    with pytest.raises(ConversionError, match=message):
        read_model(path, nequix.SOURCE)


def test_a_head_is_refused(tmp_path):
    path = write(tmp_path / "m.nqx", settings(), random_arrays(settings()))

    with pytest.raises(ConversionError, match="have no heads"):
        read_model(path, nequix.SOURCE, "pbe")
