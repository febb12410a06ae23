"""Model files and states that lie, run code, or would fill the memory."""

import json
import math
import pickle
import struct

import numpy as np
import pytest
import torch
from fuzzing.model_files import model_seeds, pack, sign, unpack

import equipot.checkpoint.file
from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.file import load_potential, read_header
from equipot.config.model import DirectHessianConfig, parse_model
from equipot.models import build_potential
from equipot.models.build import weight_shapes
from equipot.storage.rotation import Generations, StateError
from equipot.storage.tensor_file import write_tensor_file
from tests.potentials import ARCHITECTURES, statistics_of


@pytest.fixture(scope="module")
def model():
    return model_seeds()["two"][1]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def changed(model, change, *, resign=True):
    """Model whose layout and header were edited, with a checksum that fits."""
    layout, body = unpack(model)
    header = json.loads(layout["__metadata__"]["equipot"])
    body = change(layout, header, body) or body
    layout["__metadata__"]["equipot"] = json.dumps(header)
    if resign:
        sign(layout, body)
    return pack(layout, body)


def refuse(path, content, message):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_potential(path, device="cpu", verify=False)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 3000


@pytest.fixture
def nothing_built(monkeypatch):
    """Fails where an architecture is built."""

    def build(*args, **kwargs):
        raise AssertionError("the architecture was built")

    monkeypatch.setattr(equipot.checkpoint.file, "build_potential", build)


def test_a_signed_model_that_nobody_changed_is_read(path, model):
    path.write_bytes(changed(model, lambda layout, header, body: None))

    assert load_potential(path, device="cpu").num_layers == 2


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_under_the_name_of_a_model_is_not_executed(path, protocol, tmp_path):
    class Payload:
        def __reduce__(self):
            import os

            return os.mkdir, (str(tmp_path / "canary"),)

    refuse(path, pickle.dumps(Payload(), protocol), "not a safetensors file")
    path.unlink()
    torch.save(Payload(), path)
    refuse(path, path.read_bytes(), "not a safetensors file")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("length", [2**26 + 1, 2**31, 2**63 - 1, 2**64 - 1])
def test_huge_headers_are_refused_unread(path, length):
    refuse(path, struct.pack("<Q", length) + b"{" + b" " * 100, "claims")


@pytest.mark.parametrize("nested", ["[", '{"a":'])
def test_deep_headers_are_refused(path, model, nested):
    layout, body = unpack(model)
    text = layout["__metadata__"]["equipot"]
    layout["__metadata__"]["equipot"] = f'{text[:-1]}, "x": {nested * 100_000}'
    sign(layout, body)
    refuse(path, pack(layout, body), "unreadable header")
    refuse(
        path, struct.pack("<Q", 5000) + nested.encode() * 5000, "safetensors|damaged"
    )


def first(layout):
    return layout[next(name for name in layout if name != "__metadata__")]


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 2**62]},
        {"data_offsets": [8, 0]},
        {"data_offsets": [-8, 8]},
        {"data_offsets": None},
        {"shape": [2**62, 2**62]},
        {"shape": [2**40]},
        {"shape": [-1]},
        {"shape": "a"},
        {"dtype": "O"},
        {"dtype": None},
    ],
)
def test_layouts_that_lie_are_refused(path, model, change):
    def edit(layout, header, body):
        first(layout).update(change)

    refuse(path, changed(model, edit), "damaged")


def test_overlapping_tensors_are_refused(path, model):
    def edit(layout, header, body):
        names = [name for name in layout if name != "__metadata__"]
        twin = next(
            n for n in names[1:] if layout[n]["shape"] == layout[names[0]]["shape"]
        )
        layout[twin]["data_offsets"] = layout[names[0]]["data_offsets"]

    refuse(path, changed(model, edit), "damaged")


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 10**9},
        {"channels": 10**5},
        {"lmax": 500},
        {"lmax": 10},
        {"num_layers": 10**6},
        {"num_layers": 1000},
        {"num_basis": 10**5},
        {"radial_hidden": [10**5] * 50},
        {"radial_hidden": [4] * 10**4},
        {"readout_hidden": 10**5},
        {"direct_hessian": {"channels": 10**5}},
        {"direct_hessian": {"hidden": [10**5]}},
        {"cutoff": 1e300},
        {"cutoff": math.nan},
        {"channels": "x"},
        {"symmetry": None},
    ],
)
def test_architectures_beyond_the_file_are_refused_before_they_are_built(
    path, model, change, nothing_built
):
    refuse(path, changed(model, lambda _, h, b: h["model"].update(change)), "header")


