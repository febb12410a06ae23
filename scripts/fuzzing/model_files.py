"""Model files and states: headers rewritten and signed again, layouts with lies."""

import copy
import hashlib
import json
import pickle
import struct
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from ase.build import bulk, molecule

from equipot.checkpoint.file import save_potential
from equipot.config.model import parse_model
from equipot.data.statistics import Statistics
from equipot.domain import FeatureCloud
from equipot.models import build_potential
from equipot.storage.rotation import Generations
from equipot.tensor_products import BACKENDS
from equipot.tensor_products.base import BackendUnavailableError, UnsupportedSpecError
from fuzzing.mutators import BINARY, change_tree, damage

DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64", "U16": "uint16", "U32": "uint32",
    "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
STATE_KIND, STATE_VERSION = "training state", 1
Layout = dict[str, Any]


def statistics() -> Statistics:
    """Of a water molecule."""
    return Statistics(
        elements=(1, 8),
        reference_energies={1: -13.6, 8: -430.0},
        reference_source="given",
        reference_rank=2,
        energy_scale=1.2,
        energy_shift=-3.0,
        average_num_neighbors=4.0,
        minimum_distances={"H-O": 0.9, "H-H": 1.4},
        cutoff=3.0,
        num_structures=2,
        num_atoms=6,
        num_edges=12,
        element_counts={"H": 4, "O": 2},
        label_counts={"energy": 2, "forces": 2, "stress": 0},
        config_types={"default": 2},
        neighbor_ranges={"H": (1, 2), "O": (2, 2)},
        density_range=(0.05, 0.2),
        energy_range=(-4.0, -2.5),
        largest_force=7.5,
    )


def model_seeds() -> dict[str, tuple[str, bytes]]:
    """File name and contents; names tell a model from a state."""
    small = {
        "cutoff": 3.0, "channels": 2, "num_basis": 3, "radial_hidden": (4,),
        "readout_hidden": 4,
    }  # fmt: skip
    head = {"channels": 2, "num_basis": 3, "hidden": (4,), "cutoff": 5.0}
    variants: dict[str, dict[str, Any]] = {
        "one": {"lmax": 1, "num_layers": 1},
        "two": {"lmax": 1, "num_layers": 2, "dtype": "float64", "zbl": True},
        "direct": {"lmax": 1, "num_layers": 2, "direct_hessian": head},
    }
    for backend in BACKENDS:
        weighting = "per_path" if backend == "clebsch_gordan" else "per_degree"
        variants[backend] = {
            "lmax": 1, "num_layers": 1, "backend": backend, "weighting": weighting,
        }  # fmt: skip
    samples = [molecule("H2O"), bulk("O", "sc", a=2.0)]
    seeds = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        for name, variant in variants.items():
            config = parse_model({**small, **variant})
            try:
                potential = build_potential(config, statistics(), seed=3)
            except (BackendUnavailableError, UnsupportedSpecError):
                continue  # not installed here
            extra = {"provenance": {"seed": 0, "data": "none"}}
            save_potential(
                path,
                potential,
                config,
                statistics(),
                extra,
                samples=samples,
                features=_features(config.channels),
            )
            seeds[name] = (path.name, _sorted(path.read_bytes()))
        states = Generations(Path(folder), STATE_KIND, STATE_VERSION)
        record = {"step": 3, "config": {"a": [1, 2.5, None]}, "history": [{"epoch": 1}]}
        states.save(record, dict(potential.state_dict()))
        seeds["state"] = ("state.safetensors", _sorted(states.paths[0].read_bytes()))
    return seeds


def _features(channels: int) -> FeatureCloud:
    """A domain of features, the same everywhere."""
    numbers = np.array([1, 1, 1, 8, 8, 8])
    values = np.arange(6.0 * channels).reshape(6, channels) % 5
    return FeatureCloud.fit(numbers, values)


def _sorted(data: bytes) -> bytes:
    """The same file with entries in the order of their names, not in any."""
    layout, body = unpack(data)
    layout["__metadata__"] = dict(sorted(layout["__metadata__"].items()))
    return pack(dict(sorted(layout.items())), body)


