"""The atoms that a run starts from, and what of their file is used or left out."""

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
from equipot.data.reading.unclear import refuse_unclear
from equipot.md.velocities import movable

LABEL = re.compile(
    r"energ|force|stress|virial|dipole|polari[sz]|hessian|pressure|temperature"
    r"|magmom|^magnetic_moments?$|charges$|born|(^|_)(ref|dft|xtb|mp2|ccsdt?)(_|$)",
    re.IGNORECASE,
)
"""Names of values that hold for the positions of one frame only."""

MOTION = re.compile(r"^(vel|velo|velocity|velocities|momentum)$", re.IGNORECASE)
"""Columns that look like velocities, in units that nobody knows."""

KEPT = {
    "numbers",
    "positions",
    "momenta",
    "masses",
    "tags",
    "initial_magmoms",
    "initial_charges",
}
"""Per-atom values that ASE defines, and that stay true while atoms move."""

NONE_BUT_OF_FILE = FixedConfig()
BY_DEFAULT = VelocitiesConfig()

CLOCK = {"step", "time_ps"}
"""Provenance keys in frames of a run."""


@dataclass(frozen=True)
class Start:
    """Atoms without a calculator, and what the user should know of them."""

    atoms: Atoms
    notes: tuple[str, ...] = ()


def read_structure(config: StructureConfig) -> Atoms:
    """Atoms of `read_start`, without its notes."""
    return read_start(config).atoms


def read_start(
    config: StructureConfig,
    fixed: FixedConfig = NONE_BUT_OF_FILE,
    velocities: VelocitiesConfig = BY_DEFAULT,
) -> Start:
    """Read, fix and replicate the atoms that a run starts from.

    Args:
        config: File, frame and copies.
        fixed: Atoms that do not move.
        velocities: Where velocities will come from; momenta that are not used are
            dropped here.

    Returns:
        Atoms with momenta, masses, tags, magnetic moments, constraints, and all other
        values of the file but its labels, which would be wrong on every later frame.

    Raises:
        ValueError: If the file is missing or broken, has no such frame, holds atoms
            that make no sense, columns or keys that may fix atoms or be masses under an
            unknown name, constraints other than fixed atoms, or is to be
            repeated along a direction without a period; or if all atoms are fixed.
    """
    where = f"{config.file}#{config.index}"
    found = read_frame(config.file, config.index)
    if found is None:
        raise ValueError(
            f"{config.file} has no frame {config.index}; choose another structure.index"
        )
    check_geometry(found, where)
    refuse_unclear(found, where)
    _check_copies(found, config)
    atoms, notes = _without_labels(found)
    atoms.set_constraint()
    held = _file_constraints(found, where) if fixed.file else np.zeros(0, int)
    if found.constraints and not fixed.file:
        notes.append("fixed atoms of the file move: fixed.file is false")
    held = np.union1d(held, _chosen(atoms, fixed, where)).astype(int)
    if len(held) == len(atoms):
        raise ValueError(f"all atoms of {where} are fixed; nothing would move")
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
    """A copy without what holds for one frame only, and what was dropped."""
    atoms = found.copy()
    calculated = {} if found.calc is None else dict(found.calc.results)
    moments = calculated.pop("magmoms", None)
    if moments is not None and not atoms.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(moments)
    dropped = set(calculated) - {"free_energy"}
    for values in (atoms.info, atoms.arrays):
        for name in [n for n in values if n not in KEPT and LABEL.search(str(n))]:
            del values[name]
            dropped.add(str(name))
    notes = []
    if dropped:
        notes.append(
            "labels of the start structure are not copied to the trajectory: "
            f"{', '.join(sorted(dropped))}"
        )
    for name in [n for n in atoms.arrays if MOTION.match(n)]:
        del atoms.arrays[name]
        notes.append(
            f"the column {name} of the file is not used, its unit is unknown: "
            "velocities are read from the column momenta, in sqrt(eV u), as ASE "
            "writes it"
        )
    for name in CLOCK & set(atoms.info):
        del atoms.info[name]
    return atoms, notes


def _file_constraints(atoms: Atoms, where: str) -> np.ndarray:
    """Indices of fixed atoms; refuses any other constraint."""
    fixed = ~movable(atoms)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            continue
        if isinstance(constraint, FixCartesian) and np.all(constraint.mask):
            fixed[constraint.index] = True
            continue
        raise ValueError(
            f"{where} has the constraint {type(constraint).__name__}; dynamics can "
            "fix atoms as a whole only: remove it from the file, or set "
            "fixed.file=false to ignore all constraints of the file"
        )
    return np.flatnonzero(fixed)


def _chosen(atoms: Atoms, fixed: FixedConfig, where: str) -> np.ndarray:
    """Indices that the configuration fixes."""
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
            f"fixed.elements has {absent[0]}, but {where} holds "
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
    """Keep the momenta of the file, or drop them and say why."""
    if not atoms.has("momenta"):
        return []
    momenta = atoms.get_momenta()
    moving = bool(momenta.any())
    reason = None
    if config.source == "maxwell_boltzmann":
        reason = "velocities.source is maxwell_boltzmann"
    elif config.source == "auto" and config.temperature is not None:
        reason = "velocities.temperature selects random ones"
    elif config.source == "auto" and max(copies) > 1:
        reason = "copies of a replicated structure would all move identically"
    elif config.source == "auto" and not moving:
        reason = "all of them are zero"
    if reason is not None:
        del atoms.arrays["momenta"]
        return [f"velocities of the file are not used: {reason}"] if moving else []
    if len(held) and momenta[held].any():
        momenta[held] = 0.0
        atoms.set_momenta(momenta)
        return ["velocities that the file gives to fixed atoms are set to zero"]
    return []


def _mass_notes(atoms: Atoms) -> list[str]:
    """Masses that are not those of the elements in their natural mixture."""
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
    return [f"masses of the file are used for {int(other.sum())} atoms: {shown}{more}"]
