"""Phonons of a crystal as a page: bands, states, and heat."""

from functools import partial

import numpy as np

from equipot.report.parts.figure import figure, grid
from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.markup import Markup, number, tag
from equipot.report.parts.movie import notices
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import facts, table
from equipot.report.workflow_plots import draw_bands, draw_thermal
from equipot.units import MEV_PER_EV
from equipot.workflows.phonons import UNSTABLE, Phonons

SHOWN = (0.0, 100.0, 200.0, 300.0, 500.0, 1000.0)
"""Temperatures in K of the table."""


def phonon_page(
    phonons: Phonons,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> str:
    """A complete HTML document about the phonons of one crystal.

    Args:
        phonons: To show.
        title: What the crystal is.
        warnings: Sentences to show at the top.
        made: What made it, for the footer, and what its committee says.
    """
    bands = figure(
        "bands",
        partial(draw_bands, phonons=phonons),
        "Bands and states",
        "Frequencies along lines between special points, imaginary ones below zero.",
        (8.0, 3.6),
    )
    thermal = figure(
        "thermal",
        partial(draw_thermal, phonons=phonons),
        "Heat capacity and entropy",
        "Harmonic, at constant volume; the dashed line is Dulong and Petit's.",
    )
    return page(
        f"{title} – phonons",
        tag(
            "header",
            tag("p", "equipot phonons", class_="eyebrow"),
            tag("h1", title),
            tag("p", stability(phonons), class_="verdict"),
            made.sentences(),
            notices((*warnings, *doubts(phonons))),
        ),
        tag(
            "main",
            section("bands", "Bands", bands),
            section("heat", "Thermal properties", grid([thermal]), _table(phonons)),
            section("method", "Method", _method(phonons)),
        ),
        made.footer(),
    )


def stability(phonons: Phonons) -> str:
    """One sentence on imaginary modes."""
    if phonons.stable:
        return "Dynamically stable: no imaginary modes on the mesh and the lines."
    where = ", ".join(f"{x:.3g}" for x in phonons.lowest_at)
    return (
        f"Unstable: the lowest mode is {abs(phonons.lowest):.2f}i THz at ({where}); "
        f"{100 * phonons.unstable_share:.1f} % of the modes of the mesh are imaginary."
    )


def doubts(phonons: Phonons) -> tuple[str, ...]:
    """What makes numbers mean less than they seem to, as sentences."""
    found = []
    if not phonons.invariant:
        worst = phonons.translations[np.argmax(np.abs(phonons.translations))]
        found.append(
            f"moving all atoms alike has a frequency of {_thz(worst)}, expected 0: the "
            "energy depends on where the crystal is, or force constants are wrong, and "
            "no frequency here can be trusted; see `equipot verify`"
        )
    if phonons.unstable_share > 0:
        found.append(
            "free energy, entropy and heat capacity leave out the imaginary modes, "
            f"{100 * phonons.unstable_share:.2g} % of all: they are not those of a "
            "stable crystal"
        )
    if phonons.soft_share > 0:
        found.append(
            f"{100 * phonons.soft_share:.2g} % of the modes of the mesh are within "
            f"{-UNSTABLE:g} THz of zero and no translations: free energy and entropy "
            "are as uncertain as those frequencies"
        )
    return tuple(found)


def _thz(frequency: float) -> str:
    return f"{abs(frequency):.2g}{'i' if frequency < 0 else ''} THz"


def _table(phonons: Phonons) -> Markup:
    rows = []
    for temperature in SHOWN:
        n = int(np.argmin(np.abs(phonons.temperatures - temperature)))
        if abs(phonons.temperatures[n] - temperature) < 1e-6:
            rows.append(
                (
                    f"{temperature:g}",
                    number(float(phonons.free_energy[n])),
                    number(MEV_PER_EV * float(phonons.entropy[n])),
                    number(MEV_PER_EV * float(phonons.heat_capacity[n])),
                )
            )
    head = ("T / K", "Free energy / eV", "Entropy / meV/K", "Heat capacity / meV/K")
    caption = f"Per primitive cell of {phonons.primitive.text}"
    return table(caption, head, rows, sortable=False)


def _method(phonons: Phonons) -> Markup:
    constants = phonons.force_constants
    how = {
        "derivatives": "Hessian-vector products",
        "displacements": "displaced supercells",
    }
    supercell = "x".join(str(n) for n in np.diag(constants.phonopy.supercell_matrix))
    return facts(
        [
            ("Force constants", f"{constants.evaluations} {how[constants.method]}"),
            ("Supercell", f"{supercell}, {len(constants.phonopy.supercell)} atoms"),
            ("Primitive cell", f"{phonons.primitive.text}, {phonons.volume:.3f} Å³"),
            ("Inradius", f"{constants.inradius:.2f} Å"),
            ("Sum rule", f"{constants.sum_rule:.1e} eV/Å²"),
            ("Translations", ", ".join(map(_thz, phonons.translations))),
            ("Mesh", "x".join(map(str, phonons.mesh))),
        ]
    )
