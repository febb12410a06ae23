"""Phonons of a crystal as a page: band structure and thermal properties."""

import numpy as np

from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.page import Table, fixed, render
from equipot.report.parts.svg import figure
from equipot.report.workflow_plots import draw_bands, draw_thermal
from equipot.units import MEV_PER_EV
from equipot.workflows.phonons import UNSTABLE_BELOW_THZ, Phonons

TABLE_TEMPERATURES = (0.0, 100.0, 200.0, 300.0, 500.0, 1000.0)
"""In K."""
EVALUATED = {
    "derivatives": "Hessian-vector products",
    "displacements": "displaced supercells",
}


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
        made: Its origin goes to the footer, the spread of its committee to the top.
    """
    constants = phonons.force_constants
    return render(
        "phonons",
        command="phonons",
        heading=title,
        summary=stability(phonons),
        warnings=(*warnings, *doubts(phonons)),
        **made.header,
        phonons=phonons,
        constants=constants,
        evaluated=EVALUATED[constants.method],
        supercell="x".join(map(str, np.diag(constants.phonopy.supercell_matrix))),
        translations=[_thz(frequency) for frequency in phonons.translations],
        bands=figure("bands", draw_bands, (8.0, 3.6), phonons=phonons),
        thermal=figure("thermal", draw_thermal, phonons=phonons),
        table=_thermal_table(phonons),
    )


def stability(phonons: Phonons) -> str:
    """One sentence on imaginary modes."""
    if phonons.stable:
        return (
            "Dynamically stable: no imaginary modes on the q-point mesh and the band "
            "paths."
        )
    where = ", ".join(f"{x:.3g}" for x in phonons.lowest_at)
    return (
        f"Dynamically unstable: lowest mode {abs(phonons.lowest):.2f}i THz at q = "
        f"({where}); {100 * phonons.unstable_share:.1f} % of the modes on the q-point "
        "mesh are imaginary."
    )


def doubts(phonons: Phonons) -> tuple[str, ...]:
    """Reasons why the numbers may be wrong, as sentences."""
    found = []
    if not phonons.invariant:
        worst = phonons.translations[np.argmax(np.abs(phonons.translations))]
        found.append(
            f"an acoustic mode at Γ has a frequency of {_thz(worst)}, expected 0: the "
            "energy is not invariant under translation, or the force constants are "
            "wrong; do not use these frequencies, and run `equipot verify`"
        )
    if phonons.unstable_share > 0:
        found.append(
            "free energy, entropy and heat capacity exclude the imaginary modes "
            f"({100 * phonons.unstable_share:.2g} % of all modes): they are not those "
            "of a stable crystal"
        )
    if phonons.soft_share > 0:
        found.append(
            f"{100 * phonons.soft_share:.2g} % of the modes of the mesh are within "
            f"{-UNSTABLE_BELOW_THZ:g} THz of zero and no translations: free energy and "
            "entropy are as uncertain as those frequencies"
        )
    return tuple(found)


def _thz(frequency: float) -> str:
    return f"{abs(frequency):.2g}{'i' if frequency < 0 else ''} THz"


def _thermal_table(phonons: Phonons) -> Table:
    distance = np.abs(phonons.temperatures - np.array(TABLE_TEMPERATURES)[:, None])
    rows = [
        (
            f"{phonons.temperatures[n]:g}",
            fixed(float(phonons.free_energy[n]), 4),
            MEV_PER_EV * float(phonons.entropy[n]),
            MEV_PER_EV * float(phonons.heat_capacity[n]),
        )
        for n in distance.argmin(axis=1)[distance.min(axis=1) < 1e-6]
    ]
    head = ("T / K", "Free energy / eV", "Entropy / (meV/K)", "Heat capacity / (meV/K)")
    return Table(f"Per primitive cell of {phonons.primitive.text}", head, rows)
