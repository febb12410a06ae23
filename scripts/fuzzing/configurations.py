"""Configurations (YAML) and overrides that are read."""

from functools import cache

import yaml

TRAIN = {
    "seed": 0,
    "model": {
        "cutoff": 4.5, "lmax": 2, "channels": 16, "num_layers": 2, "num_basis": 8,
        "radial_hidden": [32], "backend": "auto", "direct_hessian": {"channels": 8},
    },
    "data": {
        "root": "data", "train": ["a.xyz", "b.xyz"], "valid": 0.1,
        "test": {"300K": ["c.xyz"]}, "keys": {"energy": "energy"},
        "hessians": {"a.xyz": "a.npz"}, "reference_energies": {"H": -1.0, "O": -2.0},
    },
    "training": {
        "epochs": 10, "batch_size": 8, "optimizer": {"lr": 5e-3, "betas": [0.9, 0.99]},
        "loss": {"energy": {"weight": [{"from_epoch": 0, "weight": 1.0}]}},
        "schedule": {"kind": "plateau", "patience": 3}, "ema": None,
        "early_stop": {"patience": 5}, "gradient_clip": 10.0,
    },
}  # fmt: skip
MD = {
    "model": "model.safetensors",
    "structure": {"file": "a.xyz", "index": 0, "replicate": [1, 1, 1]},
    "ensemble": {"name": "npt", "pressure": 0.1},
    "steps": 1000, "timestep": 0.5, "temperature": 300,
    "velocities": {"source": "file"}, "record": {"trajectory": 10},
    "alarms": {"max_force": None}, "output": "runs/md",
}  # fmt: skip
OVERRIDES = b"""training.optimizer.lr=0.001
data.hessians={}
model.channels=32
data.keys={energy: E, forces: F}
training.ema=null
data.train=[x.xyz]"""


@cache
def config_seeds() -> list[tuple[str, bytes]]:
    """File name and contents; the reader chooses the schema by the name."""
    return [
        ("train.yaml", yaml.safe_dump(TRAIN, sort_keys=False).encode()),
        ("md.yaml", yaml.safe_dump(MD, sort_keys=False).encode()),
        ("train.overrides", OVERRIDES),
    ]
