"""Normal modes and thermochemistry as a page in which the molecule moves."""

from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.movie import mode_movie
from equipot.report.parts.numbers import plural
from equipot.report.parts.page import Table, fixed, render
from equipot.report.parts.svg import figure
from equipot.report.workflow_plots import draw_frequencies
from equipot.units import MEV_PER_EV
from equipot.workflows.thermochemistry import Thermochemistry
from equipot.workflows.vibrations import Vibrations


def vibration_page(
    vibrations: Vibrations,
    thermochemistry: Thermochemistry | None,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> str:
    """A complete HTML document about the modes of one structure.

    Args:
        vibrations: Modes.
        thermochemistry: At one temperature; None where it is undefined.
        title: What the structure is.
        warnings: Sentences to show at the top.
        made: Its origin goes to the footer, the spread of its committee to the top.
    """
    nus = vibrations.frequencies
    labels = [mode_label(n, nu) for n, nu in enumerate(nus, start=1)]
    thermo = thermochemistry
    return render(
        "vibrations",
        command="vibrations",
        heading=title,
        summary=summary(vibrations),
        warnings=warnings,
        **made.header,
        vibrations=vibrations,
        thermo=thermo,
        labels=labels,
        free_energy="Free energy"
        if thermo is None or thermo.pressure is None
        else "Gibbs free energy",
        movie=mode_movie(vibrations.atoms, vibrations.modes, labels),
        rigid=[f"{nu:.2g}" for nu in vibrations.rigid_frequencies],
        spectrum=figure("spectrum", draw_frequencies, (7.0, 1.5), frequencies=nus),
        table=_modes(vibrations),
        entropies=[
            (f"Entropy of {name}", f"{MEV_PER_EV * s:.4f} meV/K")
            for name, s in ({} if thermo is None else thermo.entropies).items()
        ],
        remarks=[("Note", note) for note in (() if thermo is None else thermo.notes)],
    )


def mode_label(index: int, frequency: float) -> str:
    """Such as ``7: 1595.3 cm⁻¹``, with an i where imaginary."""
    imaginary = "i" if frequency < 0 else ""
    return f"{index}: {abs(frequency):.1f}{imaginary} cm⁻¹"


def summary(vibrations: Vibrations) -> str:
    """One sentence on the kind of stationary point."""
    imaginary = vibrations.num_imaginary
    kinds = {0: "a minimum", 1: "a saddle point of first order"}
    kind = kinds.get(imaginary, f"a saddle point of order {imaginary}")
    if unresolved := int(vibrations.unresolved.sum()):
        modes = plural(unresolved, "mode")
        kind += f", except for {modes} that cannot be distinguished from zero"
    return (
        f"{len(vibrations.frequencies)} modes, {imaginary} imaginary: {kind}. "
        f"Zero-point energy {vibrations.zero_point_energy:.4f} eV {vibrations.per}."
    )


def _modes(vibrations: Vibrations) -> Table:
    columns = (
        vibrations.frequencies,
        vibrations.terahertz,
        vibrations.reduced_masses,
    )
    rows = [
        (str(n), fixed(nu, 1), fixed(thz, 3), float(mass))
        for n, (nu, thz, mass) in enumerate(zip(*columns, strict=True), start=1)
    ]
    head = ("Mode", "Frequency / cm⁻¹", "Frequency / THz", "Reduced mass / amu")
    caption = "Normal modes; imaginary frequencies are negative"
    return Table(caption, head, rows, sortable=True)
