"""Loading of labeled structures for evaluation."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import keys_of, read_structures
from equipot.data.structure import Structure

LABEL_KEY_PATTERN = re.compile(r"energy|force|stress|virial", re.IGNORECASE)
"""Pattern of keys that look like labels."""
PREDICTION_KEY_PREFIX = "equipot_"
"""Prefix of the keys of predictions."""


def load_structures(
    files: Sequence[Path],
    keys: KeysConfig,
    hessians: Path | None = None,
    units: UnitsConfig | None = None,
) -> list[Structure]:
    """Read files and check that the requested labels are present.

    Args:
        files: Files in any format of ASE except pickles.
        keys: Names of the labels; explicitly given names must be in the files.
        hessians: File (.npz) with the Hessians of the structures of a single file.
        units: Units of the files; by default those of the package.

    Returns:
        The structures in the order of the files, isolated atoms among them.

    Raises:
        DataError: If a file cannot be read or is given twice, or no structure has an
            explicitly named label.
    """
    if twice := [str(file) for n, file in enumerate(files) if file in files[:n]]:
        raise DataError(
            f"{twice[0]} is given twice: its structures would count twice; remove one"
        )
    if hessians is not None and len(files) > 1:
        raise DataError(
            f"{hessians} has the Hessians of one file, but {len(files)} files are "
            "given; evaluate them separately"
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
    """Names of labels: given ones, otherwise those of the training data.

    Args:
        keys: Explicitly given names, which must be in the files.
        header: Header of the model; without a training configuration it has no names.

    Returns:
        Names of all labels; those of the training data need not be in the files.
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
    """Raise if structures have no labels but other keys that look like labels.

    Raises:
        DataError: With the expected and the existing keys.
    """
    present = keys_of(structures)
    if any(
        LABEL_KEY_PATTERN.search(k)
        for k in present
        if not k.startswith(PREDICTION_KEY_PREFIX)
    ):
        check_labels(structures, keys)


def check_labels(structures: Sequence[Structure], keys: KeysConfig) -> None:
    """Raise if structures have no labels at all.

    Raises:
        DataError: With the expected and the existing keys.
    """
    if any(s.has for s in structures):
        return
    raise DataError(
        f"no structure has a label: expected {', '.join(keys.sources)}; "
        f"{_found(keys_of(structures))}. Name the labels with --energy-key, "
        "--forces-key and --stress-key; predictions for structures without labels are "
        "written with --output alone"
    )


def _found(present: Sequence[str]) -> str:
    return f"the files have the keys {', '.join(present) or 'none'}"
