"""Initial structure of a run, and notes on values of its file that are not used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_masses, atomic_numbers

from equipot.config.md import FixedConfig, StructureConfig, VelocitiesConfig
from equipot.data.reading.frames import read_frame
from equipot.data.reading.geometry import check_geometry
from equipot.data.reading.unknown_keys import reject_unknown_keys
from equipot.md.velocities import movable

LABEL_PATTERN = re.compile(
    r"energ|force|stress|virial|dipole|polari[sz]|hessian|pressure|temperature"
    r"|magmom|^magnetic_moments?$|charges$|born|(^|_)(ref|dft|xtb|mp2|ccsdt?)(_|$)",
    re.IGNORECASE,
)
"""Names of labels, which are valid for the positions of one frame only."""

VELOCITY_PATTERN = re.compile(
    r"^(vel|velo|velocity|velocities|momentum)$", re.IGNORECASE
)
"""Names of velocity columns whose unit is not defined."""

KEPT_ARRAYS = {
    "numbers",
    "positions",
    "momenta",
    "masses",
    "tags",
    "initial_magmoms",
    "initial_charges",
}
"""Per-atom arrays of ASE that remain valid while atoms move."""

DEFAULT_FIXED = FixedConfig()
DEFAULT_VELOCITIES = VelocitiesConfig()

STEP_KEYS = {"step", "time_ps"}
"""Keys in ``info`` of the frames of a run."""


@dataclass(frozen=True)
class Start:
    """Initial structure without a calculator, and notes for the user."""

    atoms: Atoms
    notes: tuple[str, ...] = ()


def read_structure(config: StructureConfig) -> Atoms:
    """Initial structure of `read_start`, without the notes."""
    return read_start(config).atoms


def read_start(
    config: StructureConfig,
    fixed: FixedConfig = DEFAULT_FIXED,
    velocities: VelocitiesConfig = DEFAULT_VELOCITIES,
) -> Start:
    """Read the initial structure of a run, fix atoms and replicate it.

    Args:
        config: File, frame and number of replicas.
        fixed: Atoms to fix.
        velocities: Source of the initial velocities; momenta of the file are dropped if
            they are not used.

    Returns:
        Atoms with momenta, masses, tags, magnetic moments, constraints, and all other
        values of the file except labels, which are not valid for later frames.

    Raises:
        ValueError: If the file is missing or damaged, the frame does not exist, the
            geometry is not physical, a column or key of unknown name may denote fixed
            atoms or masses, there are constraints other than fixed atoms, the structure
            is to be replicated along a non-periodic direction, or all atoms are fixed.
    """
    where = f"{config.file}#{config.index}"
    found = read_frame(config.file, config.index)
    if found is None:
        raise ValueError(
            f"{config.file} has no frame {config.index}; choose another structure.index"
        )
    check_geometry(found, where)
    reject_unknown_keys(found, where)
    _check_copies(found, config)
    atoms, notes = _without_labels(found)
    atoms.set_constraint()
    held = _file_constraints(found, where) if fixed.file else np.zeros(0, int)
    if found.constraints and not fixed.file:
        notes.append("fixed atoms of the file are not fixed: fixed.file is false")
    held = np.union1d(held, _chosen(atoms, fixed, where)).astype(int)
    if len(held) == len(atoms):
        raise ValueError(
            f"all atoms of {where} are fixed, expected at least one free atom"
        )
    notes += _take_momenta(atoms, config.replicate, velocities, held)
    if len(held):
        atoms.set_constraint(FixAtoms(held))
    atoms = atoms.repeat(config.replicate)
    if len(held):
        notes.append(f"{int((~movable(atoms)).sum())} of {len(atoms)} atoms are fixed")
    if atoms.has("masses"):
        notes += _mass_notes(atoms)
    return Start(atoms, tuple(notes))


def _check_copies(atoms: Atoms, config: StructureConfig) -> None:
    for axis, copies in enumerate(config.replicate):
        if copies > 1 and not atoms.pbc[axis]:
            raise ValueError(
                f"structure.replicate is {list(config.replicate)}, but lattice "
                f"direction {'abc'[axis]} of {config.file} is not periodic"
            )


def _without_labels(found: Atoms) -> tuple[Atoms, list[str]]:
    """Copy without labels of the frame, and notes on what was dropped."""
    atoms = found.copy()
    calculated = {} if found.calc is None else dict(found.calc.results)
    moments = calculated.pop("magmoms", None)
    if moments is not None and not atoms.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(moments)
    dropped = set(calculated) - {"free_energy"}
    for values in (atoms.info, atoms.arrays):
        for name in [
            n for n in values if n not in KEPT_ARRAYS and LABEL_PATTERN.search(str(n))
        ]:
            del values[name]
            dropped.add(str(name))
    notes = []
    if dropped:
        notes.append(
            f"dropped, since they are valid for the frame of the file only: "
            f"{', '.join(sorted(dropped))}"
        )
    for name in [n for n in atoms.arrays if VELOCITY_PATTERN.match(n)]:
        del atoms.arrays[name]
        notes.append(
            f"the column {name} of the file is not used, its unit is unknown: "
            "velocities are read from the column momenta, in sqrt(eV u), as ASE "
            "writes it"
        )
    for name in STEP_KEYS & set(atoms.info):
        del atoms.info[name]
    return atoms, notes


def _file_constraints(atoms: Atoms, where: str) -> np.ndarray:
    """Indices of fixed atoms; raises for any other constraint."""
    fixed = ~movable(atoms)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            continue
        if isinstance(constraint, FixCartesian) and np.all(constraint.mask):
            fixed[constraint.index] = True
            continue
        raise ValueError(
            f"{where} has the constraint {type(constraint).__name__}, expected fixed "
            "atoms (FixAtoms) only: remove it from the file, or set fixed.file=false "
            "to ignore all constraints of the file"
        )
    return np.flatnonzero(fixed)


def _chosen(atoms: Atoms, fixed: FixedConfig, where: str) -> np.ndarray:
    """Indices of the atoms fixed by the configuration."""
    beyond = [i for i in fixed.indices if i >= len(atoms)]
    if beyond:
        raise ValueError(
            f"fixed.indices has {beyond[0]}, but {where} has {len(atoms)} atoms, "
            f"numbered 0 to {len(atoms) - 1} (before replication)"
        )
    absent = [
        e
        for e in fixed.elements
        if e not in atomic_numbers or atomic_numbers[e] not in atoms.numbers
    ]
    if absent:
        raise ValueError(
            f"fixed.elements has {absent[0]}, but the elements of {where} are "
            f"{', '.join(sorted(set(atoms.get_chemical_symbols())))}"
        )
    chosen = np.isin(atoms.numbers, [atomic_numbers[e] for e in fixed.elements])
    chosen[list(fixed.indices)] = True
    return np.flatnonzero(chosen)


def _take_momenta(
    atoms: Atoms,
    copies: Sequence[int],
    config: VelocitiesConfig,
    held: np.ndarray,
) -> list[str]:
    """Keep or drop the momenta of the file; returns notes with the reason."""
    if not atoms.has("momenta"):
        return []
    momenta = atoms.get_momenta()
    moving = bool(momenta.any())
    reason = None
    if config.source == "maxwell_boltzmann":
        reason = "velocities.source is maxwell_boltzmann"
    elif config.source == "auto" and config.temperature is not None:
        reason = "velocities.temperature selects random velocities"
    elif config.source == "auto" and max(copies) > 1:
        reason = "all replicas of the structure would move identically"
    elif config.source == "auto" and not moving:
        reason = "all of them are zero"
    if reason is not None:
        del atoms.arrays["momenta"]
        return [f"velocities of the file are not used: {reason}"] if moving else []
    if len(held) and momenta[held].any():
        momenta[held] = 0.0
        atoms.set_momenta(momenta)
        return ["velocities of fixed atoms in the file are set to zero"]
    return []


def _mass_notes(atoms: Atoms) -> list[str]:
    """Notes on masses that differ from the standard atomic masses."""
    masses = atoms.get_masses()
    other = ~np.isclose(masses, atomic_masses[atoms.numbers], rtol=1e-3)
    if not other.any():
        return []
    kinds = sorted(
        {
            (symbol, round(float(mass), 3))
            for symbol, mass in zip(
                np.array(atoms.get_chemical_symbols())[other],
                masses[other],
                strict=True,
            )
        }
    )
    shown = ", ".join(f"{symbol} {mass:g} u" for symbol, mass in kinds[:6])
    more = f" and {len(kinds) - 6} more" if len(kinds) > 6 else ""
    return [
        f"non-standard masses of the file are used for {int(other.sum())} atoms: "
        f"{shown}{more}"
    ]
