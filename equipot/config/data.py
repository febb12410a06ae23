"""Data files, and the keys of their labels."""

from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AliasChoices,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    field_validator,
    model_serializer,
    model_validator,
)

from equipot.config.base import Config
from equipot.config.label_units import UnitsConfig

Key = Annotated[str, Field(min_length=1)] | None
Number = Annotated[int, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
LABELS = ("energy", "forces", "stress", "virials", "hessian")


REFERENCE_NAMES = {
    "isolatedatom": "isolated_atoms",
    "isolated": "isolated_atoms",
    "average": "least_squares",
}
"""Names of sources of reference energies in other programs."""


class KeysConfig(Config):
    """Keys of the labels in the files; null for a label that is not used.

    A label is missing if the files lack its default key. A configured key must
    be in the files, so that a misspelled key is an error.
    """

    energy: Key = Field(
        "REF_energy", validation_alias=AliasChoices("energy", "energy_key")
    )
    """Total energy in eV."""
    forces: Key = Field(
        "REF_forces", validation_alias=AliasChoices("forces", "forces_key")
    )
    """Forces in eV/Å."""
    stress: Key = Field(
        "REF_stress", validation_alias=AliasChoices("stress", "stress_key")
    )
    """Stress in eV/Å^3, positive in tension: 3x3, 9 numbers, or xx yy zz yz xz xy."""
    virials: Key = Field(
        None,
        validation_alias=AliasChoices("virials", "virial", "virials_key", "virial_key"),
    )
    """Virial in eV, converted to the stress -virial/volume; replaces `stress`."""
    hessian: Key = Field(
        "REF_hessian", validation_alias=AliasChoices("hessian", "hessian_key")
    )
    """Hessian in eV/Å^2, rows and columns ordered (atom, xyz): the values, or the name
    of an array in the file of `data.hessians`."""
    config_type: Key = Field(
        "config_type",
        validation_alias=AliasChoices("config_type", "config_type_key"),
    )
    """Group of a structure; ``IsolatedAtom`` marks a reference energy."""
    weight: Key = Field(
        "config_weight", validation_alias=AliasChoices("weight", "weight_key")
    )
    """Weight of a structure in the loss; structures of weight 0 are not used.
    ``config_energy_weight``, ``config_forces_weight`` and ``config_stress_weight`` are
    weights of single labels; null ignores all of them."""

    @model_validator(mode="after")
    def _one_source_of_stress(self) -> "KeysConfig":
        if self.virials is not None and "stress" in self.named:
            raise ValueError(
                f"stress = {self.stress!r} and virials = {self.virials!r} are two "
                "sources of one label; set one of them to null"
            )
        return self

    @property
    def named(self) -> dict[str, str]:
        """Labels with a key in the configuration, which must be in the files."""
        return {
            label: key
            for label in (*LABELS, "weight")
            if label in self.model_fields_set
            and (key := getattr(self, label)) is not None
        }

    @property
    def sources(self) -> list[str]:
        """Keys of energy, forces and stress."""
        keys = (self.energy, self.forces, self.virials or self.stress)
        return [key for key in keys if key is not None]

    @property
    def all(self) -> list[str]:
        """All keys of labels."""
        keys = [getattr(self, label) for label in (*LABELS, "config_type", "weight")]
        return [key for key in keys if key is not None]

    def absent(self, present: Container[str]) -> dict[str, str]:
        """Labels with configured keys that are not in `present`."""
        return {k: key for k, key in self.named.items() if key not in present}

    @model_serializer(mode="wrap")
    def _only_what_was_named(
        self, serialize: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Omit defaults, so that a saved configuration requires the same keys."""
        fields = serialize(self)
        return {k: v for k, v in fields.items() if k in self.model_fields_set}


class DataConfig(Config):
    """Training, validation and test data.

    Paths are relative to `root`; a relative `root`, or none, is relative to the current
    folder.
    """

    root: Path | None = None
    """Folder of the files."""
    train: Annotated[list[str], Field(min_length=1)]
    """Training files: extended XYZ or another format of ASE; see docs/inputs.md."""
    valid: list[str] | Fraction | Number = 0.1
    """Validation files, or a number or fraction of structures split off `train`."""
    test: dict[str, list[str]] = Field(default_factory=dict)
    """Test files by name of the test set; a list defines one set per file."""
    keys: KeysConfig = KeysConfig()
    """Keys of the labels in the files."""
    units: UnitsConfig = UnitsConfig()
    """Units of the labels in the files."""
    hessians: dict[str, str] = Field(default_factory=dict)
    """NumPy file (.npz) with the Hessians of a structure file, by name of the latter.

    An array belongs to the structure that names it under `keys.hessian`, otherwise to
    the frame of that index, from 0: ``000`` or ``0`` is the first."""
    reference_energies: (
        Literal["auto", "isolated_atoms", "least_squares", "none"] | dict[str, float]
    ) = Field("auto", validation_alias=AliasChoices("reference_energies", "E0s"))
    """Reference energies of the elements in eV; "auto" uses isolated atoms in the
    training set if there are any, otherwise a least-squares fit. Elements are given by
    symbol or atomic number: ``{Cu: -3.5, 79: -2.9}``."""
    weights: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("weights", "config_type_weights"),
    )
    """Weights in the loss by `config_type` (default: 1); groups of weight 0 are not
    used in training and validation."""
    split_seed: NonNegativeInt | None = None
    """Random seed of the split (default: seed of the run)."""

    @model_validator(mode="before")
    @classmethod
    def _keys_beside_the_files(cls, values: Any) -> Any:
        """Accept ``energy_key`` and similar keys outside of the section ``keys``."""
        if not isinstance(values, dict):
            return values
        short = {
            f"{label}_key"
            for label in (*LABELS, "virial", "config_type", "weight")
            if f"{label}_key" in values
        }
        if not short:
            return values
        keys = values.get("keys", {})
        if not isinstance(keys, dict):
            raise ValueError(f"move {', '.join(sorted(short))} into the section keys")
        rest = {k: v for k, v in values.items() if k not in short and k != "keys"}
        return {**rest, "keys": {**keys, **{k: values[k] for k in sorted(short)}}}

    @field_validator("reference_energies", mode="before")
    @classmethod
    def _by_symbol(cls, value: Any) -> Any:
        """Accept atomic numbers for symbols; reject other keys."""
        return _by_symbol(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _hessians_of_named_files(self) -> "DataConfig":
        valid = self.valid if isinstance(self.valid, list) else []
        named = {*self.train, *valid, *(f for fs in self.test.values() for f in fs)}
        if unknown := set(self.hessians) - named:
            raise ValueError(
                f"hessians has {', '.join(sorted(unknown))}, which is not a file of "
                "train, valid or test"
            )
        return self

    @field_validator("reference_energies", mode="before")
    @classmethod
    def _reference_forms(cls, value: Any) -> Any:
        """Accept atomic numbers for symbols, a dictionary as text, and other names."""
        if isinstance(value, str):
            text = value.strip()
            if text.startswith("{"):
                value = yaml.safe_load(text)
            else:
                return REFERENCE_NAMES.get(text.lower(), value)
        if not isinstance(value, dict):
            return value
        return {str(key): energy for key, energy in value.items()}

    @field_validator("train", "valid", mode="before")
    @classmethod
    def _single_file(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("give files, a fraction below 1 or a number of structures")
        if isinstance(value, str | Path):
            return [str(value)]
        if isinstance(value, list | tuple):
            return _file_names(value)
        return value

    @field_validator("test", mode="before")
    @classmethod
    def _named_sets(cls, value: Any) -> Any:
        if value is None:
            return {}
        if isinstance(value, str | Path):
            value = [value]
        if isinstance(value, list | tuple):
            value = _file_names(value)
            names = [Path(file).name.split(".")[0] for file in value]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"files of test have the same name ({', '.join(sorted(names))}); "
                    "give a dictionary of names and files"
                )
            value = dict(zip(names, value, strict=True))
        if not isinstance(value, dict):
            raise ValueError(
                f"expected files, or names and their files, got a {_kind(value)}"
            )
        return {
            name: [str(files)] if isinstance(files, str | Path) else files
            for name, files in value.items()
        }

    def path(self, file: str) -> Path:
        """Path of a file of `train`, `valid` or `test`."""
        return Path(file) if self.root is None else self.root / file


def _file_names(values: Iterable[Any]) -> list[str]:
    """File names of a list; rejects other values."""
    if wrong := [value for value in values if not isinstance(value, str | Path)]:
        got = "null" if wrong[0] is None else repr(wrong[0])
        raise ValueError(f"a list must contain file names, got {got}")
    return [str(value) for value in values]


def _by_symbol(energies: dict[Any, Any]) -> dict[str, Any]:
    """Energies by symbol of the element, from keys such as ``Cu``, ``29`` or 29."""
    from ase.data import atomic_numbers, chemical_symbols  # noqa: PLC0415 (slow)

    found: dict[str, Any] = {}
    for key, energy in energies.items():
        name = str(key).strip()
        if name.isascii() and name.isdigit() and 0 < int(name) < len(chemical_symbols):
            name = chemical_symbols[int(name)]
        if atomic_numbers.get(name, 0) == 0:
            close = name.capitalize()
            hint = f"; did you mean {close}?" if close in atomic_numbers else ""
            raise ValueError(
                f"{key!r} is neither the symbol nor the number of an element{hint}"
            )
        if name in found:
            raise ValueError(f"the element {name} occurs twice")
        found[name] = energy
    return found


def _kind(value: Any) -> str:
    return "truth value" if isinstance(value, bool) else "number"
