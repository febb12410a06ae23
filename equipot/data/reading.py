"""Structures with labels, read from files and checked before anything is fitted."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.errors import DataError
from equipot.data.frames import iterate_frames
from equipot.data.geometry import check_geometry
from equipot.data.hessians import attach_hessians, in_text
from equipot.data.labels import Labels
from equipot.data.unit_conversion import converted_geometry, size_of

ISOLATED = "IsolatedAtom"
LONGEST_NAME = 200
STRUCTURAL = {"numbers", "positions"}


@dataclass(frozen=True)
class Structure:
    """Atoms as a file holds them, and the labels that were asked for."""

    atoms: Atoms
    """Structure; whatever else the file says of it is in ``info`` and ``arrays``."""
    labels: Labels
    """Labels in the package's units; NaN where the file has none."""
    config_type: str
    """Group that errors are reported for."""
    source: str
    """File and frame, such as ``train.xyz#12``."""

    @property
    def isolated(self) -> bool:
        """Whether this is the reference energy of an element."""
        return self.config_type == ISOLATED

    @property
    def has(self) -> frozenset[str]:
        """Labels that are there: of energy, forces, stress."""
        return frozenset(
            name
            for name in ("energy", "forces", "stress")
            if not getattr(self.labels, name).isnan().all()
        )


def read_structures(
    path: Path | str,
    keys: KeysConfig | None = None,
    hessians: Path | None = None,
    units: UnitsConfig | None = None,
) -> list[Structure]:
    """Read all structures of a file with their labels.

    Args:
        path: File in any format of ASE but pickles.
        keys: Names of the labels; names that the file lacks leave the label absent.
        hessians: File of NumPy (.npz) with Hessians of some or all of the structures;
            see `equipot.config.data.DataConfig.hessians`.
        units: Units of the file; those of the package by default.

    Returns:
        The structures in the order of the file, isolated atoms among them.

    Raises:
        DataError: At the first frame that cannot be read or does not make sense.
    """
    keys = keys or KeysConfig()
    structures = [
        parse_structure(atoms, keys, source, units)
        for atoms, source in iterate_sources(Path(path))
    ]
    entries = [lookup(s.atoms, keys.hessian) for s in structures]
    if hessians is not None:
        return attach_hessians(structures, hessians, entries)
    for structure, entry in zip(structures, entries, strict=True):
        if entry is not None and structure.labels.hessian is None:
            raise DataError(
                f"{structure.source}: {keys.hessian} names the Hessian {str(entry)!r} "
                "of another file; name that file in data.hessians"
            )
    return structures


def iterate_sources(path: Path) -> Iterator[tuple[Atoms, str]]:
    """Frames of a file, and what to call them in messages."""
    for n, atoms in enumerate(iterate_frames(path)):
        yield atoms, f"{path}#{n}"


def parse_structure(
    atoms: Atoms, keys: KeysConfig, source: str, units: UnitsConfig | None = None
) -> Structure:
    """Check a structure and pick out its labels.

    Args:
        atoms: Structure as ASE reads it.
        keys: Names of the labels.
        source: File and frame for messages.
        units: Units of positions and labels; those of the package by default.

    Returns:
        The structure, in the units of the package. A stress of nothing but zeros on a
        structure that does not repeat in three directions, which some programs write,
        counts as absent.

    Raises:
        DataError: If positions, cell, species or a label do not make sense.
    """
    units = units or UnitsConfig()
    atoms = converted_geometry(atoms, units)
    check_geometry(atoms, source)
    labels = Labels(
        energy=torch.tensor([_energy(atoms, keys.energy, source)], dtype=torch.float64),
        forces=torch.from_numpy(_forces(atoms, keys.forces, source)),
        stress=torch.from_numpy(_stress(atoms, keys, source))[None],
        hessian=in_text(
            lookup(atoms, keys.hessian), atoms, f"{source}: {keys.hessian}"
        ),
    )
    if units.stated:
        labels = _converted(labels, keys, units, source)
    structure = Structure(
        atoms, labels, _config_type(lookup(atoms, keys.config_type), source), source
    )
    if structure.isolated and len(atoms) != 1:
        raise DataError(
            f"{source}: is marked {keys.config_type}={ISOLATED}, but has "
            f"{len(atoms)} atoms"
        )
    if structure.isolated and "energy" not in structure.has:
        raise DataError(
            f"{source}: an {ISOLATED} row needs an energy under the key "
            f"{keys.energy!r}; it has {', '.join(available_keys(atoms)) or 'none'}"
        )
    return structure


