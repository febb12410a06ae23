"""Small model files and states, and their layout: unpacked, packed, and signed."""

import json
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk, molecule
from safetensors import SafetensorError
from safetensors.torch import load

from equipot.checkpoint.file import save_potential
from equipot.config.data import KeysConfig
from equipot.config.model import parse_model
from equipot.data.dataset import make_example
from equipot.data.reading.labeled import parse_structure
from equipot.data.statistics import Statistics, compute_statistics
from equipot.domain import FeatureDistribution
from equipot.models import build_potential
from equipot.storage.rotation import RotatingCheckpoints
from equipot.storage.tensor_file import digest

STATE_KIND, STATE_VERSION = "training state", 1
Layout = dict[str, Any]
SMALL = {"cutoff": 3.0, "channels": 2, "num_basis": 3, "readout_hidden": 4}
SPHERICAL = {"lmax": 1, "radial_hidden": (4,)}
HEAD = {"channels": 2, "num_basis": 3, "hidden": (4,), "cutoff": 5.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "one": {**SPHERICAL, "num_layers": 1},
    "two": {**SPHERICAL, "num_layers": 2, "dtype": "float64", "zbl": True},
    "direct": {**SPHERICAL, "num_layers": 2, "direct_hessian": HEAD},
    "mace": {**SPHERICAL, "architecture": "mace", "num_layers": 2, "correlation": 2},
    "tensornet": {"architecture": "tensornet", "num_layers": 1},
}


def statistics() -> Statistics:
    """Statistics of a molecule and a crystal of water, with energies and forces."""
    structures = [molecule("H2O"), molecule("H2O", cell=[3, 3, 3], pbc=True)]
    for atoms in structures:
        atoms.info["REF_energy"] = -460.0
        atoms.arrays["REF_forces"] = atoms.positions
    return compute_statistics(
        [
            make_example(parse_structure(a, KeysConfig(), "seed"), 3.0)
            for a in structures
        ],
        reference_energies={"H": -13.6, "O": -430.0},
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
    """Write the checksum that the package expects, if the layout can be read."""
    try:
        tensors = load(pack(layout, body))
        text = layout["__metadata__"]["equipot"]
        layout["__metadata__"]["sha256"] = digest(tensors, text)
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError):
        return
