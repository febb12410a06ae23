"""What the commands on second derivatives leave in their folders."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from equipot.atomic_file import write_atomically, write_json
from equipot.frame_file import write_frames
from equipot.report.phonon_page import phonon_page
from equipot.report.reaction_page import reaction_page
from equipot.report.vibration_page import vibration_page
from equipot.workflows.phonons import Phonons
from equipot.workflows.reaction import Reaction
from equipot.workflows.relax import Relaxation
from equipot.workflows.thermochemistry import Thermochemistry
from equipot.workflows.vibrations import Vibrations

FRAMES = 20
"""Of one period of a mode."""

AMPLITUDE = 0.4
"""Of a mode that moves, in Å over all atoms."""


def write_vibrations(
    folder: Path,
    vibrations: Vibrations,
    thermochemistry: Thermochemistry | None,
    title: str,
    warnings: tuple[str, ...] = (),
) -> None:
    """Write ``vibrations.json``, ``modes.xyz`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        vibrations: Modes.
        thermochemistry: At one temperature; None where it is undefined.
        title: Of the page.
        warnings: To show in the page and to keep with the numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    thermal = None if thermochemistry is None else thermochemistry.record()
    record = {
        **vibrations.record(),
        "thermochemistry": thermal,
        "warnings": list(warnings),
    }
    write_json(folder / "vibrations.json", record)
    write_frames(folder / "modes.xyz", mode_frames(vibrations))
    text = vibration_page(vibrations, thermochemistry, title, warnings)
    write_atomically(folder / "report.html", text.encode())


def write_reaction(
    folder: Path, reaction: Reaction, title: str, warnings: tuple[str, ...] = ()
) -> None:
    """Write ``reaction.json``, ``path.xyz``, ``points.xyz`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        reaction: With its path.
        title: Of the page.
        warnings: To show in the page and to keep with the numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {**reaction.record(), "warnings": list(warnings)}
    write_json(folder / "reaction.json", record)
    path = reaction.path
    frames = [
        _with_energy(atoms, energy, length=float(length))
        for atoms, energy, length in zip(
            path.frames, path.energies.tolist(), path.lengths, strict=True
        )
    ]
    write_frames(folder / "path.xyz", frames)
    points = {"start": reaction.start, "saddle": reaction.saddle, "end": reaction.end}
    write_frames(
        folder / "points.xyz",
        [_with_energy(v.atoms, v.energy, point=name) for name, v in points.items()],
    )
    text = reaction_page(reaction, title, warnings)
    write_atomically(folder / "report.html", text.encode())


def write_phonons(
    folder: Path, phonons: Phonons, title: str, warnings: tuple[str, ...] = ()
) -> None:
    """Write ``phonons.json``, ``phonopy_params.yaml`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        phonons: With force constants, which the second file holds for phonopy.
        title: Of the page.
        warnings: To show in the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "phonons.json", phonons.record())
    phonons.force_constants.phonopy.save(
        folder / "phonopy_params.yaml", settings={"force_constants": True}
    )
    text = phonon_page(phonons, title, warnings)
    write_atomically(folder / "report.html", text.encode())


def write_relaxation(file: Path, relaxation: Relaxation) -> None:
    """Write the relaxed structure with its energy as extended XYZ."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, _with_energy(relaxation.atoms, relaxation.energy), format="extxyz")


def mode_frames(vibrations: Vibrations) -> list[Atoms]:
    """One period of each mode after the other, as structures."""
    phases = np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
    frames = []
    for n, (mode, nu) in enumerate(
        zip(vibrations.modes, vibrations.frequencies, strict=True), start=1
    ):
        for phase in phases:
            frame = vibrations.atoms.copy()
            frame.set_constraint()
            frame.positions += AMPLITUDE * phase * mode
            frame.info = {"mode": n, "frequency_per_cm": float(nu)}
            frames.append(frame)
    return frames


def _with_energy(atoms: Atoms, energy: float, **info: Any) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, energy=energy)
    copy.info.update(info)
    return copy
