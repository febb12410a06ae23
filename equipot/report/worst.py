"""The structures with the largest errors."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from jaxtyping import Float
from markupsafe import Markup

from equipot.evaluation.results import Evaluation
from equipot.report.domain import closeness
from equipot.report.parts.numbers import SUBSCRIPTS, shown
from equipot.report.parts.page import Cell, Table, cell, flagged
from equipot.report.parts.picture import picture
from equipot.units import MEV_PER_EV


def worst_structures(evaluation: Evaluation, most: int = 8) -> list[int]:
    """Structures with the largest errors.

    Args:
        evaluation: Result to search.
        most: Structures wanted.

    Returns:
        Those with the largest error of a force, then, up to a quarter of them, those
        with the largest error of the energy per atom; fewer if there are fewer.
    """
    by_force = _descending(evaluation.largest_force_error)
    by_energy = _descending(np.abs(evaluation.energy_per_atom.error))
    reserved = most // 4 if by_force else most
    chosen = by_force[: most - reserved]
    chosen += [n for n in by_energy[:reserved] if n not in chosen]
    return chosen


def worst_table(
    evaluation: Evaluation, chosen: Sequence[int], limits: Mapping[str, float]
) -> Table:
    """Pictures and errors of structures.

    Args:
        evaluation: Result that holds them.
        chosen: Structures to show.
        limits: Shortest distances of the training set by pair of elements.
    """
    ratio = closeness(evaluation.closest, limits)
    head = (
        "Structure",
        "Picture",
        "Energy error, meV/atom",
        "Force RMSE, meV/Å",
        "Largest force error, meV/Å",
        "Shortest distance / training",
    )
    rows = [_row(evaluation, n, float(ratio[n])) for n in chosen]
    title = "Structures with the largest errors"
    return Table(title, head, rows, text_columns=2, sortable=True)


def _row(evaluation: Evaluation, n: int, ratio: float) -> tuple[Cell, ...]:
    atoms = evaluation.atoms_of(n)
    numbers = evaluation.atomic_numbers[atoms]
    formula = _formula(numbers.tolist())
    error = MEV_PER_EV * np.linalg.norm(evaluation.forces.error[atoms], axis=1)
    marked = int(np.nanargmax(error)) if np.isfinite(error).any() else None
    drawing = picture(
        f"structure-{n}",
        numbers,
        evaluation.positions[atoms],
        evaluation.cell[n],
        evaluation.pbc[n],
        marked=marked,
        caption=f"Picture of {formula}",
    )
    lines = (evaluation.short_source[n], formula, evaluation.config_type[n])
    largest = cell(None)
    if marked is not None:
        place = f"on {chemical_symbols[numbers[marked]]} {marked}"
        largest = cell(float(error[marked])) + _LINE.format("where", place)
    return (
        Markup("").join(map(_LINE.format, ("source", "formula", "config-type"), lines)),
        drawing,
        MEV_PER_EV * float(evaluation.energy_per_atom.error[n]),
        _force_rmse(evaluation.forces.error[atoms]),
        largest,
        flagged(ratio) if ratio < 1 else ratio,
    )


_LINE = Markup('<span class="{}">{}</span>')


def worst_summary(evaluation: Evaluation, chosen: Sequence[int]) -> str:
    """The worst structure in a sentence, for a terminal."""
    if not chosen:
        return "no labels"
    error = MEV_PER_EV * evaluation.largest_force_error[chosen[0]]
    where = evaluation.short_source[chosen[0]]
    if np.isfinite(error):
        return f"{where}: largest force error {shown(error)} meV/Å"
    energy = MEV_PER_EV * evaluation.energy_per_atom.error[chosen[0]]
    return f"{where}: energy error {shown(energy)} meV/atom"


def _force_rmse(error: Float[np.ndarray, "atoms 3"]) -> float | None:
    present = error[np.isfinite(error)]
    return MEV_PER_EV * float(np.sqrt(np.mean(present**2))) if len(present) else None


def _formula(numbers: Sequence[int]) -> str:
    symbols = [chemical_symbols[z] for z in numbers]
    return Formula.from_list(symbols).format("hill").translate(SUBSCRIPTS)


def _descending(values: Float[np.ndarray, " structures"]) -> list[int]:
    order = np.argsort(-values, kind="stable")
    return [int(n) for n in order if np.isfinite(values[n])]
