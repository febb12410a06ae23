"""Files to learn from, and the names of the labels in them."""

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
"""What other programs call the sources of reference energies."""


class KeysConfig(Config):
    """Names of the labels in the files; null for a label that is not to be used.

    A default that the files lack means that the label is absent. A name that is written
    in the configuration must be in the files, so that a misspelt one is an error.
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
    """Virial in eV; becomes the stress -virial/volume. Takes the place of `stress`."""
    hessian: Key = Field(
        "REF_hessian", validation_alias=AliasChoices("hessian", "hessian_key")
    )
    """Second derivatives in eV/Å^2, row and column (atom, xyz): the numbers, or the
    name of an entry of the file that `data.hessians` gives."""
    config_type: Key = Field(
        "config_type",
        validation_alias=AliasChoices("config_type", "config_type_key"),
    )
    """Group of a structure; ``IsolatedAtom`` marks a reference energy."""
    weight: Key = Field(
        "config_weight", validation_alias=AliasChoices("weight", "weight_key")
    )
    """Factor of a structure in the loss; with 0 it is left out of everything.
    ``config_energy_weight``, ``config_forces_weight``, ``config_stress_weight`` beside
    it hold for one label; null ignores them all."""

    @model_validator(mode="after")
    def _one_source_of_stress(self) -> "KeysConfig":
        if self.virials is not None and "stress" in self.named:
            raise ValueError(
                f"stress = {self.stress!r} and virials = {self.virials!r} are two "
                "sources of one label; name one of them"
            )
        return self

    @property
    def named(self) -> dict[str, str]:
        """Labels whose key the configuration spells out: these must be in the files."""
        return {
            label: key
            for label in (*LABELS, "weight")
            if label in self.model_fields_set
            and (key := getattr(self, label)) is not None
        }

    @property
    def sources(self) -> list[str]:
        """Keys that energy, forces and stress are read from."""
        keys = (self.energy, self.forces, self.virials or self.stress)
        return [key for key in keys if key is not None]

    @property
    def all(self) -> list[str]:
        """Every key that is looked for."""
        keys = [getattr(self, label) for label in (*LABELS, "config_type", "weight")]
        return [key for key in keys if key is not None]

    def absent(self, present: Container[str]) -> dict[str, str]:
        """Labels that the configuration names under a key that is not `present`."""
        return {k: key for k, key in self.named.items() if key not in present}

    @model_serializer(mode="wrap")
    def _only_what_was_named(
        self, serialize: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Leave out defaults: a written configuration demands what the first did."""
        fields = serialize(self)
        return {k: v for k, v in fields.items() if k in self.model_fields_set}


class DataConfig(Config):
    """Which structures to learn from, to select by, and to test on.

    Paths are relative to `root`; a relative `root`, or none, is relative to the folder
    that the command is started in.
    """

    root: Path | None = None
    """Folder that holds the files."""
    train: Annotated[list[str], Field(min_length=1)]
    """Files to learn from: extended XYZ or another format of ASE; docs/inputs.md."""
    valid: list[str] | Fraction | Number = 0.1
    """Files to select by, or how many structures of `train`: a number or a fraction."""
    test: dict[str, list[str]] = Field(default_factory=dict)
    """Files to test on by name of the set; a list gives a set per file."""
    keys: KeysConfig = KeysConfig()
    """Names of the labels in the files."""
    units: UnitsConfig = UnitsConfig()
    """Units of the files, where they are not those of the package."""
    hessians: dict[str, str] = Field(default_factory=dict)
    """File of NumPy (.npz) with the Hessians of a file of structures, by the latter.

    An entry belongs to the structure that names it under `keys.hessian`, else to the
    frame of its number, counted from 0: ``000`` or ``0`` to the first."""
    reference_energies: (
        Literal["auto", "isolated_atoms", "least_squares", "none"] | dict[str, float]
    ) = Field("auto", validation_alias=AliasChoices("reference_energies", "E0s"))
    """Energies of the elements in eV that the model starts from; "auto" takes rows of
    isolated atoms where there are any, else a least-squares fit. Elements are given by
    symbol or atomic number: ``{Cu: -3.5, 79: -2.9}``."""
    weights: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("weights", "config_type_weights"),
    )
    """Factors in the loss by `config_type`; 1 for groups that are left out, and groups
    of 0 are left out of training and validation."""
    split_seed: NonNegativeInt | None = None
    """Seed of the split; that of the run if left out."""

    @model_validator(mode="before")
    @classmethod
    def _keys_beside_the_files(cls, values: Any) -> Any:
        """Accept ``energy_key`` and its like without the section ``keys``."""
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
            raise ValueError(f"give {', '.join(sorted(short))} inside of keys")
        rest = {k: v for k, v in values.items() if k not in short and k != "keys"}
        return {**rest, "keys": {**keys, **{k: values[k] for k in sorted(short)}}}

    @field_validator("reference_energies", mode="before")
    @classmethod
    def _by_symbol(cls, value: Any) -> Any:
        """Accept atomic numbers in the place of symbols; refuse what is neither."""
        return _by_symbol(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _hessians_of_named_files(self) -> "DataConfig":
        valid = self.valid if isinstance(self.valid, list) else []
        named = {*self.train, *valid, *(f for fs in self.test.values() for f in fs)}
        if unknown := set(self.hessians) - named:
            raise ValueError(
                f"hessians names {', '.join(sorted(unknown))}, which is no file of "
                "train, valid or test"
            )
        return self

    @field_validator("reference_energies", mode="before")
    @classmethod
    def _reference_forms(cls, value: Any) -> Any:
        """Accept atomic numbers for symbols, a dictionary as text, other names."""
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
                    f"the files of test share names ({', '.join(sorted(names))}); "
                    "give a dictionary of names and files"
                )
            value = dict(zip(names, value, strict=True))
        if not isinstance(value, dict):
            raise ValueError(
                f"give files, or names and their files, got a {_kind(value)}"
            )
        return {
            name: [str(files)] if isinstance(files, str | Path) else files
            for name, files in value.items()
        }

    def path(self, file: str) -> Path:
        """Where a file of `train`, `valid` or `test` is."""
        return Path(file) if self.root is None else self.root / file


def _file_names(values: Iterable[Any]) -> list[str]:
    """Names of files, which a list must hold and nothing else."""
    if wrong := [value for value in values if not isinstance(value, str | Path)]:
        got = "null" if wrong[0] is None else repr(wrong[0])
        raise ValueError(f"a list must hold names of files, got {got}")
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
            raise ValueError(f"the element {name} is given twice")
        found[name] = energy
    return found


def _kind(value: Any) -> str:
    return "truth value" if isinstance(value, bool) else "number"
