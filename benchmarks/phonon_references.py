r"""Phonons of crystals by potentials, against those of DFT force constants.

Relaxes each crystal with each potential, as ``equipot phonons --cell`` does, and
compares vibrational entropy and frequencies with the reference, in the same supercell::

    python -m benchmarks.phonon_references DATA MODEL [MODEL ...] --backend fused

DATA holds ``reference_phonons.json`` (cells, and frequencies at special wave vectors)
and, for each crystal of it, ``NAME_train.extxyz`` (and ``NAME_test.extxyz``) with the
DFT forces of random displacements in a supercell. Force constants are fitted to them by
symfc, and their frequencies are compared with those of the JSON file before use.

Each potential appears twice: in its own relaxed cell, and in the cell of the reference
with relaxed atoms, which separates the curvature from the lattice constants.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms, units
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from benchmarks.common import options, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.calculators import EquipotCalculator
from equipot.workflows import model_hessian, model_products, relax
from equipot.workflows.phonons import ForceConstants, force_constants, phonons

TEMPERATURES: Final = (300.0, 305.0)
"""In K: that of the JSON file, and that of the entropy."""
MESH_LENGTH: Final = 60.0
"""Sets the mesh of reciprocal space in Å."""
RELAXED_FORCE: Final = 1e-4
"""Force in eV/Å to which crystals are relaxed."""
FIT_TOLERANCE_THZ: Final = 0.2
"""Largest difference of the fitted frequencies from those of the JSON file, which may
be fitted to other displacements."""
TITLE: Final = (
    "V in Å^3 and S(305 K) in J/mol/K of the primitive cell, mean and highest "
    "frequency in THz, MAE at special points in THz"
)
JOULE_PER_MOL: Final = units._e * units._Nav
"""One eV in J/mol."""


def main() -> None:
    """Compute, print, and write."""
    arguments = _parse()
    screen, record = start(arguments)
    record["settings"]["models"] = [path.name for path in arguments.models]
    crystals = json.loads((arguments.data / "reference_phonons.json").read_text())
    rows: list[dict[str, Any]] = []
    for name in arguments.crystals or crystals:
        crystal = crystals[name]
        reference = fitted(arguments.data, name, crystal)
        difference = _checked_fit(name, reference, crystal)
        record.setdefault("largest_difference_from_json_thz", {})[name] = difference
        label = {"crystal": name, "potential": "DFT", "cell": "DFT"}
        rows.append({**label, **properties(reference, crystal)})
        for path in arguments.models:
            for cell in ("relaxed", "DFT"):
                label = {"crystal": name, "potential": path.stem, "cell": cell}
                constants = predicted(
                    path, crystal, cell=cell == "relaxed", backend=arguments.backend
                )
                rows.append({**label, **properties(constants, crystal)})
                screen.print(f"{name}: {path.stem} in the {cell} cell", soft_wrap=True)
    record["results"] = rows
    screen.print(table_of(TITLE, [_printed(row, rows) for row in rows]))
    write_record(arguments.json, record, screen)


def fitted(data: Path, name: str, crystal: Mapping[str, Any]) -> ForceConstants:
    """Force constants fitted by symfc to all DFT forces of a crystal."""
    frames = [
        frame
        for part in ("train", "test")
        for frame in ase.io.read(data / f"{name}_{part}.extxyz", ":")
    ]
    lattice = Phonopy(
        PhonopyAtoms(
            symbols=crystal["unitcell_symbols"],
            cell=crystal["unitcell"],
            scaled_positions=crystal["unitcell_scaled_positions"],
        ),
        supercell_matrix=crystal["supercell_matrix"],
        primitive_matrix=crystal["primitive_matrix"],
    )
    rest = Atoms(
        lattice.supercell.symbols,
        lattice.supercell.positions,
        cell=lattice.supercell.cell,
        pbc=True,
    )
    lattice.dataset = {
        "displacements": np.stack([_displacements(rest, frame) for frame in frames]),
        "forces": np.stack([frame.arrays["REF_forces"] for frame in frames]),
    }
    lattice.produce_force_constants(
        calculate_full_force_constants=False, fc_calculator="symfc"
    )
    compact = np.array(lattice.force_constants)
    heights = 1 / np.linalg.norm(np.linalg.inv(rest.cell.array), axis=0)
    return ForceConstants(
        phonopy=lattice,
        compact=compact,
        method="displacements",
        evaluations=len(frames),
        sum_rule=float(np.abs(compact.sum(axis=1)).max()),
        inradius=float(heights.min() / 2),
    )


def predicted(
    model: Path, crystal: Mapping[str, Any], *, cell: bool, backend: str
) -> ForceConstants:
    """Force constants by a potential after relaxation, in the supercell of the DFT.

    Args:
        model: Model file.
        crystal: Entry of the JSON file.
        cell: Whether to relax the cell, too.
        backend: Tensor-product backend.
    """
    calculator = EquipotCalculator(model, dtype="float64", backend=backend)
    atoms = Atoms(
        crystal["unitcell_symbols"],
        scaled_positions=crystal["unitcell_scaled_positions"],
        cell=crystal["unitcell"],
        pbc=True,
        calculator=calculator,
    )
    found = relax(atoms, model_hessian(calculator), cell=cell, fmax=RELAXED_FORCE)
    if not found.converged:
        raise ValueError(f"{model}: {atoms.symbols} did not relax")
    found.atoms.calc = calculator
    copies = np.diag(crystal["supercell_matrix"])
    products = model_products(calculator)
    a, b, c = copies.tolist()
    return force_constants(found.atoms, (a, b, c), products, method="derivatives")


def properties(constants: ForceConstants, crystal: Mapping[str, Any]) -> dict[str, Any]:
    """Entropy, frequencies and stability, per primitive cell."""
    found = phonons(
        constants, mesh=MESH_LENGTH, temperatures=np.array(TEMPERATURES), band_points=21
    )
    mesh = constants.phonopy.mesh
    return {
        "atoms_of_supercell": len(constants.phonopy.supercell),
        "volume_cubic_angstrom": found.volume,
        "entropy_305k_j_per_mol_k": float(found.entropy[1] * JOULE_PER_MOL),
        "free_energy_300k_kj_per_mol": float(found.free_energy[0] * JOULE_PER_MOL)
        / 1000,
        "heat_capacity_300k_j_per_mol_k": float(found.heat_capacity[0] * JOULE_PER_MOL),
        "mean_thz": float(
            np.average(mesh.frequencies.mean(axis=1), weights=mesh.weights)
        ),
        "highest_thz": float(mesh.frequencies.max()),
        "lowest_thz": found.lowest,
        "stable": found.stable,
        "special_points_thz": {
            name: values.tolist()
            for name, values in at_special_points(constants, crystal).items()
        },
    }


def at_special_points(
    constants: ForceConstants, crystal: Mapping[str, Any]
) -> dict[str, Float[np.ndarray, " branches"]]:
    """Sorted frequencies in THz at the wave vectors of the JSON file.

    The file gives reduced coordinates of its own primitive cell.
    """
    lattice = constants.phonopy
    of_file = np.linalg.inv(np.array(crystal["primitive_matrix"])).T
    found = {}
    for name, q in crystal["q_points_primitive_reduced"].items():
        lattice.run_qpoints([lattice.primitive_matrix.T @ of_file @ np.array(q)])
        found[name] = np.sort(np.array(lattice.qpoints.frequencies[0]))
    return found


def _checked_fit(
    name: str, reference: ForceConstants, crystal: Mapping[str, Any]
) -> float:
    """Largest difference in THz of the fit from the frequencies of the JSON file."""
    found = at_special_points(reference, crystal)
    expected = crystal["frequencies_THz_without_NAC"]
    worst = max(float(np.abs(found[q] - np.sort(expected[q])).max()) for q in expected)
    if worst > FIT_TOLERANCE_THZ:
        raise ValueError(
            f"{name}: frequencies of the fitted force constants differ by up to "
            f"{worst:.3g} THz from reference_phonons.json; are the displacements "
            "and the order of the atoms those of the supercell?"
        )
    return worst


def _displacements(rest: Atoms, frame: Atoms) -> Float[np.ndarray, "atoms 3"]:
    if list(rest.symbols) != list(frame.symbols):
        raise ValueError("the elements of a frame differ from those of the supercell")
    moved = np.linalg.solve(
        rest.cell.array.T, (frame.positions - rest.positions).T
    ).T  # rest and frame have the same cell
    return (moved - np.round(moved)) @ rest.cell.array


def _printed(row: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, object]:
    """Row of the table, with differences from the reference of the same crystal."""
    (dft,) = (
        r for r in rows if r["crystal"] == row["crystal"] and r["potential"] == "DFT"
    )
    entropy, mean = "entropy_305k_j_per_mol_k", "mean_thz"
    special = [
        np.array(row["special_points_thz"][q]) - dft["special_points_thz"][q]
        for q in dft["special_points_thz"]
    ]
    return {
        "crystal": row["crystal"],
        "potential": row["potential"],
        "cell": row["cell"],
        "V": f"{row['volume_cubic_angstrom']:.2f}",
        "S": f"{row[entropy]:.2f}",
        "dS": f"{row[entropy] - dft[entropy]:+.2f}",
        "mean": f"{row[mean]:.3f}",
        "dmean": f"{100 * (row[mean] / dft[mean] - 1):+.1f} %",
        "max": f"{row['highest_thz']:.2f}",
        "MAE": f"{np.abs(np.concatenate(special)).mean():.3f}",
        "stable": "yes" if row["stable"] else f"no, {row['lowest_thz']:.2f}",
    }


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "phonon_references.json")
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--crystals", nargs="+", default=[], help="default: all")
    parser.add_argument("--backend", default="fused")
    return parser.parse_args()


if __name__ == "__main__":
    main()
