"""Safetensors files with a JSON header and checksum, written atomically.

All models and states are stored in this format. It contains no pickle, so reading a
file cannot execute code.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from equipot.storage.atomic_file import write_atomically
from equipot.storage.nesting import load_json
from equipot.system.paths import located

HEADER_KEY = "equipot"
MAX_HEADER_BYTES = 64 * 2**20


class TensorFileError(ValueError):
    """The file is not a valid tensor file: foreign, truncated or altered."""


def write_tensor_file(
    path: Path, kind: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> str:
    """Write a tensor file atomically.

    Args:
        path: Replaced in one step after the content has been flushed to disk.
        kind: Kind of content, such as ``"potential"``.
        header: JSON values.
        tensors: Tensors, stored bit for bit.

    Returns:
        SHA-256 of header and tensors in hexadecimal.
    """
    # safetensors keeps the shape of 0-d tensors, but rejects shared storage
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    text = json.dumps({"kind": kind, **header}, sort_keys=True, allow_nan=False)
    sha256 = digest(plain, text)
    metadata = {HEADER_KEY: text, "sha256": sha256}
    write_atomically(path, _in_order(save(plain, metadata=metadata)))
    return sha256


def read_tensor_file(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file written by `write_tensor_file`.

    Returns:
        header: Header, with ``sha256``.
        tensors: Tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no file.
        TensorFileError: If it is foreign, truncated, altered, or of another kind.
    """
    header = read_tensor_file_header(path, kind)
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()[HEADER_KEY]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TensorFileError(f"{path} is damaged: {_short(error)}") from error
    if digest(tensors, text) != header["sha256"]:
        raise TensorFileError(
            f"{path} is damaged: it does not match its SHA-256; get an intact copy"
        )
    return header, tensors


def read_tensor_file_header(path: Path, kind: str) -> dict[str, Any]:
    """Read the header of a file without its tensors.

    Raises:
        FileNotFoundError: If there is no file.
        TensorFileError: If it is foreign, truncated, or of another kind.
    """
    _check_layout(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise TensorFileError(
            f"{path} is truncated or damaged: {_short(error)}; get an intact copy"
        ) from error
    if HEADER_KEY not in metadata or "sha256" not in metadata:
        raise TensorFileError(
            f"{path} is a safetensors file of another program: it has no "
            f"{HEADER_KEY!r} header"
        )
    try:
        header = load_json(metadata[HEADER_KEY], parse_constant=_reject_constant)
        found = header["kind"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TensorFileError(
            f"{path} has an unreadable header: {_short(error)}"
        ) from error
    if found != kind:
        raise TensorFileError(f"{path} contains a {str(found)[:60]}, expected a {kind}")
    return {**header, "sha256": metadata["sha256"]}


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of names, types, shapes and bits of tensors, in hexadecimal.

    Args:
        tensors: Tensors on any device.
        text: Text to hash first.
    """
    total = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(plain.view(torch.uint8).numpy().data)
    return total.hexdigest()


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a file, whose order safetensors does not define."""
    length = int.from_bytes(content[:8], "little")
    header = load_json(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _short(error: Exception) -> str:
    """Truncated message of a parser, which may quote names of any length."""
    return str(error)[:300]


def _reject_constant(name: str) -> float:
    """Reject numbers that `write_tensor_file` does not write."""
    raise ValueError(f"{name} is not a JSON number")


def _check_layout(path: Path) -> None:
    """Check the layout of a safetensors file before it is parsed."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {located(path)}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{":
        raise TensorFileError(
            f"{path} is not a safetensors file (pickled models are rejected: they can "
            "execute code)"
        )
    if length > min(size - 8, MAX_HEADER_BYTES):
        raise TensorFileError(
            f"{path} is truncated or damaged: its header declares {length} bytes, the "
            f"file has {size}"
        )
