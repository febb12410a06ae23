"""Files of `torch.save`, written by hand, so that any of their bytes can be wrong."""

import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Name:
    """A class or function."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call of one."""

    target: Any
    args: Any


@dataclass(frozen=True)
class Build:
    """A value, and its state."""

    value: Any
    state: Any


@dataclass(frozen=True)
class Persistent:
    """A value outside of the pickle."""

    identifier: Any


@dataclass(frozen=True)
class Raw:
    """Operations as they are."""

    content: bytes


TENSOR = Name("torch._utils", "_rebuild_tensor_v2")


def storage(numel: Any, key: Any = "0", kind: Any = None) -> Persistent:
    """Storage of a tensor."""
    return Persistent(
        ("storage", kind or Name("torch", "FloatStorage"), key, "cpu", numel)
    )


def tensor(
    shape: Any, stride: Any, offset: Any = 0, of: Any = None, count: Any = 4
) -> Call:
    """A tensor of four numbers, unless told otherwise."""
    hooks = Call(Name("collections", "OrderedDict"), ())
    place = storage(count) if of is None else of
    return Call(TENSOR, (place, offset, shape, stride, False, hooks))


def encode(value: Any) -> bytes:
    """Operations that push a value."""

    def joined(values: Any) -> bytes:
        return b"".join(map(encode, values))

    match value:
        case Raw(content):
            found = content
        case Name(module, name):
            found = f"c{module}\n{name}\n".encode()
        case Call(target, args):
            found = joined([target, args]) + b"R"
        case Build(inner, state):
            found = joined([inner, state]) + b"b"
        case Persistent(identifier):
            found = encode(identifier) + b"Q"
        case tuple():
            found = b"(" + joined(value) + b"t"
        case list():
            found = b"](" + joined(value) + b"e"
        case dict():
            found = b"}(" + joined(part for item in value.items() for part in item)
            found += b"u"
        case bytes():
            found = b"B" + struct.pack("<I", len(value)) + value
        case str():
            found = b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case _:  # a plain value, without the protocol and the stop
            found = pickle.dumps(value, 2)[2:-1]
    return found


def program(value: Any) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + encode(value) + b"."


def write_archive(
    path: Path,
    content: bytes,
    members: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A file of `torch.save` with this pickle and one storage of four numbers."""
    everything = {
        "model/data.pkl": content,
        "model/byteorder": b"little",
        "model/data/0": struct.pack("<4f", 1.0, 2.0, 3.0, 4.0),
        "model/version": b"3\n",
        **(members or {}),
    }
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in everything.items():
            file.writestr(name, data)
    return path
