"""Hashes of the header of a model file, which reveal that it was edited."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import equipot
from equipot.storage.tensor_file import digest
from equipot.verify.result import Check

FEATURES = "domain.features."
"""Prefix of tensors of the domain of validity."""
HASHED_SECTIONS = ("model", "statistics", "units")
"""Sections of a header that are hashed key by key with the golden outputs."""
UNHASHED_KEYS = ("model.backend", "model.node_backend")
"""Keys in these sections that affect neither predictions nor domain."""


def seals(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Hash of each key of a header, and of each tensor of a domain.

    Golden outputs detect changes of predictions. These hashes detect changes of the
    domain of validity and of the units.
    """
    plain = json.loads(json.dumps({name: header[name] for name in HASHED_SECTIONS}))
    keys = {
        f"{name}.{key}": value
        for name in HASHED_SECTIONS
        for key, value in plain[name].items()
        if f"{name}.{key}" not in UNHASHED_KEYS
    }
    cloud = {k: v for k, v in tensors.items() if k.startswith(FEATURES)}
    texts = {key: json.dumps(value, sort_keys=True) for key, value in keys.items()}
    texts["samples"] = json.dumps(header["samples"], sort_keys=True)
    texts[FEATURES.rstrip(".")] = digest(cloud)
    return {key: seal(text) for key, text in texts.items()}


def edited_keys(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[str]:
    """Keys that are not what they were when the golden outputs were computed."""
    if header["golden"] is None:
        return []
    before = header["golden"]["sealed"]
    now = seals(header, tensors)
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


def refusal(
    path: Path | str,
    header: Mapping[str, Any],
    failures: Sequence[Check],
    edited: Sequence[str],
) -> str:
    """Message with the differences, and what to do."""
    lines = [str(check) for check in failures]
    lines += [f"{key} is now {_value(header, key)}" for key in edited]
    found = "\n".join(f"  {line}" for line in lines)
    reason = (
        "the file was edited after it was saved: get an intact copy"
        if edited
        else (
            "the file or the code was edited: it was written by "
            f"equipot {str(header.get('equipot_version'))[:20]}, this is "
            f"{equipot.__version__}. Get an intact copy of the file or the code; with "
            "verify=False it is loaded nevertheless"
        )
    )
    return f"{path} is not the model that was saved:\n{found}\n{reason}"


def _value(header: Mapping[str, Any], key: str) -> str:
    """Value of a key such as ``statistics.cutoff``, shortened."""
    section, _, name = key.partition(".")
    if section in HASHED_SECTIONS:
        return str(header[section].get(name, "missing"))[:80]
    return "different"


def seal(text: str) -> str:
    """Hash of a header value as JSON."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