STATISTICS = [
    ({"elements": list(range(1, 10**4))}, "statistics"),
    ({"elements": []}, "elements must be"),
    ({"elements": [1, 1]}, "elements must be"),
    ({"elements": [8, 1]}, "elements must be"),
    ({"elements": [0, 8]}, "elements must be"),
    ({"elements": [1, 119]}, "elements must be"),
    ({"elements": "18"}, "statistics"),
    ({"elements": [1.5]}, "statistics"),
    ({"reference_energies": {"1": 0.0}}, "no reference energy"),
    ({"reference_energies": {"1": 0.0, "8": "x"}}, "statistics"),
    ({"reference_energies": {"1": [0.0], "8": 0.0}}, "statistics"),
    ({"reference_energies": {"1": 1e999, "8": 0.0}}, "header"),
    ({"energy_scale": None}, "statistics"),
    ({"average_num_neighbors": -1.0}, "must be positive"),
    ({"minimum_distances": {"H-Q": 1.0}}, "the pair 'H-Q'"),
    ({"minimum_distances": {"H-O": -1.0}}, "must be positive"),
    ({"minimum_distances": {"H-O": "1"}}, "statistics"),
    ({"num_structures": 1, "num_atoms": 10**12}, "make no sense"),
    ({"num_edges": -1}, "make no sense"),
    ({"warnings": 1}, "statistics"),
    ({"neighbor_ranges": {"H": [3, 1]}}, "range of neighbors of H is 3 to 1"),
    ({"neighbor_ranges": {"H": [1, 2, 3]}}, "statistics"),
    ({"density_range": [0.1, None]}, "statistics"),
    ({"energy_range": [-(10**400), 0]}, "statistics"),
    ({"energy_range": [0.0, -1.0]}, "range of energy"),
    ({"largest_force": 10**400}, "statistics"),
    ({"largest_force": -1.0}, "range of force"),
]


@pytest.mark.parametrize(("change", "message"), STATISTICS)
def test_statistics_that_make_no_sense_are_refused(path, model, change, message):
    refuse(
        path, changed(model, lambda _, h, b: h["statistics"].update(change)), message
    )
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


@pytest.mark.parametrize("section", ["model", "statistics", "samples", "units"])
@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": 1}])
def test_sections_of_wrong_types_are_refused(path, model, section, value):
    refuse(path, changed(model, lambda _, h, b: h.update({section: value})), "header")


SAMPLE = {
    "numbers": [1],
    "positions": [[0.0, 0.0, 0.0]],
    "cell": [[0.0] * 3] * 3,
    "pbc": [False] * 3,
}


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": [0]},
        {"numbers": [119]},
        {"numbers": ["H"]},
        {"numbers": [1, 1]},
        {"numbers": [1.5]},
        {"positions": [[1e300, 0, 0]]},
        {"positions": "x"},
        {"cell": [[1e-9, 0, 0], [0, 1e-9, 0], [0, 0, 1e-9]], "pbc": [True] * 3},
        {"pbc": [True] * 3},
        {
            "numbers": [1] * 3000,
            "positions": [[0.0, 0.0, 3.0 * n] for n in range(3000)],
        },
    ],
)
def test_samples_that_make_no_sense_are_refused(path, model, change):
    refuse(
        path,
        changed(model, lambda _, h, b: h.update(samples=[{**SAMPLE, **change}])),
        "unreadable header: sample",
    )


def test_many_samples_are_refused(path, model):
    content = changed(model, lambda _, h, b: h.update(samples=[SAMPLE] * 1000))

    refuse(path, content, "up to 16 structures")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(path, model, value):
    def edit(layout, header, body):
        start, _ = first(layout)["data_offsets"]
        number = np.array([value]).tobytes()
        return body[:start] + number + body[start + len(number) :]

    refuse(path, changed(model, edit), "are not finite")


