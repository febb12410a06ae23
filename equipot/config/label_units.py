"""Units of the labels in the files of a training set."""

from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from equipot.config.base import Config

EnergyUnit = Literal["eV", "meV", "Ha", "Ry", "kcal/mol", "kJ/mol"]
LengthUnit = Literal["Å", "bohr", "nm"]
ForcesUnit = Literal[
    "eV/Å",
    "meV/Å",
    "eV/bohr",
    "Ha/Å",
    "Ha/bohr",
    "Ry/bohr",
    "kcal/mol/Å",
    "kJ/mol/Å",
    "kJ/mol/nm",
]
StressUnit = Literal[
    "eV/Å^3",
    "meV/Å^3",
    "Ha/bohr^3",
    "Ry/bohr^3",
    "kcal/mol/Å^3",
    "kJ/mol/Å^3",
    "Pa",
    "MPa",
    "GPa",
    "bar",
    "kbar",
]
SPELLINGS: Final = {
    "hartree": "Ha",
    "rydberg": "Ry",
    "angstrom": "Å",
    "ang": "Å",
    "a": "Å",
    "a0": "bohr",
    "au": "bohr",
    "ev": "eV",
    "mev": "meV",
    "ha": "Ha",
    "ry": "Ry",
    "kj": "kJ",
    "pa": "Pa",
    "mpa": "MPa",
    "gpa": "GPa",
}
"""Other spellings of the parts of a unit, in lower case."""


LOWER_CASE: Final = {"bohr", "nm", "kcal", "mol", "kbar", "bar"}
"""Parts of a unit that are written in lower case."""


class UnitsConfig(Config):
    """Units of the labels in the files, which are converted on reading.

    Units that are physically implausible for the data are an error. Units of forces and
    stress are not derived from those of energy and length and must be set as well.
    Hessians are always in eV/Å^2.
    """

    energy: EnergyUnit = Field("eV")
    """Unit of energies, and of virials."""
    forces: ForcesUnit = Field("eV/Å")
    """Unit of forces."""
    length: LengthUnit = Field("Å")
    """Unit of positions and cells."""
    stress: StressUnit = Field("eV/Å^3")
    """Unit of stress; tension is positive in every unit."""

    @field_validator("energy", "forces", "length", "stress", mode="before")
    @classmethod
    def _spelling(cls, value: Any) -> Any:
        """Accept ``Hartree/Bohr`` and ``eV/A**3``."""
        if not isinstance(value, str):
            return value
        text = value.strip().replace("**", "^").replace(" ", "")
        parts = []
        for part in text.split("/"):
            name, power, exponent = part.partition("^")
            parts.append(_spelled(name) + power + exponent)
        return "/".join(parts)

    @model_validator(mode="after")
    def _forces_are_stated(self) -> "UnitsConfig":
        changed = [n for n in ("energy", "length") if n in self.stated]
        if changed and "forces" not in self.model_fields_set:
            raise ValueError(
                f"the unit of {' and '.join(changed)} is set, but not that of the "
                "forces: set it as well, such as forces: eV/Å"
            )
        return self

    @property
    def stated(self) -> dict[str, str]:
        """Units other than eV and Å, by label."""
        found = {n: getattr(self, n) for n in type(self).model_fields}
        return {
            n: unit
            for n, unit in found.items()
            if unit != type(self).model_fields[n].default
        }

    def describe(self) -> str:
        """Units as text: ``"energy in Ha, forces in Ha/bohr"``."""
        return ", ".join(f"{name} in {unit}" for name, unit in self.stated.items())


def _spelled(name: str) -> str:
    """Normalize the spelling of a part of a unit, in any case."""
    small = name.lower()
    return SPELLINGS.get(small, small if small in LOWER_CASE else name)
