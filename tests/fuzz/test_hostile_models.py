"""Model files and states that lie, run code, or would fill the memory."""

import json
import math
import os
import pickle
import struct

import pytest
import torch
from fuzzing.model_files import model_seeds, pack, sign, unpack

import equipot.checkpoint.file
from equipot.checkpoint.file import CheckpointError, load_potential, read_header
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.storage.tensor_file import write_tensor_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def changed(edit, seed="two"):
    """Model whose layout, header or body were edited, with a checksum that fits."""
    layout, body = unpack(model_seeds()[seed][1])
    header = json.loads(layout["__metadata__"]["equipot"])
    body = edit(layout, header, body) or body
    layout["__metadata__"]["equipot"] = json.dumps(header)
    sign(layout, body)
    return pack(layout, body)


def first(layout):
    """Entry of the first tensor."""
    return layout[next(name for name in layout if name != "__metadata__")]


def refuse(path, content, message):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_potential(path, device="cpu", verify=False)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 3000


WRONG = [None, 1, "x", [1], {"a": 1}]
SAMPLE = {
    "numbers": [1],
    "positions": [[0.0, 0.0, 0.0]],
    "cell": [[0.0] * 3] * 3,
    "pbc": [False] * 3,
}
ROW = [[0.0, 0.0, 3.0 * n] for n in range(3000)]
SAMPLES = [
    {"numbers": [0]},
    {"numbers": [119]},
    {"numbers": ["H"]},
    {"numbers": [1, 1]},
    {"numbers": [1.5]},
    {"positions": [[1e300, 0, 0]]},
    {"positions": "x"},
    {"cell": [[1e-9, 0, 0], [0, 1e-9, 0], [0, 0, 1e-9]], "pbc": [True] * 3},
    {"pbc": [True] * 3},
    {"numbers": [1] * 3000, "positions": ROW},
]
VALUES = {
    "damaged": {
        "first.data_offsets": [[0, 2**62], [8, 0], [-8, 8], None],
        "first.shape": [[2**62, 2**62], [2**40], [-1], "a"],
        "first.dtype": ["O", None],
    },
    "holds torch|damaged": {"first.dtype": ["I64", "U64", "C64"]},
    "header": {
        "model.channels": [10**9, 10**5, "x"],
        "model.lmax": [500, 10],
        "model.num_layers": [10**6, 1000],
        "model.num_basis": [10**5],
        "model.radial_hidden": [[10**5] * 50, [4] * 10**4],
        "model.readout_hidden": [10**5],
        "model.direct_hessian": [{"channels": 10**5}, {"hidden": [10**5]}],
        "model.cutoff": [1e300, math.nan],
        "model.symmetry": [None],
        "statistics.reference_energies": [{"1": 1e999, "8": 0.0}],
        **dict.fromkeys(("model", "statistics", "samples", "units"), WRONG),
    },
    "elements must be": {"statistics.elements": [[], [1, 1], [8, 1], [0, 8], [1, 119]]},
    "no reference energy": {"statistics.reference_energies": [{"1": 0.0}]},
    "must be positive": {
        "statistics.average_num_neighbors": [-1.0],
        "statistics.minimum_distances": [{"H-O": -1.0}],
    },
    "the pair 'H-Q'": {"statistics.minimum_distances": [{"H-Q": 1.0}]},
    "make no sense": {"statistics.num_atoms": [10**12], "statistics.num_edges": [-1]},
    "range of neighbors of H is 3": {"statistics.neighbor_ranges": [{"H": [3, 1]}]},
    "range of energy": {"statistics.energy_range": [[0.0, -1.0]]},
    "range of force": {"statistics.largest_force": [-1.0]},
    "statistics": {
        "statistics.elements": [list(range(1, 10**4)), "18", [1.5]],
        "statistics.reference_energies": [{"1": 0.0, "8": "x"}, {"1": [0.0], "8": 0.0}],
        "statistics.energy_scale": [None],
        "statistics.energy_shift": [10**400],
        "statistics.minimum_distances": [{"H-O": "1"}],
        "statistics.warnings": [1],
        "statistics.neighbor_ranges": [{"H": [1, 2, 3]}],
        "statistics.density_range": [[0.1, None]],
        "statistics.energy_range": [[-(10**400), 0]],
        "statistics.largest_force": [10**400],
    },
    "unreadable header: sample": {"samples": [[SAMPLE | change] for change in SAMPLES]},
    "up to 16 structures": {"samples": [[SAMPLE] * 1000]},
    "format version": {"format_version": [0, -1, True, "2", None, 10**400, 99]},
    "NaN is no number of JSON": {"provenance": [math.nan]},
}
"""Values that are refused: by message, then by their place in the file."""


