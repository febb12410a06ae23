"""The n-th mutated input of a kind: a function of seed, kind and number alone."""

import sqlite3
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from random import Random

from fuzzing.archives import hessian_seeds, mutated_archive
from fuzzing.cases import Case
from fuzzing.configurations import config_seeds, mutated_config
from fuzzing.model_files import model_seeds, mutated_model
from fuzzing.mutators import BINARY, TEXT, WORDS, change_digits, damage
from fuzzing.structure_seeds import structure_seeds
from fuzzing.structure_traps import TRAPS

KINDS = ("structures", "hessians", "configs", "models")
BINARY_FORMATS = {"traj", "db", "extxyz.gz"}
FREQUENT = ("extxyz", "extxyz", "extxyz", "extxyz labels", "extxyz labels", "extxyz "
            "labels", "traj", "traj", "json", "db", "vasp", "cif", "vasp-xml")  # fmt: skip
"""Formats that most files have."""


class Corpus:
    """Seeds, and what is made of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @cached_property
    def structures(self) -> dict[str, tuple[str, bytes]]:
        """Seeds of structures."""
        return structure_seeds()

    @cached_property
    def hessians(self) -> dict[str, bytes]:
        """Seeds of Hessians."""
        return hessian_seeds()

    @cached_property
    def configs(self) -> dict[str, tuple[str, bytes]]:
        """Seeds of configurations."""
        return config_seeds()

    @cached_property
    def models(self) -> dict[str, tuple[str, bytes]]:
        """Seeds of models and states."""
        return model_seeds()

    def intact(self) -> list[Case]:
        """All seeds as they are: each must be read."""
        cases = []
        for kind in KINDS:
            for label, seed in getattr(self, kind).items():
                name, data = ("hessians.npz", seed) if kind == "hessians" else seed
                cases.append(Case(kind, f"{label} intact", name, data))
        return cases

    def case(self, kind: str, number: int) -> Case:
        """A mutated input."""
        rng = Random(f"{self.seed}/{kind}/{number}")
        match kind:
            case "structures":
                return self._structure(rng)
            case "hessians":
                label, data = mutated_archive(rng, self.hessians)
                return Case(kind, label, "hessians.npz", data)
            case "configs":
                return Case(kind, *mutated_config(rng, self.configs))
            case "models":
                return Case(kind, *mutated_model(rng, self.models))
        raise ValueError(f"kind must be among {', '.join(KINDS)}, got {kind!r}")

    def _structure(self, rng: Random) -> Case:
        seeds = self.structures
        if rng.random() < 0.03:
            return Case("structures", "trap", *rng.choice(TRAPS))
        label = rng.choice(FREQUENT if rng.random() < 0.5 else list(seeds))
        name, data = seeds[label]
        if label == "db" and rng.random() < 0.7:
            return Case("structures", "db sql", name, _change_row(data, rng))
        mutators = BINARY if label in BINARY_FORMATS else TEXT
        if label == "json" and rng.random() < 0.3:
            mutators = (change_digits,)
        data = damage(data, mutators, rng)
        if rng.random() < 0.01:  # a file of one format under the name of another
            name = seeds[rng.choice(list(seeds))][0]
        return Case("structures", label, name, data)


def _change_row(data: bytes, rng: Random) -> bytes:
    """Database with one field overwritten, or another schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(data)
        connection = sqlite3.connect(path)
        connection.text_factory = bytes
        with connection:
            if rng.random() < 0.15:
                for statement in rng.choice(SCHEMAS):
                    connection.execute(statement)
            columns = [r[1].decode() for r in connection.execute(COLUMNS)]
            column = rng.choice(columns) if columns else "id"
            if columns:
                quoted = f'"{column}"'
                found = connection.execute(f"SELECT {quoted} FROM systems").fetchone()
                new = _field(found[0] if found else b"", rng)
                with suppress(sqlite3.Error):  # a view, or a constraint of the table
                    connection.execute(f"UPDATE systems SET {quoted} = ?", (new,))
        connection.close()
        return path.read_bytes()


def _field(old: object, rng: Random) -> object:
    if isinstance(old, bytes) and rng.random() < 0.6:
        changed = damage(old, (*BINARY, *TEXT), rng)
        return changed.decode(errors="replace") if rng.random() < 0.3 else changed
    return rng.choice(
        (None, 0, -1, 2**40, 1e308, "", "null", "{}", "[]", "nan", b"", b"\x00" * 12,
         '{"a": {"__ndarray__": [[1000000000], "float64", [0.0]]}}', float("inf"),
         '{"__ase_objtype__": "cell", "array": [1]}', rng.choice(WORDS))
    )  # fmt: skip


COLUMNS = "SELECT * FROM pragma_table_info('systems')"
ENDLESS = (
    "CREATE VIEW systems AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM "
    "c) SELECT " + ", ".join(["x"] * 27) + " FROM c"
)
SCHEMAS: tuple[tuple[str, ...], ...] = (
    ("ALTER TABLE systems RENAME TO other",),
    ("ALTER TABLE systems RENAME TO other", ENDLESS),
    ("ALTER TABLE systems ADD COLUMN big AS (zeroblob(900000000))",),
    ("ALTER TABLE systems DROP COLUMN positions",),
    ("ALTER TABLE systems RENAME COLUMN positions TO numbers2",),
    ("DELETE FROM systems",),
    ("UPDATE information SET value = '99'",),
    ("UPDATE information SET value = 'x'",),
    ("DELETE FROM information",),
    ("ALTER TABLE information RENAME TO x",),
    ("CREATE TRIGGER t AFTER INSERT ON systems BEGIN SELECT 1; END",),
    ("INSERT INTO information VALUES ('metadata', '[[[[')",),
    ("INSERT INTO information VALUES ('external_table_name', 'x')",),
)
