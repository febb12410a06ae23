"""Force constants and displaced supercells of phonopy as labeled structures."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import yaml
from ase import Atoms
from jaxtyping import Float

from equipot.data.reading.errors import DataError
from equipot.data.reading.hessians import parse_hessian

MAX_VIOLATION: Final = 0.1
"""Largest violation of a symmetry by force constants, relative to the largest one:
finite displacements violate them by a few percent, another order of atoms by 1."""
MAX_OFFSET: Final = 1e-3
"""Largest distance in Å of atoms that are the same in two descriptions."""

OPENERS: Final[dict[str, Callable[..., IO[Any]]]] = {
    ".xz": lzma.open,
    ".gz": gzip.open,
    ".bz2": bz2.open,
}


@dataclass(frozen=True)
class ForceConstantLabels:
    """A supercell with the Hessian that its force constants are.

    Attributes:
        supercell: Atoms at rest, in the order of phonopy.
        hessian: In eV/Å^2, after symmetrization; rows and columns (atom, xyz).
        displaced: Supercells of the displacements with their forces in eV/Å,
            ``REF_forces``, and, if the file has them, energies in eV, ``REF_energy``.
        asymmetry: Largest violation of the permutation symmetry before symmetrization,
            relative to the largest force constant.
        sum_rule: Largest violation of the acoustic sum rule before it, likewise.
    """

    supercell: Atoms
    hessian: Float[np.ndarray, "rows rows"]
    displaced: tuple[Atoms, ...]
    asymmetry: float
    sum_rule: float


def read_force_constants(
    path: Path, force_constants: Path | None = None, force_sets: Path | None = None
) -> ForceConstantLabels:
    """Read a phonopy calculation.

    Force constants are those of `force_constants`, otherwise those of the YAML file,
    otherwise they are computed from the forces of its displacements. They are made
    invariant under permutations and translations, as the Hessian of a potential is.
    Files in units of other programs are converted.

    Args:
        path: ``phonopy_params.yaml``, ``phonopy.yaml`` or ``phonopy_disp.yaml``, which
            may be compressed (.xz, .gz, .bz2); it is read as plain data.
        force_constants: ``FORCE_CONSTANTS`` or ``force_constants.hdf5`` of it.
        force_sets: ``FORCE_SETS`` of it.

    Raises:
        ImportError: If phonopy is not installed.
        DataError: If a file cannot be read, has neither force constants nor forces, or
            if they do not fit the supercell: another shape, another order of atoms, or
            no force constants of a stable arrangement.
    """
    data = _content(path)
    units = _units(data)
    lattice = _lattice(data, units.distance_to_A, path)
    atoms = _supercell(lattice, data, units.distance_to_A, path)
    forces = _forces(data, force_sets, len(atoms), units, path)
    constants, source = data.force_constants, str(path)
    if force_constants is not None:
        constants, source = _stored(force_constants, lattice), str(force_constants)
    if constants is not None:
        constants = constants * (units.force_to_eVperA / units.distance_to_A)
    elif forces is not None:
        source = str(force_sets or path)
        constants = _fitted(lattice, forces, source)
    else:
        raise DataError(
            f"{path}: has neither force constants nor forces of the displacements; "
            "give FORCE_CONSTANTS, force_constants.hdf5 or FORCE_SETS"
        )
    matrix = _checked(_expanded(constants, lattice, source), source)
    symmetric = _symmetrized(matrix)
    largest = np.abs(matrix).max()
    return ForceConstantLabels(
        supercell=atoms,
        hessian=parse_hessian(symmetric, atoms, source),
        displaced=() if forces is None else _displaced(atoms, forces),
        asymmetry=float(np.abs(matrix - matrix.T).max() / largest),
        sum_rule=float(np.abs(_sums(matrix)).max() / largest),
    )


@dataclass(frozen=True)
class _Forces:
    """Displacements in Å, their forces in eV/Å, and energies in eV if there are any."""

    displacements: Float[np.ndarray, "structures atoms 3"]
    forces: Float[np.ndarray, "structures atoms 3"]
    energies: Float[np.ndarray, " structures"] | None
    single: bool
    """Whether each structure has one displaced atom."""


def _content(path: Path) -> Any:
    """Content of a phonopy file, parsed by phonopy.

    Phonopy's own function to open it constructs any Python object that the file names.
    """
    try:
        from phonopy.interface.phonopy_yaml import PhonopyYamlLoader  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "files of phonopy need phonopy, which is not installed: pip install "
            "'phonopy>=4.8,<5'"
        ) from error
    with _naming(path):
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            content = yaml.load(file, Loader=yaml.CSafeLoader)
        data = PhonopyYamlLoader(content).parse().data
    if data.unitcell is None or data.supercell_matrix is None:
        raise DataError(f"{path}: has no unit_cell or no supercell_matrix")
    return data


def _units(data: Any) -> Any:
    from phonopy.physical_units import get_calculator_physical_units  # noqa: PLC0415

    return get_calculator_physical_units(data.calculator)


def _lattice(data: Any, length: float, path: Path) -> Any:
    """Phonopy object with lengths in Å, without force constants."""
    from phonopy import Phonopy  # noqa: PLC0415

    cell = data.unitcell.copy()
    if cell.has_weighted_species:
        raise DataError(f"{path}: has sites that are mixtures, which are not supported")
    cell.cell = cell.cell * length
    primitive: Any = data.primitive_matrix
    primitive = "auto" if primitive is None else primitive
    with _naming(path):
        return Phonopy(
            cell, supercell_matrix=data.supercell_matrix, primitive_matrix=primitive
        )


def _supercell(lattice: Any, data: Any, length: float, path: Path) -> Atoms:
    """The supercell, after its atoms are compared with those of the file."""
    cell = lattice.supercell
    atoms = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
    if (stored := data.supercell) is None:
        return atoms
    same = list(stored.symbols) == list(cell.symbols) and np.allclose(
        stored.cell * length, cell.cell, atol=MAX_OFFSET
    )
    if same:
        shift = stored.scaled_positions - cell.scaled_positions
        away = np.linalg.norm((shift - np.round(shift)) @ cell.cell, axis=1)
        same = bool(away.max() < MAX_OFFSET)
    if not same:
        raise DataError(
            f"{path}: its supercell is not that of its unit_cell and supercell_matrix, "
            "or has another order of atoms, so rows of force constants cannot be "
            "assigned to atoms; write it again with phonopy"
        )
    return atoms


def _forces(
    data: Any, force_sets: Path | None, count: int, units: Any, path: Path
) -> _Forces | None:
    """Displacements and forces of FORCE_SETS, or of the YAML file."""
    from phonopy.file_IO import parse_FORCE_SETS  # noqa: PLC0415
    from phonopy.structure.dataset import (  # noqa: PLC0415
        get_displacements_and_forces,
    )

    dataset, source = data.dataset, path
    if force_sets is not None:
        source = force_sets
        with _naming(force_sets):
            dataset = parse_FORCE_SETS(force_sets, natom=count)
    if dataset is None:
        return None
    with _naming(source):
        moved, forces = get_displacements_and_forces(dataset)
    if forces is None:
        return None
    for array in (moved, forces):
        if array.shape != (len(forces), count, 3):
            raise DataError(
                f"{source}: has forces and displacements of shape {array.shape}, but "
                f"the supercell of {path} has {count} atoms"
            )
    single = "first_atoms" in dataset
    energies = dataset.get("supercell_energies")
    if single:
        energies = [d.get("supercell_energy") for d in dataset["first_atoms"]]
        energies = None if None in energies else np.array(energies)
    return _Forces(
        moved * units.distance_to_A,
        forces * units.force_to_eVperA,
        None if energies is None else energies * units.energy_to_eV,
        single,
    )


def _stored(path: Path, lattice: Any) -> Float[np.ndarray, "rows atoms 3 3"]:
    from phonopy.file_IO import (  # noqa: PLC0415
        parse_FORCE_CONSTANTS,
        read_force_constants_hdf5,
    )

    read = (
        read_force_constants_hdf5 if path.suffix == ".hdf5" else parse_FORCE_CONSTANTS
    )
    with _naming(path):
        return np.array(read(path, p2s_map=lattice.primitive.p2s_map))


def _fitted(
    lattice: Any, forces: _Forces, source: str
) -> Float[np.ndarray, "rows atoms 3 3"]:
    """Force constants from forces; by symfc if all atoms are displaced."""
    if forces.single:
        lattice.dataset = {
            "natom": len(lattice.supercell),
            "first_atoms": [
                {"number": atom, "displacement": moved[atom], "forces": force}
                for atom, moved, force in zip(
                    np.abs(forces.displacements).sum(axis=2).argmax(axis=1).tolist(),
                    forces.displacements,
                    forces.forces,
                    strict=True,
                )
            ],
        }
    else:
        lattice.dataset = {
            "displacements": forces.displacements,
            "forces": forces.forces,
        }
    with _naming(source):
        lattice.produce_force_constants(
            calculate_full_force_constants=False,
            fc_calculator=None if forces.single else "symfc",
        )
    return np.array(lattice.force_constants)


def _expanded(
    constants: Float[np.ndarray, "rows atoms 3 3"], lattice: Any, source: str
) -> Float[np.ndarray, "n n"]:
    """Matrix of all atoms of the supercell, from compact or full force constants.

    Raises:
        DataError: If they have another shape, or full ones are not invariant under
            the translations of the lattice.
    """
    from phonopy.harmonic.force_constants import (  # noqa: PLC0415
        compact_fc_to_full_fc,
    )

    primitive, count = lattice.primitive, len(lattice.supercell)
    first = primitive.p2s_map
    if constants.shape not in {(count, count, 3, 3), (len(first), count, 3, 3)}:
        raise DataError(
            f"{source}: has force constants of shape {constants.shape}, expected "
            f"{(count, count, 3, 3)} or, in the compact format, "
            f"{(len(first), count, 3, 3)}: the supercell has {count} atoms, the "
            f"primitive cell {len(first)}"
        )
    if not np.isfinite(constants).all() or not constants.any():
        raise DataError(f"{source}: has force constants that are zero or not finite")
    compact = constants if len(constants) < count else constants[first]
    full = compact_fc_to_full_fc(primitive, np.array(compact, order="C"))
    if len(constants) == count:
        change = np.abs(full - constants).max() / np.abs(constants).max()
        _check(change, "the translations of the lattice", source)
        full = constants
    return full.transpose(0, 2, 1, 3).reshape(3 * count, 3 * count)


def _checked(matrix: Float[np.ndarray, "n n"], source: str) -> Float[np.ndarray, "n n"]:
    """The matrix, if it can be that of the second derivatives of an energy."""
    largest = np.abs(matrix).max()
    _check(np.abs(matrix - matrix.T).max() / largest, "the exchange of atoms", source)
    _check(np.abs(_sums(matrix)).max() / largest, "translations of all atoms", source)
    on_site = np.diagonal(matrix).reshape(-1, 3).sum(axis=1)
    if on_site.min() <= 0:
        raise DataError(
            f"{source}: the force constant of atom {int(on_site.argmin())} with itself "
            f"is {on_site.min() / 3:.3g}, expected a positive number: a displaced atom "
            "is pulled back; do the atoms have the order of the supercell?"
        )
    return matrix


def _check(violation: float, symmetry: str, source: str) -> None:
    if violation > MAX_VIOLATION:
        raise DataError(
            f"{source}: force constants are not invariant under {symmetry}: they "
            f"change by {violation:.2g} of the largest one, expected less than "
            f"{MAX_VIOLATION:g}; are these the force constants of this supercell, in "
            "its order of atoms?"
        )


def _symmetrized(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Projection on matrices that are symmetric and obey the acoustic sum rule."""
    symmetric = (matrix + matrix.T) / 2
    count = len(matrix) // 3
    mean = np.tile(np.eye(3), (1, count))
    rows = symmetric - np.tile(_sums(symmetric) / count, (1, count))
    return rows - mean.T @ (mean @ rows) / count


def _sums(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n 3"]:
    """Sums of the force constants of each row over atoms."""
    return matrix.reshape(len(matrix), -1, 3).sum(axis=1)


def _displaced(atoms: Atoms, forces: _Forces) -> tuple[Atoms, ...]:
    frames = []
    for n, (moved, force) in enumerate(
        zip(forces.displacements, forces.forces, strict=True)
    ):
        frame = atoms.copy()
        frame.positions += moved
        frame.arrays["REF_forces"] = force
        if forces.energies is not None:
            frame.info["REF_energy"] = float(forces.energies[n])
        frames.append(frame)
    return tuple(frames)


@contextmanager
def _naming(source: Path | str) -> Iterator[None]:
    """Turn any error of a parser into a `DataError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file") from error
    except Exception as error:  # from decompression, YAML, HDF5, or phonopy
        text = " ".join(str(error).split())[:300]
        raise DataError(
            f"{source}: cannot be read as a file of phonopy: "
            f"{type(error).__name__}: {text}"
        ) from error
