"""Model files of other packages: archives of `torch.save`, and streams of arrays."""

import io
import tempfile
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fuzzing.archives import npy

PICKLE = "data.pkl"
"""End of the name of the member that describes the others."""


@cache
def foreign_seeds() -> list[tuple[str, bytes]]:
    """File names and contents: modules, dictionaries and arrays."""
    network = nn.Sequential(nn.Linear(2, 3), nn.ModuleList([nn.BatchNorm1d(3)]))
    network.register_buffer("view", torch.arange(12.0).view(3, 4).T)
    content = {
        "model_state_dict": OrderedDict(network.state_dict()),
        "config": {"cutoff": 5.0, "shift": np.arange(3.0), "on": True, "name": "Å"},
        "device": torch.device("cpu"),
        "half": torch.ones(2, 0, dtype=torch.bfloat16),
    }
    checkpoint = {
        "state_dict": {"model.sole_model.model.func.a.weight": torch.ones(2, 3)},
        "hyper_parameters": {
            "model": {"_target_": "nequip.model.NequIPGNNModel", "type_names": ["H"]},
            "info_dict": {"versions": {"nequip": "0.19.1"}, "training_module": {}},
        },
    }
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(1), np.array(1.5)]
    stream = b'{"cutoff": 5.0}\n' + b"".join(map(npy, arrays))
    return [
        ("network.pt", _saved(network, 2)),
        ("content.pt", _saved(content, 2)),
        ("content.pt", _saved(content, 4)),
        ("checkpoint.ckpt", _saved(checkpoint, 2)),
        ("arrays.nqx", stream),
    ]


def _saved(content: Any, protocol: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "saved.pt")
        torch.save(content, path, pickle_protocol=protocol)
        return path.read_bytes()


def members(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return [(name, file.read(name)) for name in file.namelist()]
