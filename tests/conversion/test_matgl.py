"""Conversion of TensorNet of MatGL."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from equipot.conversion.convert import build, find_source, read_model
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources import matgl
from equipot.neighbors import build_graph
from tests.conversion.goldens import assert_golden

NAME = "TensorNet-MatPES-PBE-v2025.1-PES"
ELEMENTS = ["Si", "H", "O"]
CHANNELS = 4


def test_the_original_is_reproduced():
    assert_golden("matgl", f"matgl/{NAME}", NAME, "clebsch_gordan")


def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.randn(rows, columns) / columns**0.5,
        f"{name}.bias": 0.1 * torch.randn(rows),
    }


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def mixing(name: str, first: int) -> dict[str, Tensor]:
    return {
        f"{name}.linears_tensor.{k}.weight": torch.randn(CHANNELS, CHANNELS)
        for k in range(first, first + 3)
    }


def random_tensors() -> dict[str, Tensor]:
    """Tensors of a small model in float32."""
    torch.manual_seed(0)
    embedding, layer, c = "model.tensor_embedding", "model.layers.0", CHANNELS
    tensors = {
        "data_mean": torch.tensor(0.0),
        "data_std": torch.tensor(2.0),
        "element_refs.property_offset": torch.tensor([-3.0, -1.0, -2.0]).double(),
        "element_refs.onehot": torch.eye(3),
        "model.bond_expansion.rbf.cutoff": torch.tensor(5.0),
        f"{embedding}.emb.weight": torch.randn(3, c),
        **linear(f"{embedding}.emb2", c, 2 * c),
        **norm(f"{embedding}.init_norm", c),
        **linear(f"{embedding}.linears_scalar.0", 2 * c, c),
        **linear(f"{embedding}.linears_scalar.1", 3 * c, 2 * c),
        **mixing(embedding, 0),
        **linear(f"{layer}.linears_scalar.0", c, 2),
        **linear(f"{layer}.linears_scalar.1", 2 * c, c),
        **linear(f"{layer}.linears_scalar.2", 3 * c, 2 * c),
        **mixing(layer, 0),
        **mixing(layer, 3),
        **norm("model.out_norm", 3 * c),
        **linear("model.linear", c, 3 * c),
    }
    for k in (1, 2, 3):
        tensors |= linear(f"{embedding}.distance_proj{k}", c, 2)
    for part in ("layers", "gates"):
        for k in (0, 2, 4, 6):
            name = f"model.final_layer.gated.{part}.{k}"
            tensors |= linear(name, 1 if k == 6 else c, c)
    return tensors


def settings() -> dict[str, Any]:
    network = {
        "element_types": ELEMENTS, "units": CHANNELS, "ntypes_state": None,
        "dim_state_embedding": 0, "dim_state_feats": None, "include_state": False,
        "nblocks": 1, "num_rbf": 32, "max_n": 2, "max_l": 3,
        "rbf_type": "SphericalBessel", "use_smooth": True, "activation_type": "swish",
        "cutoff": 5.0, "equivariance_invariance_group": "O(3)",
        "dtype": "torch.float32", "width": 0.5, "readout_type": "weighted_atom",
        "task_type": "regression", "niters_set2set": 3, "nlayers_set2set": 3,
        "field": "node_feat", "is_intensive": False, "ntargets": 1,
    }  # fmt: skip
    model = {
        "@class": "TensorNet",
        "@module": "matgl.models._tensornet_pyg",
        "@model_version": 1,
        "init_args": network,
    }
    return {
        "@class": "Potential",
        "@module": "matgl.apps._pes_pyg",
        "@model_version": 3,
        "metadata": None,
        "kwargs": {"model": model, "calc_forces": True, "calc_repuls": False},
    }


def write(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> Path:
    (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")
    torch.save(tensors, folder / "state.pt")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, random_tensors(), settings())


@pytest.mark.parametrize("name", ["", "state.pt", "model.json"])
def test_a_folder_or_a_file_in_it_is_recognized(folder, name):
    path = folder / name

    assert find_source(path) is matgl.SOURCE
    converted = read_model(path, matgl.SOURCE)

    assert converted.statistics.elements == (1, 8, 14)
    assert converted.origin.dtype == "float32"
    assert set(converted.origin.files) == {"model.json", "state.pt"}
    assert "second derivatives jump" in converted.origin.remarks[0]
    assert build(converted).backbone.hessian_jumps == (5.0,)


def test_the_energy_of_a_free_atom_is_the_output_of_the_original(folder):
    """No edges: scale times the readout of a zero matrix, plus the offset."""
    potential = build(read_model(folder, matgl.SOURCE))
    tensors = {name: value.double() for name, value in random_tensors().items()}

    h = g = tensors["model.linear.bias"]
    for k in (0, 2, 4, 6):
        h, g = (
            tensors[f"model.final_layer.gated.{part}.{k}.weight"] @ x
            + tensors[f"model.final_layer.gated.{part}.{k}.bias"]
            for part, x in (("layers", h), ("gates", g))
        )
        if k < 6:
            h, g = torch.nn.functional.silu(h), torch.nn.functional.silu(g)
    output = 2.0 * (h * torch.sigmoid(g)).item()

    assert potential.reference_energies == pytest.approx(
        {1: -1.0 + output, 8: -2.0 + output, 14: -3.0 + output}, abs=1e-12
    )


def test_a_converted_model_predicts_finite_forces(folder):
    potential = build(read_model(folder, matgl.SOURCE))
    atoms = bulk("Si")
    atoms.rattle(0.1)

    forces = potential(build_graph(atoms, 5.0)).forces

    assert 1e-3 < forces.abs().max() < 1e3


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another model": (
        lambda v: v["kwargs"]["model"].update({"@class": "M3GNet"}),
        "@class of model is 'M3GNet'",
    ),
    "older backend": (
        lambda v: v["kwargs"]["model"].update(
            {"@module": "matgl.models._tensornet_dgl"}
        ),
        "@module of model is 'matgl.models._tensornet_dgl'",
    ),
    "another basis": (
        lambda v: v["kwargs"]["model"]["init_args"].update(rbf_type="Gaussian"),
        "rbf_type of TensorNet is 'Gaussian'",
    ),
    "rotations only": (
        lambda v: v["kwargs"]["model"]["init_args"].update(
            equivariance_invariance_group="SO(3)"
        ),
        "equivariance_invariance_group of TensorNet is 'SO\\(3\\)'",
    ),
    "repulsion": (
        lambda v: v["kwargs"].update(calc_repuls=True),
        "calc_repuls of Potential is True",
    ),
    "unknown setting": (
        lambda v: v["kwargs"]["model"]["init_args"].update(attention=4),
        "1 setting of TensorNet unknown to this conversion: attention=4",
    ),
    "no cutoff": (
        lambda v: v["kwargs"]["model"]["init_args"].pop("cutoff"),
        "TensorNet has no cutoff",
    ),
    "wrong width": (
        lambda v: v["kwargs"]["model"]["init_args"].update(units=5),
        r"emb.weight has the shape \(3, 4\), expected \(3, 5\)",
    ),
    "unknown element": (
        lambda v: v["kwargs"]["model"]["init_args"].update(element_types=["Xx"]),
        "expected symbols of elements",
    ),
    "negative cutoff": (
        lambda v: v["kwargs"]["model"]["init_args"].update(cutoff=-5),
        "cutoff of model.json: expected a positive number, got -5",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_that_the_equations_do_not_have_are_refused(tmp_path, name):
    change, message = CHANGES[name]
    values = settings()
    change(values)

    with pytest.raises(ConversionError, match=message):
        matgl.read(write(tmp_path, random_tensors(), values), None)


TENSORS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "one too many": (
        lambda t: t.update({"model.emb3.weight": torch.ones(2)}),
        r"1 tensor of the file would have no effect here.* model.emb3.weight \(2,\)",
    ),
    "one too few": (
        lambda t: t.pop("model.linear.bias"),
        "tensor model.linear.bias is missing",
    ),
    "not finite": (
        lambda t: t["model.linear.bias"].fill_(torch.nan),
        "tensor model.linear.bias is not finite",
    ),
    "mean": (lambda t: t["data_mean"].fill_(1.5), "data_mean is 1.5"),
    "cutoff of the basis": (
        lambda t: t["model.bond_expansion.rbf.cutoff"].fill_(4.0),
        "the radial functions end at 4.0 Å, the cutoff is 5.0 Å",
    ),
    "not the identity": (
        lambda t: t["element_refs.onehot"].fill_(1.0),
        "expected an identity matrix",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_not_accounted_for_are_refused(tmp_path, name):
    change, message = TENSORS[name]
    tensors = random_tensors()
    change(tensors)

    with pytest.raises(ConversionError, match=message):
        matgl.read(write(tmp_path, tensors, settings()), None)


def test_settings_that_are_no_json_are_refused(folder):
    (folder / "model.json").write_text("[" * 100_000, encoding="utf-8")

    with pytest.raises(ConversionError, match=r"model\.json"):
        matgl.read(folder, None)


def test_heads_are_refused(folder):
    with pytest.raises(ConversionError, match="no heads, got --head pbe"):
        matgl.read(folder, "pbe")
