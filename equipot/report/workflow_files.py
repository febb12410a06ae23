"""Files of the commands on second derivatives."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from equipot.hessians import ElasticConstants, turned_stiffness
from equipot.report.eos_page import eos_page
from equipot.report.parts.made import UNKNOWN, Made, with_spread
from equipot.report.phonon_page import phonon_page
from equipot.report.reaction_page import reaction_page
from equipot.report.vibration_page import vibration_page
from equipot.storage.atomic_file import make_folder, write_atomically, write_json
from equipot.storage.frame_file import write_frames
from equipot.workflows.committee import difference_spread
from equipot.workflows.equation_of_state import EquationOfStateResult
from equipot.workflows.phonons import Phonons
from equipot.workflows.reaction import Reaction
from equipot.workflows.reference_amount import contents
from equipot.workflows.relax import Relaxation
from equipot.workflows.standard_axes import StandardAxes
from equipot.workflows.thermochemistry import Thermochemistry
from equipot.workflows.third_order import ThirdOrder
from equipot.workflows.vibrations import Vibrations

FRAMES = 20
"""Of one period of a mode."""

POINTS = ("start", "saddle", "end")
"""Of a reaction, in the order of the spreads of a committee."""

AMPLITUDE = 0.4
"""Of a mode that moves, in Å over all atoms."""


def write_vibrations(
    folder: Path,
    vibrations: Vibrations,
    thermochemistry: Thermochemistry | None,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> None:
    """Write ``vibrations.json``, ``modes.xyz`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        vibrations: Modes.
        thermochemistry: At one temperature; None where it is undefined.
        title: Of the page.
        warnings: To show in the page and to keep with the numbers.
        made: Origin, and the spread of the committee.
    """
    thermal = None if thermochemistry is None else thermochemistry.record()
    record = {
        **vibrations.record(),
        "thermochemistry": thermal,
        "warnings": list(warnings),
    }
    page = vibration_page(vibrations, thermochemistry, title, warnings, made)
    _write(folder, "vibrations", record, page, made)
    write_frames(folder / "modes.xyz", made.stamped(mode_frames(vibrations)))


def write_reaction(
    folder: Path,
    reaction: Reaction,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> None:
    """Write ``reaction.json``, ``path.xyz``, ``points.xyz`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        reaction: With its path.
        title: Of the page.
        warnings: To show in the page and to keep with the numbers.
        made: Origin, and the spread of the committee at start, saddle point and end.
    """
    record = {**reaction.record(), "warnings": list(warnings)}
    spreads = dict(zip(POINTS, made.committee, strict=False))
    if len(spreads) == len(POINTS):
        record["barrier_spreads_ev"] = [
            difference_spread(spreads[minimum], spreads["saddle"])
            for minimum in ("start", "end")
        ]
    _write(
        folder, "reaction", record, reaction_page(reaction, title, warnings, made), made
    )
    path = reaction.path
    steps = zip(path.frames, path.energies.tolist(), path.lengths, strict=True)
    frames = [_with_energy(atoms, e, length=float(x)) for atoms, e, x in steps]
    write_frames(folder / "path.xyz", made.stamped(frames))
    points = zip(POINTS, (reaction.start, reaction.saddle, reaction.end), strict=True)
    shown = [
        with_spread(_with_energy(v.atoms, v.energy, point=name), spreads.get(name))
        for name, v in points
    ]
    write_frames(folder / "points.xyz", made.stamped(shown))


def write_phonons(
    folder: Path,
    phonons: Phonons,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
    third_order: ThirdOrder | None = None,
) -> None:
    """Write ``phonons.json``, ``phonopy_params.yaml`` and ``report.html``.

    With third-order force constants, also ``phono3py_params.yaml``, ``fc2.hdf5`` and
    ``fc3.hdf5`` for phono3py.

    Args:
        folder: Made if it is not there.
        phonons: With force constants, which the second file holds for phonopy.
        title: Of the page.
        warnings: To show in the page.
        made: Origin, and the spread of the committee.
        third_order: Third-order force constants.
    """
    page = phonon_page(phonons, title, warnings, made)
    record = phonons.record()
    if third_order is not None:
        record["third_order"] = third_order.record()
        write_third_order(folder, third_order, made)
    _write(folder, "phonons", record, page, made)
    phonopy = phonons.force_constants.phonopy
    settings = {"force_constants": True}
    text = f"{made.comments()}{phonopy.to_phonopy_yaml(settings=settings)}"
    write_atomically(folder / "phonopy_params.yaml", text.encode())


def write_third_order(folder: Path, found: ThirdOrder, made: Made = UNKNOWN) -> None:
    """Write ``phono3py_params.yaml``, ``fc2.hdf5`` and ``fc3.hdf5`` for phono3py.

    Args:
        folder: Made if it is not there.
        found: Force constants; the first file holds forces that give the same.
        made: Origin.
    """
    from phono3py.file_IO import (  # noqa: PLC0415 - optional
        write_fc2_to_hdf5,
        write_fc3_to_hdf5,
    )

    make_folder(folder)
    lattice = found.phono3py
    text = f"{made.comments()}{lattice.to_phono3py_yaml()}"
    write_atomically(folder / "phono3py_params.yaml", text.encode())
    harmonic, third = BytesIO(), BytesIO()
    write_fc2_to_hdf5(
        lattice.fc2,
        harmonic,
        p2s_map=lattice.phonon_primitive.p2s_map,
        physical_unit="eV/angstrom^2",
    )
    write_fc3_to_hdf5(lattice.fc3, filename=third, p2s_map=lattice.primitive.p2s_map)
    write_atomically(folder / "fc2.hdf5", harmonic.getvalue())
    write_atomically(folder / "fc3.hdf5", third.getvalue())


def write_equation_of_state(
    folder: Path,
    found: EquationOfStateResult,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> None:
    """Write ``eos.json``, ``scan.xyz`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        found: Scan and fit.
        title: Of the page.
        warnings: To show in the page.
        made: Origin, and the spread of the committee at the lowest structure.
    """
    page = eos_page(found, title, warnings, made)
    _write(folder, "eos", found.record(), page, made)
    scan = zip(found.frames, found.energies.tolist(), strict=True)
    frames = [_with_energy(frame, energy) for frame, energy in scan]
    write_frames(folder / "scan.xyz", made.stamped(frames))


def write_relaxation(file: Path, relaxation: Relaxation, made: Made = UNKNOWN) -> None:
    """Write the relaxed structure with its energy as extended XYZ.

    Args:
        file: Its folder is made if it is not there.
        relaxation: Its structure keeps what the start carried: masses, tags, magnetic
            moments, fixed atoms, and all of ``info`` that extended XYZ can hold; ASE
            warns of the rest.
        made: Origin, and the spread of the committee at the relaxed structure.
    """
    write_relaxations(file, [relaxation], made)


def write_relaxations(
    file: Path, relaxations: Sequence[Relaxation], made: Made = UNKNOWN
) -> None:
    """Write relaxed structures with their energies as extended XYZ.

    Args:
        file: File to replace; its folder is created.
        relaxations: Results, in the order of the frames; see `write_relaxation`.
        made: Origin, and the spreads of the committee at the relaxed structures.
    """
    make_folder(file.parent)
    spreads = made.committee or [None] * len(relaxations)
    frames = []
    for relaxation, spread in zip(relaxations, spreads, strict=True):
        frame = _with_energy(relaxation.atoms, relaxation.energy)
        if relaxation.pressure:
            frame.info["pressure_gpa"] = relaxation.pressure
            frame.info["enthalpy_ev"] = relaxation.enthalpy
        frames.append(with_spread(frame, spread))
    write_frames(file, made.stamped(frames))


def write_elastic(
    file: Path,
    constants: ElasticConstants,
    atoms: Atoms,
    axes: StandardAxes | None,
    made: Made = UNKNOWN,
) -> None:
    """Write elastic constants and moduli of a crystal as JSON.

    Args:
        file: File to replace; its folder is created.
        constants: Elastic constants.
        atoms: Crystal.
        axes: Its standard axes; None if they are unknown.
        made: Provenance.
    """
    moduli = constants.moduli.averages
    record = {
        "cell": {
            **contents(atoms.get_chemical_symbols()).record(),
            "volume_cubic_angstrom": float(atoms.get_volume()),
            "vectors_angstrom": atoms.cell.array.tolist(),
        },
        "axes": "Cartesian axes of the structure",
        "birch_gpa": constants.birch.tolist(),
        "brugger_gpa": constants.brugger.tolist(),
        "clamped_birch_gpa": constants.clamped_birch.tolist(),
        "stress_gpa": constants.stress.tolist(),
        "standard_axes": _in_standard_axes(constants, axes),
        # JSON has no NaN; averages of an unstable crystal can be that
        "moduli": {k: v if math.isfinite(v) else None for k, v in moduli.items()},
        "stable": constants.stable,
        "translation_ev_per_square_angstrom": constants.translation,
        "translations_cost_nothing": constants.invariant,
        **made.record(),
    }
    make_folder(file.parent)
    write_json(file, record)


def _in_standard_axes(
    constants: ElasticConstants, axes: StandardAxes | None
) -> dict[str, Any] | None:
    if axes is None:
        return None
    return {
        "space_group": axes.space_group,
        "rotation": axes.rotation.tolist(),
        "birch_gpa": turned_stiffness(constants.birch, axes.rotation).tolist(),
    }


def mode_frames(vibrations: Vibrations) -> list[Atoms]:
    """One period of each mode after the other, as structures."""
    phases = np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
    modes = zip(vibrations.modes, vibrations.frequencies, strict=True)
    frames = []
    for n, (mode, nu) in enumerate(modes, start=1):
        for phase in phases:
            frame = vibrations.atoms.copy()
            frame.set_constraint()
            frame.positions += AMPLITUDE * phase * mode
            frame.info = {"mode": n, "frequency_per_cm": float(nu)}
            frames.append(frame)
    return frames


def _write(
    folder: Path, name: str, record: dict[str, Any], page: str, made: Made
) -> None:
    """Write the JSON file and the page; the folder is made if it is not there."""
    make_folder(folder)
    write_json(folder / f"{name}.json", {**record, **made.record()})
    write_atomically(folder / "report.html", page.encode())


def _with_energy(atoms: Atoms, energy: float, **info: Any) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, energy=energy)
    copy.info.update(info)
    return copy
