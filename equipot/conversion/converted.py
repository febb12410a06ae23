"""What a source makes of a file: all that a model file of equipot is made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ase.data import chemical_symbols
from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import AnyModelConfig
from equipot.conversion.errors import ConversionError
from equipot.data.statistics import UNKNOWN_TRAINING_SET, Statistics
from equipot.storage.provenance import file_sha256

REFERENCE_SOURCE = "converted"
"""`Statistics.reference_source` of converted models."""


@final
@dataclass(frozen=True)
class Converted:
    """A potential of another package, in terms of equipot."""

    config: AnyModelConfig
    """Architecture; its dtype and backend are replaced when it is saved."""
    statistics: Statistics
    """From `statistics_without_training`."""
    weights: Mapping[str, Tensor]
    """In float64, by the names of ``build_potential(config, statistics)``."""
    origin: ModelOrigin
    """Where it comes from, what has no effect, and remarks."""


@final
@dataclass(frozen=True)
class Original:
    """How to predict with the original package, in a process of its own."""

    module: str
    """What is imported, such as ``mace``."""
    install: str
    """What installs it, such as ``pip install mace-torch``."""
    script: str
    """Python that defines ``calculator(path, head, dtype)``, which returns a calculator
    of ASE; `path` and `dtype` are texts, `head` is a text or None."""


@final
@dataclass(frozen=True)
class Source:
    """Files of another package."""

    name: str
    """As in ``--source``: ``mace``."""
    describes: str
    """One line for the help: "MACE 0.3, .model"."""
    matches: Callable[[Path], bool]
    """Whether a file (or folder) is of this package, by its content and not its name;
    False for any other file. It may raise ConversionError for a damaged file of it."""
    read: Callable[[Path, str | None], Converted]
    """Reads a file; the text is a head, None for the only one.

    Raises ConversionError for what it does not account for."""
    original: Original
    """For ``--check``."""


def statistics_without_training(
    reference_energies: Mapping[int, float],
    *,
    scale: float,
    shift: float,
    average_num_neighbors: float,
    cutoff: float,
) -> Statistics:
    """Statistics of a model whose training set is not at hand.

    Args:
        reference_energies: In eV by atomic number; its keys are the elements, in any
            order. Equipot orders elements by atomic number: rows of weights must be
            sorted likewise.
        scale: Factor of the network's energy of an atom, in eV.
        shift: Added to the energy of each atom that has neighbors or not, in eV.
        average_num_neighbors: Constant that messages are normalized by.
        cutoff: In Å.
    """
    elements = tuple(sorted(reference_energies))
    return Statistics(
        elements=elements,
        reference_energies={z: float(reference_energies[z]) for z in elements},
        reference_source=REFERENCE_SOURCE,
        reference_rank=len(elements),
        energy_scale=float(scale),
        energy_shift=float(shift),
        average_num_neighbors=float(average_num_neighbors),
        minimum_distances={},
        cutoff=float(cutoff),
        num_structures=0,
        num_atoms=0,
        num_edges=0,
        element_counts={},
        label_counts={"energy": 0, "forces": 0, "stress": 0},
        config_types={},
        warnings=(UNKNOWN_TRAINING_SET,),
    )


def rows_by_atomic_number(numbers: Sequence[int]) -> list[int]:
    """Rows of a table of elements in the order of equipot.

    Args:
        numbers: Atomic numbers in the order of the file.

    Returns:
        Indices that sort them: ``table[rows_by_atomic_number(numbers)]``.

    Raises:
        ConversionError: If one is no element, or is there twice.
    """
    wrong = [z for z in numbers if not 1 <= z < len(chemical_symbols)]
    if wrong or len(set(numbers)) != len(numbers) or not numbers:
        raise ConversionError(
            f"the elements of the file are {str(list(numbers))[:100]}: expected "
            "different atomic numbers"
        )
    return sorted(range(len(numbers)), key=lambda n: numbers[n])


def hashes(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of all files of a folder, by name: `ModelOrigin.files`."""
    if not path.is_dir():
        return {path.name: file_sha256(path)}
    return {
        file.relative_to(path).as_posix(): file_sha256(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
