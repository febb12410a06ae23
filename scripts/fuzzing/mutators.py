"""Deterministic damage: bytes, tokens of text, trees of JSON."""

import copy
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
NUMBERS = [
    b"nan", b"inf", b"-inf", b"1e400", b"-1e400", b"-0", b"0", b"1e-320", b"1e30",
    b"1e300", b"-1", b"2", b"119", b"1000000000000", b"4294967296", b"2147483648",
    b"9223372036854775808", b"18446744073709551616", b"9" * 400, b"9" * 5000, b"1_0",
    b"0x10", b"1d5", b"1,5", b"*****", b"", b"None", b"true", b"1/0", b"1e", b"--1",
    b"\xd9\xa3", b"\xff",
]  # fmt: skip
"""What a number is replaced by."""
WORDS = [
    b"X", b"H", b"Og", b"Uuo", b"Xx", b"nan", b"None", b"null", b"True", b"__class__",
    b"__import__", b"", b"\x00", b"\xe2\x80\xae", b"\xff\xfe", b"a" * 3000, b"%s%n",
    b"../../etc/passwd", b"$(id)", b"!!python/object/apply:os.system",
]  # fmt: skip
"""What a word is replaced by."""
CHUNKS = [
    b"\x00", b"\n\n", b"\r\n", b"\xff" * 8, b"[" * 2000, b"{" * 2000, b"(" * 400,
    b'"', b"'", b"#", b"=" * 10, b" " * 5000, b"\t", b"\xef\xbb\xbf", b"\x80\x04",
    b"- of Ulm", b"PK\x03\x04", b"\x1f\x8b", b"$coord", b"ITEM: TIMESTEP\n",
]  # fmt: skip
"""What is inserted anywhere."""
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 119, 1.5, -1e300, 1e300, 1e-320, float("nan"),
    float("inf"), 2**31, 2**63, 2**64, 10**12, 10**30, 10**400, "", "a", "nan", "1",
    "\x00", "\ud800", "x" * 3000, [], {}, [[]], [1, 2, 3], {"a": 1}, [None], ["H"],
    [[1e9]], "fused", "gaunt_fft", "auto", "float64", "O(3)", "-1", "1e9",
]  # fmt: skip
"""What a node of a tree is replaced by."""

Mutator = Callable[[bytes, Random], bytes]


def flip_bytes(data: bytes, rng: Random) -> bytes:
    """Change a few bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if out:
            place = rng.randrange(len(out))
            out[place] = rng.choice((rng.randrange(256), out[place] ^ 1, 0, 255))
    return bytes(out)


def truncate(data: bytes, rng: Random) -> bytes:
    """Keep the beginning only, rarely the end only."""
    place = rng.randrange(len(data) + 1)
    return data[place:] if rng.random() < 0.1 else data[:place]


def delete_chunk(data: bytes, rng: Random) -> bytes:
    """Leave out a piece."""
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def duplicate_chunk(data: bytes, rng: Random) -> bytes:
    """Repeat a piece, elsewhere too."""
    start, stop = _span(data, rng)
    place = rng.choice((stop, rng.randrange(len(data) + 1)))
    return data[:place] + data[start:stop] * rng.choice((1, 1, 3)) + data[place:]


def insert_chunk(data: bytes, rng: Random) -> bytes:
    """Insert what parsers trip over."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(CHUNKS) + data[place:]


def change_number(data: bytes, rng: Random) -> bytes:
    """Replace one number of a text."""
    return _replace(data, NUMBER, lambda _: rng.choice(NUMBERS), rng)


def change_digits(data: bytes, rng: Random) -> bytes:
    """Replace a number by another one that is as long, as binary formats need it."""

    def other(old: bytes) -> bytes:
        choices = (b"9" * len(old), b"0" * len(old), b"-" + b"1" * (len(old) - 1))
        return rng.choice((*choices, b"1e" + b"9" * (len(old) - 2)))[: len(old)]

    return _replace(data, NUMBER, other, rng)