@pytest.mark.parametrize(
    ("message", "place", "value"),
    [
        (message, place, value)
        for message, places in VALUES.items()
        for place, values in places.items()
        for value in values
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_of_no_sense_are_refused_before_a_model_is_built(
    path, message, place, value, monkeypatch
):
    def edit(layout, header, body):
        section, _, key = place.rpartition(".")
        tree = {"": header, "first": first(layout)} | header
        tree[section][key] = value

    def build(*args, **kwargs):
        raise AssertionError("the architecture was built")

    monkeypatch.setattr(equipot.checkpoint.file, "build_potential", build)
    refuse(path, changed(edit), message)
    if place.startswith("statistics."):
        with pytest.raises(CheckpointError, match=message):
            read_header(path)


def overlap(layout, header, body):
    names = [name for name in layout if name != "__metadata__"]
    shape = layout[names[0]]["shape"]
    twin = next(name for name in names[1:] if layout[name]["shape"] == shape)
    layout[twin]["data_offsets"] = layout[names[0]]["data_offsets"]


def reshape(layout, header, body):
    first(layout)["shape"].insert(0, 1)


def name_at_length(layout, header, body):
    layout["x" * 50_000] = {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]}


def add_tensors(layout, header, body):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2}
    layout |= {f"x{n}": entry for n in range(5000)}


def weight(value, dtype="float64"):
    """Edit of the first number of the first tensor."""

    def edit(layout, header, body):
        header["model"]["dtype"] = dtype
        start, _ = first(layout)["data_offsets"]
        return body[:start] + struct.pack("<d", value) + body[start + 8 :]

    return edit


def version(number, **model):
    """Edit of the format version; `model` has fields, or is left out."""

    def edit(layout, header, body):
        new = {**header["model"], **model} if model else None
        header.update(format_version=number, model=new)

    return edit


NEWER = r"safetensors: .*(golden outputs|model\.zbl)"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (overlap, "damaged"),
        (reshape, "do not fit its header"),
        (name_at_length, "damaged"),
        (add_tensors, "do not fit its header"),
        *((weight(x), "are not finite") for x in (math.nan, math.inf, -math.inf)),
        (weight(1e300, "float32"), r"are not finite in torch\.float32"),
        (version(1), "unreadable header"),
        *((version(n, zbl=zbl), NEWER) for n in (1, 2) for zbl in (True, False)),
    ],
)
def test_contents_that_contradict_the_header_are_refused(path, edit, message):
    refuse(path, changed(edit), message)


@pytest.mark.parametrize(
    ("seed", "place", "value"),
    [
        ("two", "model.dtype", "float64"),  # its own value
        ("two", "statistics.energy_shift", 10**30),  # whole numbers are real ones
        ("one", "model.backend", "auto"),  # measured on products of scalars
    ],
)
def test_values_that_make_sense_are_read(path, seed, place, value):
    def edit(layout, header, body):
        section, key = place.split(".")
        header[section][key] = value

    path.write_bytes(changed(edit, seed))
    potential = load_potential(path, device="cpu", verify=False)

    assert potential.num_layers == (1 if seed == "one" else 2)
    assert type(potential.shift) is float


class Payload:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def test_a_pickle_under_the_name_of_a_model_is_not_executed(path, tmp_path):
    payload = Payload(tmp_path / "canary")
    torch.save(payload, path)
    pickles = [pickle.dumps(payload, protocol) for protocol in (0, 2, 5)]
    for content in (path.read_bytes(), *pickles):
        refuse(path, content, "not a safetensors file")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("length", [2**26 + 1, 2**31, 2**63 - 1, 2**64 - 1])
def test_huge_headers_are_refused_unread(path, length):
    refuse(path, struct.pack("<Q", length) + b"{" + b" " * 100, "claims")


@pytest.mark.parametrize("nested", ["[", '{"a":'])
def test_deep_headers_are_refused(path, nested):
    layout, body = unpack(model_seeds()["two"][1])
    text = layout["__metadata__"]["equipot"]
    layout["__metadata__"]["equipot"] = f'{text[:-1]}, "x": {nested * 100_000}'
    sign(layout, body)
    refuse(path, pack(layout, body), "unreadable header")
    deep = struct.pack("<Q", 5000) + nested.encode() * 5000
    refuse(path, deep, "safetensors|damaged")


@pytest.mark.parametrize("header", [{}, {"version": 1}, {"version": 1, "record": 3}])
def test_states_without_version_or_record_are_refused(header, tmp_path):
    states = RotatingCheckpoints(tmp_path, "training state", 1)
    write_tensor_file(states.paths[0], "training state", header, {})

    with pytest.raises(StateError, match="no version or no record"):
        states.load(lambda message: None)
