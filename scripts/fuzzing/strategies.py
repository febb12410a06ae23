"""Damaged inputs as strategies of hypothesis: seeds flipped, cut and spliced."""

import copy
import json
import math
import re
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from fuzzing.archives import archive, hessian, hessian_seeds, npy, with_header
from fuzzing.configurations import config_seeds
from fuzzing.foreign import PICKLE, foreign_seeds, members
from fuzzing.model_files import model_seeds, pack, sign, unpack
from fuzzing.structures import structure_seeds

NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
VALUES = [
    b"nan", b"-inf", b"1e400", b"-0", b"0", b"1e-320", b"1e30", b"1e300", b"-1", b"2",
    b"119", b"1000000000", b"1000000000000", b"2147483648", b"9223372036854775808",
    b"9" * 5000, b"1_0", b"1d5", b"1,5", b"*****", b"", b"1/0", b"\xd9\xa3", b"null",
    b"true", b"[]", b"{}", b"[[1e9]]", b'"x"', b".nan", b"(1,)", b"'|O'", b"'|V99999'",
]  # fmt: skip
"""Replacements of a number."""
WORDS = [
    b"X", b"H", b"Og", b"nan", b"None", b"null", b"True", b"__import__", b"", b"\x00",
    b"\xff\xfe", b"a" * 3000, b"../../etc/passwd", b"!!python/object/apply:os.system",
]  # fmt: skip
"""Replacements of a word."""
PIECES = [
    b"\x00", b"\n\n", b"\r\n", b"\xff" * 8, b"[" * 2000, b"{" * 2000, b"(" * 400, b'"',
    b"'", b"#", b" " * 5000, b"\xef\xbb\xbf", b"\x80\x04", b"- of Ulm", b"PK\x03\x04",
    b"\x1f\x8b", b"&a [*a, *a]", b"ITEM: TIMESTEP\n", b"<!ENTITY a 'b'>",
]  # fmt: skip
"""Insertions at any place."""
BINARY = [
    *(struct.pack("<q", n) for n in (0, 1, -1, 10**6, 2**40, 2**63 - 1, -(2**63))),
    *(struct.pack("<i", n) for n in (0, 1, -1, 10**6, 2**31 - 1)),
    *(struct.pack("<d", x) for x in (math.nan, math.inf, 1e300, -1e9, 1e-320)),
    *(struct.pack("<f", x) for x in (math.nan, -math.inf, 3e38, -1e20)),
]
"""Overwritten numbers of binary formats."""
LEAVES: list[Any] = [
    None, True, -1, 0, 2, 119, 500, 10**6, 10**9, 2**63, 10**30, 10**400, 1e300, 1e-300,
    math.nan, "", "x", "\ud800", "x" * 3000, [], {}, [[]], [1, 2, 3], {"a": 1}, [None],
    [10**9], [4] * 3000, ["H"], "fused", "auto", "gaunt_fft", "float64", "per_degree",
]  # fmt: skip
"""Replacements of a leaf or a branch of a tree."""
CHANGES = (
    "flip", "truncate", "remove", "repeat", "splice", "insert", "binary", "binary",
    "number", "number", "number", "digits", "digits", "word", "word",
)  # fmt: skip
LONGEST_INPUT_BYTES = 1 << 18
COMMON = ("extxyz", "extxyz labels", "traj", "json", "db", "vasp", "cif", "vasp-xml")
"""Formats of most files, drawn as often as all others together."""