def unpack(data: bytes) -> tuple[Layout, bytes]:
    """Header and body of safetensors."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def pack(layout: Layout, body: bytes) -> bytes:
    """Inverse of `unpack`."""
    text = json.dumps(layout).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def sign(layout: Layout, body: bytes) -> None:
    """Write the checksum that the package expects, if there can be one."""
    text = layout["__metadata__"]["equipot"]
    total = hashlib.sha256(text.encode(errors="surrogatepass"))
    try:
        for name in sorted(n for n in layout if n != "__metadata__"):
            entry = layout[name]
            start, stop = entry["data_offsets"]
            dtype = f"torch.{DTYPES[entry['dtype']]}"
            total.update(f"{name} {dtype} {tuple(entry['shape'])}".encode())
            total.update(body[start:stop])
    except (KeyError, TypeError, ValueError, IndexError):
        return
    layout["__metadata__"]["sha256"] = total.hexdigest()


def mutated_model(
    rng: Random, seeds: dict[str, tuple[str, bytes]]
) -> tuple[str, str, bytes]:
    """Mutation, file name and contents."""
    which = rng.choice(("one", "one", "two", "direct", "state"))
    name, data = seeds[which]
    draw = rng.randrange(20)
    if draw == 0:
        return "bytes", name, damage(data, BINARY, rng)
    if draw == 1:
        return "foreign", name, rng.choice(FOREIGN)
    layout, body = unpack(data)
    if draw <= 3:
        text = json.dumps(layout)
        broken = damage(text.encode(), BINARY, rng)
        size = len(broken) if rng.random() < 0.9 else rng.choice(LENGTHS)
        return "layout text", name, struct.pack("<Q", size) + broken + body
    if draw <= 6:
        label, data = _lying_layout(rng, layout, body)
        return label, name, data
    if draw <= 9:
        label, body = _tensors(rng, layout, body)
        sign(layout, body)
        return label, name, pack(layout, body)
    text = layout["__metadata__"]["equipot"]
    label, layout["__metadata__"]["equipot"] = _header(rng, text)
    sign(layout, body)
    return label, name, pack(layout, body)


def _header(rng: Random, text: str) -> tuple[str, str]:
    """Our own header, changed."""
    header = json.loads(text)
    draw = rng.randrange(10)
    if draw == 0:
        broken = damage(text.encode(), BINARY, rng)
        return "header text", broken.decode(errors="replace")
    if draw == 1:
        nested = rng.choice(("[", '{"a":'))
        return "header depth", text[:-1] + ', "x": ' + nested * rng.choice((900, 50000))
    if draw <= 4 and "model" in header:
        key = rng.choice(list(header["model"]))
        header["model"][key] = copy.deepcopy(rng.choice(ARCHITECTURE))
        return "architecture", json.dumps(header)
    if draw <= 7 and "statistics" in header:
        section = rng.choice(("statistics", "statistics", "samples"))
        header[section] = change_tree(header[section], rng)
        return section, _dump(header, text)
    return "header tree", _dump(change_tree(header, rng), text)


def _dump(tree: Any, otherwise: str) -> str:
    try:
        return json.dumps(tree)
    except (RecursionError, ValueError):
        return otherwise


def _lying_layout(rng: Random, layout: Layout, body: bytes) -> tuple[str, bytes]:
    """Offsets, shapes and types that do not fit the data."""
    names = [n for n in layout if n != "__metadata__"]
    entry = layout[rng.choice(names)]
    match rng.randrange(7):
        case 0:
            entry["data_offsets"] = rng.choice(
                ([0, 8], [8, 0], [-8, 0], [0, 2**63], [0, 2**64], [0], None, "a",
                 [0.5, 8], list(layout[names[0]]["data_offsets"]))
            )  # fmt: skip
            label = "offsets"
        case 1:
            entry["shape"] = rng.choice(SHAPES)
            label = "shape"
        case 2:
            entry["dtype"] = rng.choice((*DTYPES, "F4", "O", "", None, 1, "F8_E8M0"))
            label = "dtype"
        case 3:
            layout = change_tree(layout, rng)
            label = "layout tree"
        case 4:
            extra = {
                "dtype": "F32",
                "shape": [0, 2**62],
                "data_offsets": [len(body)] * 2,
            }
            layout[rng.choice(("x", "", "a" * 3000, "\x00", "backbone"))] = extra
            label = "extra tensor"
        case 5:
            body += b"\x00" * rng.choice((1, 8, 4096))
            label = "extra bytes"
        case _:
            for n in range(5000):
                start = [len(body), len(body)]
                layout[f"x{n}"] = {"dtype": "U8", "shape": [0], "data_offsets": start}
            label = "many tensors"
    if isinstance(layout, dict) and isinstance(layout.get("__metadata__"), dict):
        try:
            sign(layout, body)
        except (KeyError, AttributeError, TypeError):
            return label, _pack_any(layout, body)
    return label, _pack_any(layout, body)


def _pack_any(layout: Any, body: bytes) -> bytes:
    try:
        return pack(layout, body)
    except (RecursionError, ValueError):
        return struct.pack("<Q", 4000) + b'{"a":' * 800 + body


def _tensors(rng: Random, layout: Layout, body: bytes) -> tuple[str, bytes]:
    """Weights that are not finite, huge, of other types, fewer, or renamed."""
    names = [n for n in layout if n != "__metadata__"]
    name = rng.choice(names)
    entry = layout[name]
    start, stop = entry["data_offsets"]
    kind = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}[entry["dtype"]]
    match rng.randrange(6):
        case 0 | 1:
            values = np.frombuffer(body[start:stop], kind).copy()
            if len(values):
                values[rng.randrange(len(values))] = rng.choice(
                    (-1, 0, 7, 1000, 2**62)
                    if kind == "<i8"
                    else (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 1e20)
                )
            return "values", body[:start] + values.tobytes() + body[stop:]
        case 2:
            values = np.frombuffer(body[start:stop], kind)
            factor = rng.choice((0.0, -1.0, 1e9, 1e30))
            with np.errstate(invalid="ignore", over="ignore"):
                values = (values * factor).astype(kind)
            return "scaled", body[:start] + values.tobytes() + body[stop:]
        case 3:
            same = {4: ("I32", "U32"), 8: ("I64", "C64", "U64")}
            size = (stop - start) // max(int(np.prod(entry["shape"])), 1)
            entry["dtype"] = rng.choice(same.get(size, ("U8",)))
            return "type", body
        case 4:
            entry["shape"] = rng.choice(
                (
                    entry["shape"][::-1],
                    [int(np.prod(entry["shape"]))],
                    [1, *entry["shape"]],
                )
            )
            return "reshaped", body
        case _:
            layout[rng.choice((f"{name}x", "x", "backbone.layers.9.radial"))] = (
                layout.pop(name)
            )
            return "renamed", body


class _Payload:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os  # noqa: PLC0415

        return os.mkdir, ("equipot-fuzzer-was-here",)


LENGTHS = (0, 1, 2**20, 2**26, 2**26 + 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1)
SHAPES: list[Any] = [
    [], [0], [-1], [2**31], [2**63], [2**64], [2**32, 2**32], [2**40, 0], [1] * 100,
    [1.5], ["2"], None, "a", [[2]], [0, 2**62], [10**30], [True],
]  # fmt: skip
ARCHITECTURE: list[Any] = [
    10**9, 10**6, 500, 64, 12, 0, -1, 1, 2, 3, 1.5, None, True, "", "x", [], [10**9],
    [1] * 1000, [4] * 50, {}, {"channels": 10**9}, {"cutoff": 1e300}, 1e300, 1e-300,
    float("nan"), float("inf"), 10**30, "fused", "so2", "gaunt_fft", "spherical_grid",
    "cuequivariance", "auto", "float64", "float32", "SO(3)", "per_degree", [0], [-4],
    {"hidden": [4] * 3000}, {"num_basis": 10**9}, 1e-3, 1e5,
]  # fmt: skip
FOREIGN = (
    pickle.dumps(_Payload()),
    pickle.dumps({"state_dict": _Payload()}, protocol=0),
    b"PK\x03\x04" + pickle.dumps(_Payload()),
    b"",
    b"{}",
    struct.pack("<Q", 2) + b"{}",
    struct.pack("<Q", 2**26) + b"{" + b" " * 1000,
    struct.pack("<Q", 2**63) + b"{",
    struct.pack("<Q", 200000) + b'{"a":' * 40000,
    struct.pack("<Q", 100000) + b"{" + b"[" * 99999,
    struct.pack("<Q", 21) + b'{"__metadata__":null}',
    struct.pack("<Q", 36) + b'{"__metadata__":{"equipot":"[1,2]"}}',
    struct.pack("<Q", 42) + b'{"__metadata__":{"equipot":1,"sha256":"2"}}',
)
