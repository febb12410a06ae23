"""The equation of state of a crystal as a page: curve, minimum, and scan."""

from functools import partial

import numpy as np

from equipot.report.parts.figure import figure, grid
from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.markup import Markup, tag
from equipot.report.parts.movie import notices
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import facts, table
from equipot.report.workflow_plots import draw_energy_volume, draw_pressure_volume
from equipot.workflows.equation_of_state import EquationOfStateResult

EQUATIONS = {
    "birchmurnaghan": "Birch-Murnaghan",
    "sj": "stabilized jellium (sj)",
    "taylor": "Taylor series of third order",
    "murnaghan": "Murnaghan",
    "birch": "Birch",
    "pouriertarantola": "Poirier-Tarantola",
    "vinet": "Vinet",
    "anton-schmidt": "Anton-Schmidt",
    "p3": "polynomial of third order (p3)",
}
"""Names of the equations in words."""

RELAXED = {
    "nothing": "nothing: cell and atoms are scaled",
    "atoms": "the atoms, in a cell of fixed shape",
    "shape": "the atoms and the shape of the cell",
}


def eos_page(
    found: EquationOfStateResult,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> str:
    """A complete HTML document about the equation of state of one crystal.

    Args:
        found: To show.
        title: What the crystal is.
        warnings: Sentences to show at the top.
        made: What made it, for the footer, and what its committee says.
    """
    curve = figure(
        "curve",
        partial(draw_energy_volume, found=found),
        "Energy against volume",
        f"Dots are computed, the line is the fit ({EQUATIONS[found.kind]}); per "
        f"cell of {found.cell.formula}, from the minimum of the fit.",
    )
    pressure = figure(
        "pressure",
        partial(draw_pressure_volume, found=found),
        "Pressure against volume",
        "Dots are from the stress, the line is minus the slope of the fit.",
    )
    return page(
        f"{title} – equation of state",
        tag(
            "header",
            tag("p", "equipot eos", class_="eyebrow"),
            tag("h1", title),
            tag("p", summary(found), class_="verdict"),
            made.sentences(),
            notices((*warnings, *found.doubts)),
        ),
        tag(
            "main",
            section("curve", "Curve", grid([curve, pressure])),
            section("minimum", "Minimum", _minimum(found)),
            section("scan", "Scan", _scan(found)),
        ),
        made.footer(),
    )


def summary(found: EquationOfStateResult) -> str:
    """One sentence on the minimum."""
    atoms, slope = found.cell.atoms, found.bulk_derivative
    derivative = "" if slope is None else f", B0' {slope:.3f}"
    return (
        f"V0 {found.volume:.4f} Å^3 and E0 {found.energy:.6f} eV per cell of "
        f"{found.cell.text}; {found.volume / atoms:.4f} Å^3 and "
        f"{found.energy / atoms:.6f} eV per atom. B0 {found.bulk_modulus:.3f} GPa"
        f"{derivative}."
    )


def _minimum(found: EquationOfStateResult) -> Markup:
    per = (("cell", 1), ("formula unit", found.cell.units), ("atom", found.cell.atoms))
    derivative = found.bulk_derivative
    return facts(
        [
            ("Equation", EQUATIONS[found.kind]),
            ("Relaxed", RELAXED[found.relaxed]),
            ("Cell", found.cell.text),
            *((f"V0 per {name}", f"{found.volume / n:.4f} Å³") for name, n in per),
            *((f"E0 per {name}", f"{found.energy / n:.6f} eV") for name, n in per),
            ("B0", f"{found.bulk_modulus:.3f} GPa"),
            ("B0'", "not a parameter" if derivative is None else f"{derivative:.3f}"),
            ("Residual", f"{1000 * found.residual:.2g} meV per cell"),
        ]
    )


def _fixed(pressure: float) -> str:
    """Three decimals, or a dash where there is no pressure."""
    if np.isnan(pressure):
        return "–"
    return f"{pressure:.3f}".replace("-", "−")


def _scan(found: EquationOfStateResult) -> Markup:
    pressures = found.pressures
    if not len(pressures):
        pressures = np.full(len(found.volumes), np.nan)
    rows = [
        (f"{v:.4f}", f"{e:.6f}".replace("-", "−"), _fixed(float(p)))
        for v, e, p in zip(found.volumes, found.energies, pressures, strict=True)
    ]
    head = ("Volume / Å³", "Energy / eV", "Pressure / GPa")
    return table(f"Per cell of {found.cell.text}", head, rows, sortable=False)
