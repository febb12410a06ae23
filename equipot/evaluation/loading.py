"""Labeled structures from the files of a command line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import keys_of, read_structures
from equipot.data.structure import Structure

LIKE_A_LABEL = re.compile(r"energy|force|stress|virial", re.IGNORECASE)
"""Part of a key that tells of a label."""
OURS = "equipot_"
"""Start of the keys of predictions."""


def load_structures(
    files: Sequence[Path],
    keys: KeysConfig,
    hessians: Path | None = None,
    units: UnitsConfig | None = None,
) -> list[Structure]:
    """Read files and check that they have what was asked for.

    Args:
        files: Files in any format of ASE but pickles.
        keys: Names of the labels; names that were given must be in the files.
        hessians: File (.npz) with the Hessians of the structures of a single file.
        units: Units of the files; those of the package by default.

    Returns:
        The structures in the order of the files, isolated atoms among them.

    Raises:
        DataError: If a file cannot be read or is given twice, or if no structure has a
            label that was named.
    """
    if twice := [str(file) for n, file in enumerate(files) if file in files[:n]]:
        raise DataError(f"{twice[0]} is given twice: its structures would count double")
    if hessians is not None and len(files) > 1:
        raise DataError(
            f"{hessians} holds the Hessians of one file, but {len(files)} are given; "
            "evaluate them one by one"
        )
    structures = [
        s for file in files for s in read_structures(file, keys, hessians, units)
    ]
    present = keys_of(structures)
    if missing := keys.absent(present):
        wanted = ", ".join(f"{label} under {key!r}" for label, key in missing.items())
        raise DataError(
            f"no structure has {wanted}; {_found(present)}: name one of them with "
            f"{', '.join(f'--{label}-key' for label in missing)}"
        )
    return structures


def with_keys_of_training(keys: KeysConfig, header: Mapping[str, Any]) -> KeysConfig:
    """Names of labels: those that are given, else those that the model learned from.

    Args:
        keys: Names that were given; these must be in the files.
        header: Of the model; one that no configuration was trained by knows no names.

    Returns:
        Names of all labels. Those of the training need not be in the files.
    """
    config = header.get("provenance", {}).get("config", {})
    learned = KeysConfig.model_validate(config.get("data", {}).get("keys", {}))
    given = keys.model_fields_set
    names = {
        label: getattr(keys if label in given else learned, label)
        for label in KeysConfig.model_fields
    }
    if "stress" in given and "virials" not in given:
        names["virials"] = None
    return KeysConfig.model_construct(_fields_set=set(given), **names)


def check_no_labels_were_missed(
    structures: Sequence[Structure], keys: KeysConfig
) -> None:
    """Refuse structures without labels where others of their keys look like labels.

    Raises:
        DataError: Saying what was looked for and what there is.
    """
    present = keys_of(structures)
    if any(LIKE_A_LABEL.search(k) for k in present if not k.startswith(OURS)):
        check_labels(structures, keys)


def check_labels(structures: Sequence[Structure], keys: KeysConfig) -> None:
    """Refuse structures without any label: there is nothing to compare with.

    Raises:
        DataError: Saying what was looked for and what there is.
    """
    if any(s.has for s in structures):
        return
    raise DataError(
        f"no structure has a label: looked for {', '.join(keys.sources)}; "
        f"{_found(keys_of(structures))}. Name the labels with --energy-key, "
        "--forces-key and --stress-key; predictions for structures without labels are "
        "written with --output alone"
    )


def _found(present: Sequence[str]) -> str:
    return f"the files have the keys {', '.join(present) or 'none'}"
