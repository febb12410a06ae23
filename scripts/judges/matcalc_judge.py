"""Properties of a metal by matcalc, for the model and its reference potential."""

import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator
from matcalc import ElasticityCalc, EOSCalc, PhononCalc, RelaxCalc
from pymatgen.io.ase import AseAtomsAdaptor

from equipot import EquipotCalculator
from equipot.hessians import elastic_constants
from equipot.workflows import model_products, relax
from equipot.workflows.phonons import force_constants
from equipot.workflows.second_derivatives import model_graph
from judges.teachers import metal
from judges.verdict import Verdict

JUDGE = f"matcalc {version('matcalc')}"
CRYSTAL = bulk("Cu", "fcc", a=3.7)
"""Initial lattice constant of the relaxation in Å."""
TIGHT = {"fmax": 1e-5, "max_steps": 1000}
SMALL_STRAINS = {
    "norm_strains": (-0.002, -0.001, 0.001, 0.002),
    "shear_strains": (-0.002, -0.001, 0.001, 0.002),
}
"""So that differences of stress are derivatives, as ours are."""
SUPERCELL = (8, 8, 8)
ROOM_TEMPERATURE = 300
LIMITS = {
    "lattice constant / Å": 0.5,
    "bulk modulus, equation of state / GPa": 5.0,
    "C11 / GPa": 10.0,
    "C12 / GPa": 10.0,
    "C44 / GPa": 10.0,
    "highest phonon / THz": 5.0,
    "heat capacity at 300 K / (J/K/mol)": 1.0,
}
"""Allowed difference between model and reference potential in percent; matcalc defines
no limits."""
SAME = {"C11 / GPa": 0.1, "C12 / GPa": 0.1, "C44 / GPa": 0.1}
SAME |= {"lattice constant / Å": 0.001, "highest phonon / THz": 0.1}
"""Allowed difference between matcalc and `equipot.workflows` in percent, for the same
model; matcalc uses finite differences of forces and stress."""


def judge(path: Path) -> list[Verdict]:
    """Verdicts on a model of copper trained on `judges.teachers.metal`."""
    calculator = EquipotCalculator(path, dtype="float64", on_extrapolation="warn")
    ours, seconds = _timed(lambda: _measured(calculator))
    teacher, _ = _timed(lambda: _measured(metal()))
    own, own_seconds = _timed(lambda: _own(calculator))
    verdicts = []
    for name, limit in LIMITS.items():
        verdicts.append(
            _verdict(name, ours[name], teacher[name], limit, "of EMT", seconds)
        )
    for name, limit in SAME.items():
        verdicts.append(
            _verdict(
                f"{name}, small steps" if "C" in name else name,
                ours.get(f"{name} small", ours[name]),
                own[name],
                limit,
                "of equipot's own",
                own_seconds,
            )
        )
    return verdicts


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def _measured(calculator: Calculator) -> dict[str, float]:
    """Results of matcalc, with its defaults except for convergence."""
    crystal = AseAtomsAdaptor.get_structure(CRYSTAL)
    relaxed = RelaxCalc(calculator, **TIGHT).calc(crystal)
    structure = relaxed["final_structure"]
    result = {"lattice constant / Å": float((4 * relaxed["volume"]) ** (1 / 3))}
    state = EOSCalc(calculator, relax_structure=False, fmax=1e-3).calc(structure)
    result["bulk modulus, equation of state / GPa"] = float(state["bulk_modulus_bm"])
    for suffix, strains in (("", {}), (" small", SMALL_STRAINS)):
        tensor = _elastic(calculator, structure, strains)
        result |= {f"{name}{suffix}": value for name, value in tensor.items()}
    phonons = PhononCalc(
        calculator,
        relax_structure=False,
        supercell_matrix=np.diag(SUPERCELL),
        write_phonon=False,
    ).calc(structure)
    thermal = phonons["thermal_properties"]
    result["highest phonon / THz"] = float(phonons["frequencies"].max())
    result["heat capacity at 300 K / (J/K/mol)"] = float(
        np.interp(ROOM_TEMPERATURE, thermal["temperatures"], thermal["heat_capacity"])
    )
    return result


def _elastic(
    calculator: Calculator, structure: Any, strains: dict[str, Any]
) -> dict[str, float]:
    """In the axes of the cube, whose lattice vectors matcalc keeps."""
    cubic = structure.to_conventional()
    tensor = ElasticityCalc(
        calculator, relax_structure=False, units_GPa=True, **strains
    ).calc(cubic)["elastic_tensor"]
    return _constants(np.array(tensor.voigt))


def _constants(voigt: np.ndarray) -> dict[str, float]:
    return {
        "C11 / GPa": float(voigt[0, 0]),
        "C12 / GPa": float(voigt[0, 1]),
        "C44 / GPa": float(voigt[3, 3]),
    }


def _own(calculator: EquipotCalculator) -> dict[str, float]:
    """The same by second derivatives of the model, as of `equipot elastic`."""
    atoms = CRYSTAL.copy()
    atoms.calc = calculator
    atoms = relax(atoms, calculator.get_hessian, cell=True, fmax=1e-6).atoms
    atoms.calc = calculator
    elastic = elastic_constants(calculator.potential, model_graph(calculator, atoms))
    with warnings.catch_warnings():
        # Both use the same supercell, which is smaller than the interaction range.
        warnings.simplefilter("ignore", UserWarning)
        lattice = force_constants(
            atoms, SUPERCELL, model_products(calculator), method="derivatives"
        ).phonopy
    lattice.run_mesh()
    return {
        "lattice constant / Å": float((4 * atoms.get_volume()) ** (1 / 3)),
        "highest phonon / THz": float(lattice.mesh.frequencies.max()),
        **_constants(elastic.birch),
    }


def _verdict(
    name: str, ours: float, other: float, limit: float, whose: str, seconds: float
) -> Verdict:
    percent = 100 * abs(ours / other - 1)
    return Verdict(
        JUDGE,
        name,
        ours,
        other,
        f"within {limit:g} % {whose}: {percent:.2g} %",
        bool(percent <= limit),
        seconds,
    )
