"""Phonons by phonopy, with force constants by automatic differentiation."""

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from equipot.workflows.crystal import check_crystal
from equipot.workflows.reference_amount import Contents, contents
from equipot.workflows.second_derivatives import ProductFunction
from equipot.workflows.together import evaluate_together
from equipot.workflows.vibrations import MAX_STATIONARY_FORCE

Method = Literal["auto", "derivatives", "displacements"]

DISPLACEMENT_A: Final = 1e-3
"""Finite displacement in Å; the error of force constants is quadratic in it."""

PRODUCT_COST: Final = 1.5
"""Cost of a Hessian-vector product, in evaluations of forces."""

UNSTABLE_BELOW_THZ: Final = -0.05
"""Frequency in THz below which modes are unstable, beyond noise near Gamma."""

MAX_ACOUSTIC_NOISE_THZ: Final = 0.1
"""Largest frequency in THz of the acoustic modes at Gamma that counts as noise."""

MAX_MASS_DIFFERENCE: Final = 1e-6
"""Largest difference in amu between masses of the same isotope."""


@dataclass(frozen=True)
class ForceConstants:
    """Force constants of a supercell, with its symmetry by phonopy.

    Attributes:
        phonopy: `phonopy.Phonopy` object with these force constants.
        compact: Force constants in eV/Å^2 between atoms of the primitive cell and those
            of the supercell; rows in the order of ``phonopy.primitive.p2s_map``.
        method: ``derivatives`` or ``displacements``.
        evaluations: Number of Hessian-vector products or of force evaluations.
        sum_rule: Largest violation of the acoustic sum rule in eV/Å^2.
        inradius: Radius in Å of the largest sphere inside the supercell.
    """

    phonopy: Any
    compact: Float[np.ndarray, "primitive atoms 3 3"]
    method: str
    evaluations: int
    sum_rule: float
    inradius: float


