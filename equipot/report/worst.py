"""Section of the report on the structures that the potential gets most wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from jaxtyping import Float

from equipot.evaluation.results import Evaluation
from equipot.report.domain import closeness
from equipot.report.parts.markup import Markup, join, number, shown, tag
from equipot.report.parts.picture import picture
from equipot.report.parts.tables import table
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
) -> Markup:
    """Pictures and errors of structures.

    Args:
        evaluation: Result that holds them.
        chosen: Structures to show.
        limits: Shortest distances of the training set by pair of elements.

    Returns:
        The table.
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
    return table("Structures with the largest errors", head, rows, text_columns=2)


def _row(evaluation: Evaluation, n: int, ratio: float) -> tuple[str, ...]:
    atoms = evaluation.atoms_of(n)
    numbers = evaluation.atomic_numbers[atoms]
    formula = _formula(numbers.tolist())
    error = MEV_PER_EV * np.linalg.norm(evaluation.forces.error[atoms], axis=1)
    labeled = bool(np.isfinite(error).any())
    marked = int(np.nanargmax(error)) if labeled else None
    drawing = picture(
        f"structure-{n}",
        numbers,
        evaluation.positions[atoms],
        evaluation.cell[n],
        evaluation.pbc[n],
        marked=marked,
        caption=f"Picture of {formula}",
    )
    where = "" if marked is None else f"{chemical_symbols[numbers[marked]]} {marked}"
    name = join(
        tag("span", evaluation.short_source[n], class_="source"),
        tag("span", formula, class_="formula"),
        tag("span", evaluation.config_type[n], class_="config-type"),
    )
    energy = MEV_PER_EV * float(evaluation.energy_per_atom.error[n])
    largest = join(
        number(float(np.nanmax(error)) if labeled else None),
        tag("span", f"on {where}", class_="where") if where else "",
    )
    return (
        name,
        Markup(drawing),
        number(energy),
        number(_force_rmse(evaluation.forces.error[atoms])),
        largest,
        tag("span", number(ratio), class_="warn" if ratio < 1 else None),
    )


def worst_summary(evaluation: Evaluation, chosen: Sequence[int]) -> str:
    """One line per structure is too much for a console: the worst in a sentence."""
    if not chosen:
        return "no labels"
    error = MEV_PER_EV * evaluation.largest_force_error[chosen[0]]
    where = evaluation.short_source[chosen[0]]
    if np.isfinite(error):
        return f"{where}: a force is off by {shown(error)} meV/Å"
    energy = MEV_PER_EV * evaluation.energy_per_atom.error[chosen[0]]
    return f"{where}: its energy is off by {shown(energy)} meV/atom"


def _force_rmse(error: Float[np.ndarray, "atoms 3"]) -> float | None:
    present = error[np.isfinite(error)]
    return MEV_PER_EV * float(np.sqrt(np.mean(present**2))) if len(present) else None


def _formula(numbers: Sequence[int]) -> str:
    symbols = [chemical_symbols[z] for z in numbers]
    return Formula.from_list(symbols).format("hill").translate(_SUBSCRIPTS)


def _descending(values: Float[np.ndarray, " structures"]) -> list[int]:
    order = np.argsort(-values, kind="stable")
    return [int(n) for n in order if np.isfinite(values[n])]


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