Input = tuple[str, bytes]
"""File name and contents."""


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """One piece of the data replaced, removed, repeated, or copied to another place."""
    start = draw(st.integers(0, len(data)))
    stop = min(start + draw(st.sampled_from((0, 1, 4, 16, 64, 512))), len(data))
    by = b""
    match draw(st.sampled_from(CHANGES)):
        case "flip":
            stop, by = start + 1, draw(st.binary(min_size=1, max_size=2))
        case "truncate":
            stop = len(data)
        case "repeat":
            by = data[start:stop] * 2
        case "splice":
            other = draw(st.integers(0, len(data)))
            by = data[other : other + draw(st.integers(0, 512))]
        case "insert":
            stop, by = start, draw(st.sampled_from(PIECES))
        case "binary":
            by = draw(st.sampled_from(BINARY))
            start -= start % len(by)
            stop = start + len(by)
        case "number" if tokens := list(NUMBER.finditer(data)):
            start, stop = tokens[draw(st.integers(0, len(tokens) - 1))].span()
            by = draw(st.sampled_from(VALUES))
        case "digits" if tokens := list(NUMBER.finditer(data)):
            start, stop = tokens[draw(st.integers(0, len(tokens) - 1))].span()
            by = (draw(st.sampled_from((b"9", b"0", b"-1", b"1e9"))) * 30)[
                : stop - start
            ]
        case "word" if tokens := list(WORD.finditer(data)):
            start, stop = tokens[draw(st.integers(0, len(tokens) - 1))].span()
            by = draw(st.sampled_from(WORDS))
    return data[:start] + by + data[stop:]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Data with one to four changes."""
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 4)))):
        data = draw(changed(data))
    return data[:LONGEST_INPUT_BYTES]


@st.composite
def edited(draw: st.DrawFn, tree: Any) -> Any:
    """Copy of a tree of JSON with one to three leaves or branches replaced."""
    root = {"": copy.deepcopy(tree)}
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        parent: Any = root
        key: Any = ""
        while isinstance(parent[key], dict | list) and parent[key]:
            if not draw(st.integers(0, 5)):
                break
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = draw(st.sampled_from(keys))
        other = st.sampled_from(LEAVES) | st.integers() | st.floats()
        parent[key] = copy.deepcopy(draw(other))
    return root[""]


@st.composite
def structures(draw: st.DrawFn, only: str | None = None) -> Input:
    """Structures in one format, or in any."""
    seeds = structure_seeds()
    some = st.sampled_from(COMMON) | st.sampled_from(sorted(seeds))
    name, data = seeds[only or draw(some)]
    if name.endswith(".db") and draw(st.booleans()):
        return name, draw(_databases(data))
    return name, draw(damaged(data))


@st.composite
def _databases(draw: st.DrawFn, data: bytes) -> bytes:
    """Database of ASE with one damaged field."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.text_factory = bytes
            fields = connection.execute("SELECT * FROM systems WHERE id = 1")
            names = [column[0] for column in fields.description]
            row = dict(zip(names, fields.fetchone(), strict=True))
            name = draw(st.sampled_from(names))
            old = row[name] if isinstance(row[name], bytes) else str(row[name]).encode()
            new = draw(damaged(old) | st.sampled_from(VALUES))
            value = new.decode(errors="replace") if draw(st.booleans()) else new
            with suppress(sqlite3.Error):  # the table may not take this value
                statement = f"UPDATE systems SET {name} = ? WHERE id = 1"
                connection.execute(statement, (value,))
        return path.read_bytes()


@st.composite
def hessians(draw: st.DrawFn) -> Input:
    """Archives: damaged as a whole, in an array, in its header, or in the names."""
    archives = hessian_seeds()
    array, name = npy(hessian()), "0.npy"
    match draw(st.integers(0, 4)):
        case 0:
            data = draw(damaged(draw(st.sampled_from(archives))))
            return "hessians.npz", data
        case 1:
            array = draw(damaged(array))
        case 2 | 3:
            header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (6, 6), }"
            array = with_header(draw(damaged(header)))
        case _:
            name = draw(damaged(b"0.npy")).decode(errors="replace")[:9000]
    compression = draw(st.sampled_from((0, 8)))
    return "hessians.npz", archive([(name, array), ("1.npy", array)], compression)


@st.composite
def configurations(draw: st.DrawFn) -> Input:
    """Configurations of training and dynamics, and overrides."""
    name, data = draw(st.sampled_from(config_seeds()))
    if name.endswith(".yaml") and draw(st.booleans()):
        tree = draw(edited(yaml.safe_load(data)))
        return name, yaml.safe_dump(tree, sort_keys=False).encode()
    return name, draw(damaged(data))


@st.composite
def models(draw: st.DrawFn) -> Input:
    """Models and states: raw damage, and damage behind a checksum that fits."""
    name, data = draw(st.sampled_from(list(model_seeds().values())))
    layout, body = unpack(data)
    header = layout["__metadata__"]["equipot"]
    match draw(st.integers(0, 9)):
        case 0:
            return name, draw(damaged(data))
        case 1:
            text = draw(damaged(json.dumps(layout).encode()))
            return name, len(text).to_bytes(8, "little") + text + body
        case 2 | 3:
            layout = draw(edited(layout))
        case 4:
            place = draw(st.integers(0, len(body) // 8))
            number = draw(st.sampled_from(BINARY))
            body = body[: 8 * place] + number + body[8 * place + len(number) :]
        case 5:
            text = draw(damaged(header.encode()))
            layout["__metadata__"]["equipot"] = text.decode(errors="replace")
        case _:
            header = json.dumps(draw(edited(json.loads(header))))
            layout["__metadata__"]["equipot"] = header
    sign(layout, body)
    return name, pack(layout, body)


@st.composite
def foreign(draw: st.DrawFn) -> Input:
    """Models of other packages: raw damage, and damage behind checksums that fit."""
    name, data = draw(st.sampled_from(foreign_seeds()))
    if name.endswith(".nqx") or not draw(st.integers(0, 3)):
        return name, draw(damaged(data))
    entries = members(data)
    pickles = [n for n, (member, _) in enumerate(entries) if member.endswith(PICKLE)]
    chosen = draw(st.sampled_from(pickles * 5) | st.integers(0, len(entries) - 1))
    member, content = entries[chosen]
    if draw(st.integers(0, 9)):
        content = draw(damaged(content))
    else:
        member = draw(damaged(member.encode())).decode(errors="replace")[:9000]
    entries[chosen] = (member, content)
    return name, archive(entries, draw(st.sampled_from((0, 0, 0, 8))))


TARGETS: dict[str, Callable[[], st.SearchStrategy[Input]]] = {
    "structures": structures,
    "hessians": hessians,
    "configurations": configurations,
    "models": models,
    "foreign": foreign,
}
"""Strategy of each reader in `fuzzing.readers`."""
