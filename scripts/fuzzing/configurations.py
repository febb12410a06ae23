"""Configurations (YAML) and overrides, and what YAML can be abused for."""

from random import Random
from typing import Any

import yaml

from fuzzing.mutators import TEXT, change_tree, damage

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


def config_seeds() -> dict[str, tuple[str, bytes]]:
    """File name and contents; names tell the schema."""
    return {
        "train": ("train.yaml", yaml.safe_dump(TRAIN, sort_keys=False).encode()),
        "md": ("md.yaml", yaml.safe_dump(MD, sort_keys=False).encode()),
        "overrides": ("train.overrides", OVERRIDES),
    }


def mutated_config(
    rng: Random, seeds: dict[str, tuple[str, bytes]]
) -> tuple[str, str, bytes]:
    """Mutation, file name and contents."""
    which = rng.choice(("train", "train", "md", "overrides"))
    name, data = seeds[which]
    if which == "overrides":
        if rng.random() < 0.2:
            return which, name, rng.choice(BOMBS).replace(b"\n", b" ")
        return which, name, damage(data, TEXT, rng)
    match rng.randrange(10):
        case 0:
            return f"{which} bomb", name, rng.choice(BOMBS)
        case 1:
            bomb = rng.choice(BOMBS)
            return f"{which} bomb", name, data + bomb
        case 2:
            at = rng.choice((b"seed: 0", b"steps: 1000", b"lr: 0.005", b"root: data"))
            key = at.split(b":")[0] + b": "
            return f"{which} tag", name, data.replace(at, key + rng.choice(SCALARS))
        case 3 | 4 | 5:
            tree: Any = change_tree(TRAIN if which == "train" else MD, rng)
            return f"{which} tree", name, _dump(tree)
        case _:
            return f"{which} text", name, damage(data, TEXT, rng)


def _dump(tree: Any) -> bytes:
    try:
        text = yaml.dump(tree, sort_keys=False, Dumper=_NoAliases)
    except (RecursionError, ValueError):  # too deep, or too many digits, to write
        text = "model: " + "[" * 3000
    return text.encode(errors="surrogatepass")[: 1 << 18]


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _laughs(levels: int, width: int) -> bytes:
    lines = ["a0: &a0 [lol, lol]"]
    for n in range(levels):
        lines.append(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * width)}]")
    return "\n".join(lines).encode()


def _merges(levels: int, width: int) -> bytes:
    lines = ["a0: &a0 {k: 1}"]
    for n in range(levels):
        lines.append(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * width)}]}}")
    return "\n".join(lines).encode()


BOMBS = (
    _laughs(30, 9),
    _laughs(12, 2),
    _merges(20, 9),
    b"seed: " + _laughs(25, 9).replace(b"\n", b"\n  "),
    b"data: &a\n  train: *a\n",
    b"data: &a [*a, *a]\n",
    b"a: " + b"[" * 5000,
    b"a: " + b"{a: " * 3000,
    b"- " * 5000,
    b"? " * 3000,
    b"? [a, b]\n: 1\n",
    b"? {a: b}\n: 1\n",
    b"\n".join(b"k%d: 1" % n for n in range(20000)),
    b"a: !!python/object/apply:os.system ['touch equipot-fuzzer-was-here']\n",
    b"!!python/object/new:os.system ['touch equipot-fuzzer-was-here']\n",
    b"a: !!python/name:os.system\n",
    b"a: !!python/module:os\n",
    b"a: !!python/object/apply:subprocess.Popen [[id]]\n",
    b"seed: 1\nseed: 2\n",
    b"%YAML 9.9\n---\nseed: 1\n",
    b"--- 1\n--- 2\n",
    b"seed: !!int 'x'\n",
    b"\x00",
    b"\xff\xfeseed: 1",
    b"\xfe\xff\x00a",
    "seed: \u2028 1".encode("utf-16"),
    b"*a",
    b"&a",
    b"!<tag:yaml.org,2002:set> {a, b}",
    b"model: !!set {a, b}\n",
    b"model: !!omap [a: 1]\n",
    b"model: !!pairs [a: 1]\n",
    b"model: !!binary aGVsbG8=\n",
    b"a.b.c=1",
    b"a." * 5000 + b"a=1",
    b"a" * 200000,
    b"[]",
    b"",
    b"~",
)
SCALARS = (
    b"!!python/name:os.system x", b"!!float .nan", b".inf", b"-.inf", b"1e400",
    b"0x_", b"0b_", b"0b", b"9" * 5000, b"0o7", b"1:60:99", b"2001-99-99", b"2001-01-01",
    b"2001-01-01T99:99:99Z", b'"\\0"', b'"\\ud800"', b'"\\UFFFFFFFF"', b'"\\x"',
    b"!!bool maybe", b"!!timestamp x", b"!!int x", b"!!null x", b"!!str [a]", b"yes",
    b"!!binary '%'", b"*x", b"&x [*x]", b"1e-400", b"12e03", b"1_000", b"._", b"-",
    b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 300, b"=", b"<<",
    b"!!float x", b"1_e3", b"{<<: 1}", b"{<<: [1]}", b"{<<: {<<: {}}}", b"1" + b"0" * 400,
)  # fmt: skip