def _converted(
    labels: Labels, keys: KeysConfig, units: UnitsConfig, source: str
) -> Labels:
    """Labels in eV, eV/Å and eV/Å^3, of a structure in Å."""
    if labels.hessian is not None:
        raise DataError(
            f"{source}: has a Hessian, which data.units does not convert: write it in "
            "eV/Å^2 with the other labels in the units of the package, or set "
            "keys.hessian to null"
        )
    by_virials = keys.virials is not None
    changed = sorted({"energy", "length"} & set(units.stated))
    silent = "stress" not in units.model_fields_set and not by_virials
    if changed and silent and not labels.stress.isnan().all():
        raise DataError(
            f"{source}: data.units states the unit of {' and '.join(changed)}, not "
            "that of the stress, which is there: state stress as well, such as "
            "stress: eV/Å^3"
        )
    return Labels(
        energy=labels.energy * size_of(units.energy),
        forces=labels.forces * size_of(units.forces),
        stress=labels.stress * size_of(units.energy if by_virials else units.stress),
    )


def lookup(atoms: Atoms, key: str | None) -> Any:
    """Value under a key, wherever ASE put it; None if there is none.

    ASE moves names that it knows (energy, forces, stress) to a calculator. Its results
    are read as they are: `Atoms.get_forces` would set those of fixed atoms to zero.
    """
    if key is None:
        return None
    results = {} if atoms.calc is None else atoms.calc.results
    for place in (atoms.info, atoms.arrays, results):
        if key in place:
            return place[key]
    return None


def available_keys(atoms: Atoms) -> list[str]:
    """Names that `lookup` finds, without those of the structure itself."""
    results = {} if atoms.calc is None else atoms.calc.results
    names = {*map(str, atoms.info), *atoms.arrays, *results}
    return sorted(names - STRUCTURAL)


def keys_of(structures: Iterable[Structure]) -> list[str]:
    """Names of what structures carry, sorted, each once."""
    return sorted({key for s in structures for key in available_keys(s.atoms)})


def _config_type(value: Any, source: str) -> str:
    """Group of a structure, which messages and pages show."""
    name = "default" if value is None else str(value)
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise DataError(
            f"{source}: its group must have up to {LONGEST_NAME} characters that can "
            f"be printed, got {name[:60]!r}"
        )
    return name


def _numbers(value: Any, key: str, source: str) -> Float[np.ndarray, "..."]:
    """A label as an array of finite float64."""
    try:
        array = np.asarray(value)
        if array.dtype == bool:
            raise TypeError("a logical value")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{source}: {key} must hold numbers, got {str(value)[:60]!r}"
        ) from error
    if not np.isfinite(array).all():
        raise DataError(
            f"{source}: {key} holds values that are not finite; leave the label out "
            "where it was not computed"
        )
    return array


def _energy(atoms: Atoms, key: str | None, source: str) -> float:
    value = lookup(atoms, key)
    if key is None or value is None:
        return math.nan
    array = _numbers(value, key, source)
    if array.size != 1:
        raise DataError(f"{source}: {key} must be one number, got shape {array.shape}")
    return float(array.reshape(()))


def _forces(atoms: Atoms, key: str | None, source: str) -> Float[np.ndarray, "atoms 3"]:
    value = lookup(atoms, key)
    if key is None or value is None:
        return np.full((len(atoms), 3), np.nan)
    array = _numbers(value, key, source)
    if array.shape != (len(atoms), 3):
        raise DataError(
            f"{source}: {key} must have shape ({len(atoms)}, 3), got {array.shape}"
        )
    return array.copy()


def _stress(atoms: Atoms, keys: KeysConfig, source: str) -> Float[np.ndarray, "3 3"]:
    key = keys.stress if keys.virials is None else keys.virials
    value = lookup(atoms, key)
    absent = np.full((3, 3), np.nan)
    if key is None or value is None:
        return absent
    tensor = _as_matrix(_numbers(value, key, source), key, source)
    if not atoms.pbc.all():
        if not tensor.any():
            return absent
        raise DataError(
            f"{source}: {key} is given for a structure that repeats along "
            f"{int(atoms.pbc.sum())} of 3 directions and so has no volume; set pbc to "
            '"T T T" if the cell is that of the calculation, or remove the label'
        )
    if keys.virials is None:
        return tensor
    return -tensor / atoms.get_volume()


def _as_matrix(
    array: Float[np.ndarray, "..."], key: str, source: str
) -> Float[np.ndarray, "3 3"]:
    """A symmetric matrix of 6 numbers in ASE's order, 9 numbers, or 3x3."""
    if array.size == 6 and array.ndim in {1, 2}:
        xx, yy, zz, yz, xz, xy = array.reshape(6)
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if array.shape not in {(9,), (1, 9), (3, 3)}:
        raise DataError(
            f"{source}: {key} must be 3x3, 9 numbers, or 6 in the order "
            f"xx yy zz yz xz xy; got shape {array.shape}"
        )
    matrix = array.reshape(3, 3)
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > 1e-3 * np.abs(matrix).max():
        raise DataError(
            f"{source}: {key} is not symmetric (xy, xz, yz differ from yx, zx, zy by "
            f"up to {asymmetry:.3g}); is it a stress?"
        )
    return (matrix + matrix.T) / 2