def change_word(data: bytes, rng: Random) -> bytes:
    """Replace one word by another of the text, or by a nasty one."""

    def other(_: bytes) -> bytes:
        if rng.random() < 0.5:
            return rng.choice(WORDS)
        found = WORD.findall(data[: 1 << 14])
        return rng.choice(found) if found else b""

    return _replace(data, WORD, other, rng)


def change_line(data: bytes, rng: Random) -> bytes:
    """Leave out, repeat, swap, split or join lines."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[a]
        case 1:
            lines.insert(b, lines[a])
        case 2:
            lines[a], lines[b] = lines[b], lines[a]
        case 3:
            lines[a] = lines[a].replace(b" ", b"\n", 1)
        case _:
            lines[a] = lines[a].rstrip(b"\r\n") + b" "
    return b"".join(lines)


def change_integer(data: bytes, rng: Random) -> bytes:
    """Overwrite 4 or 8 aligned bytes with an integer."""
    size = rng.choice((4, 8))
    if len(data) < size:
        return data
    place = rng.randrange(0, len(data) - size + 1)
    place -= place % size
    value = rng.choice((0, 1, -1, 2**31 - 1, 10**6, len(data), rng.randrange(1 << 31)))
    if size == 8 and rng.random() < 0.5:
        value = rng.choice((2**63 - 1, -(2**63), 10**12, 2**40))
    return (
        data[:place]
        + value.to_bytes(size, "little", signed=True)
        + data[place + size :]
    )


BINARY: Sequence[Mutator] = (
    flip_bytes, flip_bytes, truncate, delete_chunk, duplicate_chunk, insert_chunk,
    change_digits, change_digits, change_integer, change_integer,
)  # fmt: skip
TEXT: Sequence[Mutator] = (
    flip_bytes, truncate, delete_chunk, duplicate_chunk, insert_chunk, change_number,
    change_number, change_number, change_word, change_word, change_line, change_line,
)  # fmt: skip


def damage(data: bytes, mutators: Sequence[Mutator], rng: Random) -> bytes:
    """Apply one to four mutators."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(mutators)(data, rng)
    return data[: 1 << 18]


def change_tree(tree: Any, rng: Random) -> Any:
    """Copy of a tree of JSON with one to three changes anywhere in it."""
    root = {"": copy.deepcopy(tree)}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parent, key = _pick(root, rng)
        _change(parent, key, rng)
        if "" not in root:
            root = {"": None}
    return root[""]


def _pick(root: dict[str, Any], rng: Random) -> tuple[Any, Any]:
    """A container and a key of it, at any depth."""
    parent: Any = root
    key: Any = ""
    while isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.85:
        parent = parent[key]
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        key = rng.choice(keys)
    return parent, key


def _change(parent: Any, key: Any, rng: Random) -> None:
    match rng.randrange(8):
        case 0 if len(parent) > 1:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(("", "model", "elements", "x" * 500))] = parent.pop(key)
        case 2:
            value = parent[key]
            for _ in range(rng.choice((1, 5, 60, 400))):
                value = [value] if rng.random() < 0.5 else {"a": value}
            parent[key] = value
        case 3 if isinstance(parent, list):
            parent.extend([copy.deepcopy(parent[key])] * rng.choice((1, 10, 1000)))
        case 4 if isinstance(parent[key], int | float):
            factor = rng.choice((-1, 0, 1000, 10**9, 10**18, 1e-9))
            parent[key] = parent[key] * factor
        case 5 if isinstance(parent[key], str):
            parent[key] = parent[key] * 2 + rng.choice(("", "\x00", "é"))
        case _:
            parent[key] = copy.deepcopy(rng.choice(VALUES))


def _span(data: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    longest = rng.choice((1, 4, 16, 64, 512))
    return start, min(start + rng.randint(1, longest), len(data))


def _replace(
    data: bytes,
    pattern: re.Pattern[bytes],
    other: Callable[[bytes], bytes],
    rng: Random,
) -> bytes:
    # found from a random place on: counting all of them first would be slow
    start = rng.randrange(len(data) + 1) if rng.random() < 0.8 else 0
    found = pattern.search(data, start) or pattern.search(data)
    if found is None:
        return data
    return data[: found.start()] + other(found.group()) + data[found.end() :]