def test_weights_that_the_arithmetic_cannot_hold_are_refused(path, model):
    def edit(layout, header, body):
        header["model"]["dtype"] = "float32"
        start, _ = first(layout)["data_offsets"]
        number = np.array([1e300]).tobytes()
        return body[:start] + number + body[start + len(number) :]

    refuse(path, changed(model, edit), "are not finite in torch.float32")


@pytest.mark.parametrize("dtype", ["I64", "U64", "C64"])
def test_weights_of_other_types_are_refused(path, model, dtype):
    def edit(layout, header, body):
        first(layout)["dtype"] = dtype

    refuse(path, changed(model, edit), "holds torch|damaged")


def test_whole_numbers_of_json_are_taken_for_real_ones(path, model):
    content = changed(
        model, lambda _, h, b: h["statistics"].update(energy_shift=10**30)
    )
    path.write_bytes(content)

    assert type(load_potential(path, device="cpu", verify=False).shift) is float
    refuse(
        path,
        changed(model, lambda _, h, b: h["statistics"].update(energy_shift=10**400)),
        "statistics",
    )


def test_messages_do_not_quote_long_names(path, model):
    def edit(layout, header, body):
        layout["x" * 50_000] = {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]}

    refuse(path, changed(model, edit), "damaged")


def test_auto_is_measured_on_products_of_scalars(path):
    content = changed(
        model_seeds()["one"][1], lambda _, h, b: h["model"].update(backend="auto")
    )
    path.write_bytes(content)

    assert load_potential(path, device="cpu", verify=False).num_layers == 1


def test_reshaped_weights_are_refused(path, model):
    def edit(layout, header, body):
        entry = first(layout)
        entry["shape"] = [1, *entry["shape"]]

    refuse(path, changed(model, edit), "do not fit its header")


def test_many_foreign_tensors_make_a_short_message(path, model):
    def edit(layout, header, body):
        for n in range(5000):
            empty = [len(body), len(body)]
            layout[f"x{n}"] = {"dtype": "F32", "shape": [0], "data_offsets": empty}

    refuse(path, changed(model, edit), "do not fit its header")


@pytest.mark.parametrize("version", [0, -1, True, "2", None, 10**400, 99])
def test_versions_of_no_sense_are_refused(path, model, version):
    content = changed(model, lambda _, h, b: h.update(format_version=version))

    refuse(path, content, "format version")


def test_old_headers_without_a_model_are_refused(path, model):
    def edit(layout, header, body):
        header.update(format_version=1, model=None)

    refuse(path, changed(model, edit), "unreadable header")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("zbl", [True, False])
def test_sections_newer_than_the_version_are_refused_by_name(path, model, version, zbl):
    def edit(layout, header, body):
        header.update(format_version=version)
        header["model"]["zbl"] = zbl

    message = r"safetensors: .*(golden outputs|model\.zbl)"
    refuse(path, changed(model, edit), message)


def test_numbers_that_json_does_not_have_are_refused(path, model):
    content = changed(model, lambda _, h, b: h.update(provenance=math.nan))

    refuse(path, content, "NaN is no number of JSON")


@pytest.mark.parametrize("header", [{}, {"version": 1}, {"version": 1, "record": 3}])
def test_states_without_version_or_record_are_refused(header, tmp_path):
    states = Generations(tmp_path, "training state", 1)
    write_tensor_file(states.paths[0], "training state", header, {})

    with pytest.raises(StateError, match="no version or no record"):
        states.load(lambda message: None)


HEADS = (
    None,
    {"channels": 3, "hidden": ()},
    {"channels": 2, "hidden": (5, 7), "sum_rule": "projection"},
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_have_the_shapes_with_which_they_are_built(name, head):
    config = parse_model({"channels": 3, "num_basis": 4, **ARCHITECTURES[name]})
    if head is not None:
        update = {"direct_hessian": DirectHessianConfig.model_validate(head)}
        config = config.model_copy(update=update)

    statistics = statistics_of((1, 8), config.cutoff)
    built = build_potential(config, statistics).state_dict()

    assert weight_shapes(config, statistics) == {n: w.shape for n, w in built.items()}
