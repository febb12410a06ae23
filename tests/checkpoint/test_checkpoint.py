"""Potentials on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import equipot.checkpoint.upgrade
from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.file import (
    load_domain,
    load_potential,
    read_header,
    save_potential,
)
from equipot.config.model import NequIPConfig, TensorNetConfig
from equipot.domain import FeatureDistribution
from equipot.graph.scatter import scatter_sum
from equipot.models import build_potential
from equipot.models.architectures import ARCHITECTURES
from equipot.models.backbone import Backbone
from equipot.neighbors import build_graph
from equipot.storage.tensor_file import read_tensor_file, write_tensor_file
from tests.potentials import statistics_of

CONFIG = NequIPConfig(
    cutoff=4.0,
    lmax=1,
    channels=4,
    num_layers=2,
    radial_hidden=(8,),
    backend="clebsch_gordan",
)
STATISTICS = statistics_of((1, 6, 8), 4.0)


@pytest.fixture
def potential():
    return build_potential(CONFIG, STATISTICS, seed=5)


@pytest.fixture
def path(tmp_path, potential):
    path = tmp_path / "model.safetensors"
    extra = {"provenance": {"data": "none"}}
    save_potential(path, potential, CONFIG, STATISTICS, extra)
    return path


def rewrite(path, change):
    """Alter the header of a file and sign it again."""
    header, tensors = read_tensor_file(path, "potential")
    header.pop("sha256")
    header.pop("kind")
    write_tensor_file(path, "potential", change(header), tensors)


def test_loaded_potential_predicts_the_same_bits(path, potential, ethanol):
    graph = build_graph(ethanol, CONFIG.cutoff)

    loaded = load_potential(path, device="cpu")

    expected = potential.eval()(graph)
    prediction = loaded(graph)
    assert torch.equal(prediction.energy, expected.energy)
    assert torch.equal(prediction.forces, expected.forces)
    assert not loaded.training


def test_header_tells_what_the_weights_mean(path):
    header = read_header(path)

    assert header["format_version"] == 5
    assert header["model"]["cutoff"] == 4.0
    assert header["statistics"]["elements"] == [1, 6, 8]
    assert header["units"]["stress"] == "eV/Å^3, positive in tension"
    assert header["provenance"] == {"data": "none"}
    assert len(header["sha256"]) == 64


def test_float64_computes_with_constants_of_full_precision(path, ethanol):
    """The weights are float32; everything else must not be."""
    loaded = load_potential(path, device="cpu", dtype="float64")
    twin = build_potential(
        CONFIG.model_copy(update={"dtype": "float64"}), STATISTICS, seed=5
    ).eval()
    twin.load_state_dict({k: v.float().double() for k, v in twin.state_dict().items()})
    graph = build_graph(ethanol, CONFIG.cutoff)

    assert loaded.dtype == torch.float64
    assert_close(loaded(graph).forces, twin(graph).forces, rtol=0, atol=1e-13)


def test_backend_is_a_choice_at_loading(path):
    with pytest.raises(ValueError, match="unknown tensor-product backend 'abacus'"):
        load_potential(path, backend="abacus")
    assert load_potential(path, backend="clebsch_gordan").dtype == torch.float32


class Widening(Backbone):
    """Has more scalars after its last layer than the configuration has channels."""

    def __init__(self, config, atomic_numbers, average_num_neighbors, products):
        super().__init__(config.cutoff, [config.channels, 6], [0, 0])
        self.layers = nn.ModuleList(
            nn.Embedding(len(atomic_numbers), channels) for channels in self.channels
        )

    def forward(self, elements, edges):
        fading = edges.pairs.expand((1 - edges.lengths / self.cutoff) ** 3)
        neighbors = scatter_sum(fading, edges.index[1], len(elements))
        return [(layer(elements) * neighbors)[:, None] for layer in self.layers]


def test_the_domain_has_the_features_of_the_last_layer(tmp_path, monkeypatch, ethanol):
    monkeypatch.setitem(ARCHITECTURES, "tensornet", Widening)
    config = TensorNetConfig(cutoff=4.0, channels=4, num_layers=2)
    potential = build_potential(config, STATISTICS, seed=5).eval()
    graph = build_graph(ethanol, config.cutoff)
    features = potential(graph, {"energy", "features"}).features.detach().numpy()
    cloud = FeatureDistribution.fit(ethanol.numbers, features.astype(np.float64))
    path = tmp_path / "model.safetensors"

    save_potential(path, potential, config, STATISTICS, features=cloud)

    assert features.shape[1] == 6
    assert load_domain(path).features.means.shape == (3, 6)


def test_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_potential(path)


def test_foreign_file_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weights": torch.zeros(2)}, path)

    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_potential(path)


def test_newer_format_is_refused_with_what_to_do(path):
    rewrite(path, lambda header: {**header, "format_version": 99})

    with pytest.raises(CheckpointError, match=r"format version 99.*upgrade equipot"):
        read_header(path)


def test_a_format_version_that_is_none_is_refused(path):
    rewrite(path, lambda header: {**header, "format_version": "new"})

    with pytest.raises(CheckpointError, match="no valid format version, got 'new'"):
        read_header(path)


def test_older_format_is_upgraded(path, monkeypatch):
    """Version 6 is said to have renamed a key of version 5."""
    monkeypatch.setattr(equipot.checkpoint.upgrade, "FORMAT_VERSION", 6)
    monkeypatch.setitem(
        equipot.checkpoint.upgrade.UPGRADES,
        5,
        lambda header: {**header, "model": {**header["model"], "cutoff": 4.5}},
    )

    assert read_header(path)["format_version"] == 6
    assert read_header(path)["model"]["cutoff"] == 4.5
    assert load_potential(path, device="cpu", verify=False).cutoff == 4.5


@pytest.mark.parametrize("zbl", [False, True])
def test_a_model_of_version_2_is_refused_if_its_repulsion_was_another(path, zbl):
    def older(header):
        header.pop("golden")
        header["model"].pop("architecture")
        return {
            **header,
            "format_version": 2,
            "model": {**header["model"], "zbl": zbl},
        }

    rewrite(path, older)

    if zbl:
        with pytest.raises(CheckpointError, match="does not support: train it again"):
            load_potential(path, device="cpu")
    else:
        assert load_potential(path, device="cpu").elements == (1, 6, 8)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: {**h, "model": {**h["model"], "flux": 1}},
        lambda h: {k: v for k, v in h.items() if k != "statistics"},
        lambda h: {**h, "statistics": {"elements": [1]}},
    ],
)
def test_unreadable_header_is_refused(path, change):
    rewrite(path, change)

    with pytest.raises(CheckpointError, match="has an unreadable header"):
        load_potential(path)


def test_weights_of_another_architecture_are_refused(path):
    rewrite(path, lambda h: {**h, "model": {**h["model"], "channels": 5}})

    with pytest.raises(CheckpointError, match="do not match its header"):
        load_potential(path)


def test_missing_gpu_and_unknown_names_are_refused(path):
    with pytest.raises(ValueError, match="must be float32 or float64, got 'half'"):
        load_potential(path, dtype="half")
    with pytest.raises(ValueError, match="unknown device 'abacus'"):
        load_potential(path, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no GPU; use auto or cpu"):
            load_potential(path, device="cuda")


def test_extra_sections_cannot_hide_others(path, potential):
    with pytest.raises(ValueError, match="'units'"):
        save_potential(path, potential, CONFIG, STATISTICS, {"units": {}})


def test_a_file_of_format_3_predicts_what_it_did(silica, ethanol):
    """Written by commit 1619f1a; it predicted these numbers, equal bit for bit."""
    files = Path(__file__).parents[1] / "files"
    expected = json.loads((files / "format_3.json").read_text())

    loaded = load_potential(
        files / "format_3.safetensors",
        device="cpu",
        dtype="float64",
        backend="clebsch_gordan",
    )

    for atoms, wanted in zip((ethanol, silica), expected, strict=True):
        prediction = loaded(build_graph(atoms, loaded.cutoff))
        assert prediction.energy.tolist() == wanted["energy"]
        assert prediction.forces.tolist() == wanted["forces"]
        if wanted["stress"] is not None:
            assert prediction.stress.tolist() == wanted["stress"]
        hessian = loaded(build_graph(atoms, loaded.cutoff), {"hessian"}).hessian[0]
        first_atom = hessian.reshape(3 * len(atoms), -1)[:3]
        assert first_atom.tolist() == wanted["hessian_rows"]
    assert read_header(files / "format_3.safetensors")["golden"] is None
