"""Small model files and states, and their layout: unpacked, packed, and signed."""

import hashlib
import json
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk, molecule

from equipot.checkpoint.file import save_potential
from equipot.config.model import parse_model
from equipot.data.statistics import Statistics
from equipot.domain import FeatureDistribution
from equipot.models import build_potential
from equipot.storage.rotation import RotatingCheckpoints

DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64", "U16": "uint16", "U32": "uint32",
    "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
STATE_KIND, STATE_VERSION = "training state", 1
Layout = dict[str, Any]
SMALL = {
    "cutoff": 3.0, "lmax": 1, "channels": 2, "num_basis": 3, "radial_hidden": (4,),
    "readout_hidden": 4,
}  # fmt: skip
HEAD = {"channels": 2, "num_basis": 3, "hidden": (4,), "cutoff": 5.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "one": {"num_layers": 1},
    "two": {"num_layers": 2, "dtype": "float64", "zbl": True},
    "direct": {"num_layers": 2, "direct_hessian": HEAD},
}


def statistics() -> Statistics:
    """Statistics of water molecules."""
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


@cache
def model_seeds() -> dict[str, tuple[str, bytes]]:
    """File name and contents of models and a state, by variant."""
    values = np.arange(12.0).reshape(6, 2) % 5
    described = {
        "extra": {"provenance": {"seed": 0, "data": "none"}},
        "samples": [molecule("H2O"), bulk("O", "sc", a=2.0)],
        "features": FeatureDistribution.fit(np.array([1, 1, 1, 8, 8, 8]), values),
    }
    seeds = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        for name, variant in VARIANTS.items():
            config = parse_model({**SMALL, **variant})
            model = build_potential(config, statistics(), seed=3)
            save_potential(path, model, config, statistics(), **described)
            seeds[name] = (path.name, _sorted(path.read_bytes()))
        states = RotatingCheckpoints(Path(folder), STATE_KIND, STATE_VERSION)
        record = {"step": 3, "config": {"a": [1, 2.5, None]}, "history": [{"epoch": 1}]}
        states.save(record, dict(model.state_dict()))
        seeds["state"] = ("state.safetensors", _sorted(states.paths[0].read_bytes()))
    return seeds


def _sorted(data: bytes) -> bytes:
    """The same file with its tensors in the order of their names."""
    layout, body = unpack(data)
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
    try:
        text = layout["__metadata__"]["equipot"]
        total = hashlib.sha256(text.encode(errors="surrogatepass"))
        for name in sorted(n for n in layout if n != "__metadata__"):
            entry = layout[name]
            start, stop = entry["data_offsets"]
            dtype = f"torch.{DTYPES[entry['dtype']]}"
            total.update(f"{name} {dtype} {tuple(entry['shape'])}".encode())
            total.update(body[start:stop])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return
    layout["__metadata__"]["sha256"] = total.hexdigest()