@dataclass(frozen=True)
class Bands:
    """Phonon band structure along lines between high-symmetry points.

    Attributes:
        distances: Distances along the lines in 1/Å, one array per line.
        frequencies: Frequencies in THz, negative if imaginary, one array per line.
        labels: Labels of the first and the last point of each line.
    """

    distances: tuple[Float[np.ndarray, " points"], ...]
    frequencies: tuple[Float[np.ndarray, "points branches"], ...]
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Phonons:
    """Phonon properties of a crystal, per primitive cell.

    Attributes:
        force_constants: Force constants of the supercell.
        bands: Band structure.
        mesh: Number of mesh points along each reciprocal vector.
        dos_frequencies: Frequencies of the density of states in THz.
        dos: Density of states per THz and primitive cell.
        temperatures: Temperatures of the thermal properties in K.
        free_energy: Vibrational Helmholtz free energy in eV per primitive cell.
        entropy: Vibrational entropy in eV/K per primitive cell.
        heat_capacity: Heat capacity at constant volume in eV/K per primitive cell.
        lowest: Lowest frequency on the mesh and along the bands in THz.
        lowest_at: Wave vector of `lowest`, in reciprocal vectors of the primitive cell.
        unstable_share: Share of imaginary modes on the mesh.
        soft_share: Share of modes on the mesh that are zero within noise and not
            translations. Their entropy is as uncertain as their frequency.
        translations: Frequencies in THz of the three acoustic modes at Gamma, negative
            if imaginary; zero for a translationally invariant energy.
        primitive: Composition of the primitive cell.
        volume: Volume of the primitive cell in Å^3.
    """

    force_constants: ForceConstants
    bands: Bands
    mesh: tuple[int, int, int]
    dos_frequencies: Float[np.ndarray, " frequencies"]
    dos: Float[np.ndarray, " frequencies"]
    temperatures: Float[np.ndarray, " temperatures"]
    free_energy: Float[np.ndarray, " temperatures"]
    entropy: Float[np.ndarray, " temperatures"]
    heat_capacity: Float[np.ndarray, " temperatures"]
    lowest: float
    lowest_at: tuple[float, float, float]
    unstable_share: float
    soft_share: float
    translations: Float[np.ndarray, "3"]
    primitive: Contents
    volume: float

    @property
    def invariant(self) -> bool:
        """Whether the acoustic modes at Gamma are zero within noise."""
        return bool(np.abs(self.translations).max() < MAX_ACOUSTIC_NOISE_THZ)

    @property
    def stable(self) -> bool:
        """Whether no mode is imaginary beyond noise."""
        return self.lowest > UNSTABLE_BELOW_THZ

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers, with the units in the names."""
        constants = self.force_constants
        return {
            "method": constants.method,
            "evaluations": constants.evaluations,
            "supercell_matrix": constants.phonopy.supercell_matrix.tolist(),
            "supercell_atoms": len(constants.phonopy.supercell),
            "supercell_inradius_angstrom": constants.inradius,
            "sum_rule_ev_per_square_angstrom": constants.sum_rule,
            "lowest_thz": self.lowest,
            "lowest_at": list(self.lowest_at),
            "stable": self.stable,
            "unstable_share": self.unstable_share,
            "soft_share": self.soft_share,
            "translations_at_gamma_thz": self.translations.tolist(),
            "translations_cost_nothing": self.invariant,
            "primitive_cell": {
                **self.primitive.record(),
                "volume_cubic_angstrom": self.volume,
            },
            "bands": {
                "labels": [list(pair) for pair in self.bands.labels],
                "distances_per_angstrom": [d.tolist() for d in self.bands.distances],
                "frequencies_thz": [f.tolist() for f in self.bands.frequencies],
            },
            "mesh": list(self.mesh),
            "dos_frequencies_thz": self.dos_frequencies.tolist(),
            "dos_states_per_thz_per_primitive_cell": self.dos.tolist(),
            "temperatures_k": self.temperatures.tolist(),
            "free_energy_ev_per_primitive_cell": self.free_energy.tolist(),
            "entropy_ev_per_k_per_primitive_cell": self.entropy.tolist(),
            "heat_capacity_ev_per_k_per_primitive_cell": self.heat_capacity.tolist(),
        }


def supercell_around(atoms: Atoms, radius: float) -> tuple[int, int, int]:
    """Smallest supercell that contains a sphere.

    Args:
        atoms: Periodic structure.
        radius: Radius of the sphere in Å.

    Returns:
        Number of replicas along each lattice vector.
    """
    copies = np.ceil(2 * radius / _heights(atoms.cell.array) - 1e-9)
    a, b, c = np.maximum(copies, 1).astype(int).tolist()
    return a, b, c


def force_constants(
    atoms: Atoms,
    supercell: tuple[int, int, int],
    products: ProductFunction | None = None,
    *,
    method: Method = "auto",
    distance: float = DISPLACEMENT_A,
    interaction_range: float | None = None,
) -> ForceConstants:
    """Force constants of a supercell, using the symmetry found by phonopy.

    Phonopy determines the displacements. The response to a displacement is either
    differentiated, by one Hessian-vector product without truncation error, or obtained
    from the forces at a finite displacement.

    Args:
        atoms: Relaxed unit cell with a calculator, periodic in all directions.
        supercell: Number of replicas along each lattice vector.
        products: Hessian-vector products of the same energy.
        method: "derivatives", which needs `products`, or "displacements"; "auto"
            selects the cheaper one.
        distance: Finite displacement in Å.
        interaction_range: Distance in Å beyond which two atoms do not interact.

    Returns:
        The force constants in phonopy's compact form. If atoms of one element differ in
        mass, the given cell is used as the primitive cell.

    Raises:
        ImportError: If phonopy is not installed.
        ValueError: If the structure is not 3D-periodic or has fixed atoms, or `method`
            is "derivatives" and `products` is None.

    Warns:
        UserWarning: If forces do not vanish, or the supercell is smaller than the
            interaction range, so that atoms interact with their own images.
    """
    check_crystal(atoms, "phonons")
    if method == "derivatives" and products is None:
        raise ValueError("method='derivatives' needs products, got None")
    lattice = _phonopy(atoms, supercell)
    inradius = float(_heights(lattice.supercell.cell).min() / 2)
    _warn(atoms, inradius, interaction_range)
    chosen = _cheaper(lattice, distance) if method == "auto" else method
    if products is None or chosen == "displacements":
        chosen = "displacements"
        lattice.generate_displacements(distance=distance)
        displaced = [as_atoms(cell) for cell in lattice.supercells_with_displacements]
        forces = [found.forces for found in evaluate_together(displaced, atoms.calc)]
    else:
        lattice.generate_displacements(distance=distance, is_plusminus=False)
        forces = _linear_forces(lattice, products)
    lattice.forces = np.stack(forces)
    lattice.produce_force_constants(calculate_full_force_constants=False)
    compact = np.array(lattice.force_constants)
    return ForceConstants(
        phonopy=lattice,
        compact=compact,
        method=chosen,
        evaluations=len(forces),
        sum_rule=float(np.abs(compact.sum(axis=1)).max()),
        inradius=inradius,
    )


def phonons(
    constants: ForceConstants,
    *,
    mesh: float = 60.0,
    band_points: int = 51,
    temperatures: Float[np.ndarray, " temperatures"] | None = None,
) -> Phonons:
    """Band structure, density of states and thermal properties.

    Args:
        constants: Force constants of a supercell.
        mesh: Length in Å that sets the mesh of reciprocal space, as in phonopy.
        band_points: Number of points on each line of the band structure.
        temperatures: Temperatures in K; 0 to 1000 K by default.
    """
    lattice = constants.phonopy
    if temperatures is None:
        temperatures = np.arange(0.0, 1001.0, 10.0)
    bands, places = _bands(lattice, band_points)
    isotopes = _has_isotopes(as_atoms(lattice.primitive))
    lattice.run_mesh(mesh, is_mesh_symmetry=not isotopes)
    lattice.run_total_dos()
    with warnings.catch_warnings():
        # `invariant` reports the same.
        warnings.filterwarnings("ignore", "The acoustic frequencies at Gamma")
        lattice.run_thermal_properties(
            temperatures=temperatures, exclude_gamma_acoustic=True
        )
    on_mesh, dos = lattice.mesh, lattice.total_dos
    thermal = lattice.thermal_properties
    frequencies = on_mesh.frequencies
    points = np.concatenate([on_mesh.qpoints, *places])
    lowest = np.concatenate([frequencies, *bands.frequencies]).min(axis=1)
    where = points[int(np.argmin(lowest))]
    mesh_a, mesh_b, mesh_c = on_mesh.mesh_numbers
    per_mol = 1000 / (units._e * units._Nav)
    return Phonons(
        force_constants=constants,
        bands=bands,
        mesh=(int(mesh_a), int(mesh_b), int(mesh_c)),
        dos_frequencies=np.array(dos.frequency_points),
        dos=np.array(dos.dos),
        temperatures=np.array(thermal.temperatures),
        free_energy=np.array(thermal.free_energy) * per_mol,
        entropy=np.array(thermal.entropy) * per_mol / 1000,
        heat_capacity=np.array(thermal.heat_capacity) * per_mol / 1000,
        lowest=float(lowest.min()),
        lowest_at=(float(where[0]), float(where[1]), float(where[2])),
        unstable_share=float(
            np.average(
                (frequencies < UNSTABLE_BELOW_THZ).mean(axis=1), weights=on_mesh.weights
            )
        ),
        soft_share=_soft_share(on_mesh),
        translations=_translations(lattice),
        primitive=contents(list(lattice.primitive.symbols)),
        volume=float(lattice.primitive.volume),
    )


def _soft_share(on_mesh: Any) -> float:
    """Share of modes that are zero within noise, without the translations at Gamma."""
    soft = (np.abs(on_mesh.frequencies) <= -UNSTABLE_BELOW_THZ).sum(axis=1)
    at_gamma = np.abs(on_mesh.qpoints).max(axis=1) < 1e-9
    soft = np.where(at_gamma, np.maximum(soft - 3, 0), soft)
    branches = on_mesh.frequencies.shape[1]
    return float(np.average(soft / branches, weights=on_mesh.weights))


def _translations(lattice: Any) -> Float[np.ndarray, "3"]:
    """Frequencies in THz of the translations, by overlap, at Gamma."""
    lattice.run_qpoints([(0.0, 0.0, 0.0)], with_eigenvectors=True)
    found = lattice.qpoints
    root = np.sqrt(np.asarray(lattice.primitive.masses))
    moved = np.kron(root[:, None] / np.linalg.norm(root), np.eye(3))
    share = (np.abs(moved.T @ found.eigenvectors[0]) ** 2).sum(axis=0)
    return np.sort(np.array(found.frequencies[0])[np.argsort(share)[-3:]])


def _phonopy(atoms: Atoms, supercell: tuple[int, int, int]) -> Any:
    try:
        from phonopy import Phonopy  # noqa: PLC0415 - optional
        from phonopy.structure.atoms import PhonopyAtoms  # noqa: PLC0415
        from phonopy.structure.cells import guess_primitive_matrix  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "phonons need phonopy, which is not installed: pip install "
            "'phonopy>=4.8,<5'"
        ) from error
    # Phonopy requires a right-handed cell; the opposite vectors span the same lattice.
    vectors = atoms.cell.array * (1 if atoms.cell.handedness > 0 else -1)
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=vectors,
        scaled_positions=np.linalg.solve(vectors.T, atoms.positions.T).T % 1.0,
        masses=atoms.get_masses(),
    )
    # The symmetry ignores masses, which is correct for force constants; isotopes may
    # reduce the symmetry of the phonons.
    isotopes = _has_isotopes(atoms)
    return Phonopy(
        cell,
        supercell_matrix=np.diag(supercell),
        primitive_matrix=np.eye(3) if isotopes else guess_primitive_matrix(cell),
    )


def _has_isotopes(atoms: Atoms) -> bool:
    """Whether atoms of one element differ in mass."""
    masses = atoms.get_masses()
    return any(
        np.ptp(masses[atoms.numbers == z]) > MAX_MASS_DIFFERENCE
        for z in set(atoms.numbers)
    )


def _cheaper(lattice: Any, distance: float) -> str:
    """Method with the lower cost in evaluations of forces."""
    lattice.generate_displacements(distance=distance, is_plusminus=False)
    derivatives = 1 + PRODUCT_COST * len(lattice.displacements)
    lattice.generate_displacements(distance=distance)
    made = len(lattice.displacements)
    return "derivatives" if derivatives <= made else "displacements"


def as_atoms(cell: Any) -> Atoms:
    """Structure of a cell of phonopy."""
    return Atoms(
        cell.symbols, cell.positions, cell=cell.cell, pbc=True, masses=cell.masses
    )


def _linear_forces(
    lattice: Any, products: ProductFunction
) -> list[Float[np.ndarray, "atoms 3"]]:
    """Forces of phonopy's displacements to first order."""
    structure = as_atoms(lattice.supercell)
    directions = np.zeros((len(lattice.displacements), len(structure), 3))
    for n, (atom, *displacement) in enumerate(lattice.displacements):
        directions[n, int(atom)] = displacement
    return list(-products(structure, directions))


