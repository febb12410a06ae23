"""The equation of state of a crystal as a page: curve, minimum, and scan."""

import math

from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.page import Table, fixed, render
from equipot.report.parts.svg import figure
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
    "nothing": "nothing: atoms are scaled with the cell",
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
        made: Its origin goes to the footer, the spread of its committee to the top.
    """
    return render(
        "eos",
        command="eos",
        heading=title,
        summary=summary(found),
        warnings=(*warnings, *found.doubts),
        **made.header,
        found=found,
        equation=EQUATIONS[found.kind],
        relaxed=RELAXED[found.relaxed],
        energy=figure("curve", draw_energy_volume, found=found),
        pressure=figure("pressure", draw_pressure_volume, found=found),
        scan=_scan(found),
    )


def summary(found: EquationOfStateResult) -> str:
    """One sentence on the minimum."""
    atoms, slope = found.cell.atoms, found.bulk_derivative
    derivative = "" if slope is None else f", pressure derivative B0' = {slope:.3f}"
    return (
        f"Minimum at V0 = {found.volume:.4f} Å^3, E0 = {found.energy:.6f} eV per cell "
        f"({found.cell.text}), that is {found.volume / atoms:.4f} Å^3 and "
        f"{found.energy / atoms:.6f} eV per atom. Bulk modulus B0 = "
        f"{found.bulk_modulus:.3f} GPa{derivative}."
    )


def _scan(found: EquationOfStateResult) -> Table:
    pressures = found.pressures.tolist() or [math.nan] * len(found.volumes)
    rows = [
        (
            fixed(volume, 4),
            fixed(energy, 6),
            None if math.isnan(pressure) else fixed(pressure, 3),
        )
        for volume, energy, pressure in zip(
            found.volumes, found.energies, pressures, strict=True
        )
    ]
    head = ("Volume / Å³", "Energy / eV", "Pressure / GPa")
    return Table(f"Per cell of {found.cell.text}", head, rows)