def _bands(
    lattice: Any, points: int
) -> tuple[Bands, list[Float[np.ndarray, "points 3"]]]:
    path = as_atoms(lattice.primitive).cell.bandpath(eps=1e-3)
    special = path.special_points
    lines, labels = [], []
    for piece in path.path.split(","):
        names = _names(piece, special)
        for a, b in pairwise(names):
            lines.append(np.linspace(special[a], special[b], points))
            labels.append((a, b))
    lattice.run_band_structure(lines)
    found = lattice.band_structure
    bands = Bands(
        distances=tuple(np.array(d) for d in found.distances),
        frequencies=tuple(np.array(f) for f in found.frequencies),
        labels=tuple(labels),
    )
    return bands, lines


def _names(piece: str, special: dict[str, Any]) -> list[str]:
    """Split ``GXK1`` into ``G``, ``X``, ``K1``."""
    names: list[str] = []
    while piece:
        name = max((n for n in special if piece.startswith(n)), key=len)
        names.append(name)
        piece = piece[len(name) :]
    return names


def _heights(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 3"]:
    """Distances in Å between opposite faces."""
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def _warn(atoms: Atoms, inradius: float, interaction_range: float | None) -> None:
    max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if max_force > MAX_STATIONARY_FORCE:
        warnings.warn(
            f"the largest force is {max_force:.3f} eV/Å, so the crystal is not relaxed "
            "and its phonons are not reliable: relax it first",
            stacklevel=3,
        )
    if interaction_range is not None and inradius < interaction_range:
        warnings.warn(
            f"the interaction range is {interaction_range:.1f} Å, but the inradius of "
            f"the supercell is only {inradius:.1f} Å, so force constants of periodic "
            "images are summed: check whether a larger supercell changes the result",
            stacklevel=3,
        )
