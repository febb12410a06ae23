"""Normal modes and thermochemistry as a page in which the molecule moves."""

from functools import partial

from equipot.report.parts.figure import figure
from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.markup import Markup, number, tag
from equipot.report.parts.movie import mode_movie, movie_script, notices
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import facts, table
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
        made: What made it, for the footer, and what its committee says.
    """
    labels = [mode_label(n, nu) for n, nu in enumerate(vibrations.frequencies, start=1)]
    modes = (
        section(
            "modes", "Modes", mode_movie(vibrations.atoms, vibrations.modes, labels)
        )
        if labels
        else Markup("")
    )
    return page(
        f"{title} – vibrations",
        tag(
            "header",
            tag("p", "equipot vibrations", class_="eyebrow"),
            tag("h1", title),
            tag("p", summary(vibrations), class_="verdict"),
            made.sentences(),
            notices(warnings),
        ),
        tag(
            "main",
            modes,
            section(
                "frequencies", "Frequencies", _spectrum(vibrations), _modes(vibrations)
            ),
            section("thermochemistry", "Thermochemistry", _thermal(thermochemistry)),
        ),
        made.footer(),
        movie_script(),
    )


def mode_label(index: int, frequency: float) -> str:
    """Such as ``7: 1595.3 cm-1``, with an i where imaginary."""
    imaginary = "i" if frequency < 0 else ""
    return f"{index}: {abs(frequency):.1f}{imaginary} cm⁻¹"


def summary(vibrations: Vibrations) -> str:
    """One sentence on what kind of point this is."""
    kinds = {0: "a minimum", 1: "a saddle point of first order"}
    number_imaginary = vibrations.num_imaginary
    order = f"a saddle point of order {number_imaginary}"
    kind = kinds.get(number_imaginary, order)
    if unresolved := int(vibrations.unresolved.sum()):
        plural = "s" if unresolved > 1 else ""
        kind += f", but for {unresolved} mode{plural} that cannot be told from zero"
    return (
        f"{len(vibrations.frequencies)} modes, {number_imaginary} imaginary: {kind}. "
        f"Zero-point energy {vibrations.zero_point_energy:.4f} eV {vibrations.per}."
    )


def _spectrum(vibrations: Vibrations) -> Markup:
    frequencies = vibrations.frequencies
    return figure(
        "frequencies",
        partial(draw_frequencies, frequencies=frequencies),
        "Frequencies",
        "One line for each mode, in the harmonic approximation.",
        (7.0, 1.5),
    )


def _modes(vibrations: Vibrations) -> Markup:
    rows = [
        (str(n), _decimals(nu, 1), _decimals(thz, 3), number(mass))
        for n, (nu, thz, mass) in enumerate(
            zip(
                vibrations.frequencies,
                vibrations.terahertz,
                vibrations.reduced_masses,
                strict=True,
            ),
            start=1,
        )
    ]
    isotopes = "; ".join(
        f"{name}: {', '.join(str(n) for n in places)}"
        for name, places in vibrations.isotopes.items()
    )
    rigid = ", ".join(f"{nu:.2g}" for nu in vibrations.rigid_frequencies)
    return tag(
        "div",
        table(
            "Modes; imaginary frequencies are negative",
            ("Mode", "cm⁻¹", "THz", "Reduced mass / amu"),
            rows,
        ),
        tag(
            "p",
            f"Largest force {vibrations.max_force:.2g} eV/Å. Translations and "
            f"rotations before projection: {rigid or 'none'} cm⁻¹; they are zero for "
            "an exact Hessian at an exact stationary point. "
            + (
                f"Isotopes, by atoms counted from 0: {isotopes}."
                if isotopes
                else "Masses are the mean ones of the elements."
            ),
            class_="note",
        ),
    )


def _decimals(value: float, decimals: int) -> Markup:
    text = f"{value:.{decimals}f}".replace("-", "−")
    return tag("data", text, value=repr(float(value)))


def _thermal(values: Thermochemistry | None) -> Markup:
    if values is None:
        return tag("p", "Not defined here: see the warnings above.", class_="note")
    entropies = [
        (f"Entropy of {name}", f"{MEV_PER_EV * s:.4f} meV/K")
        for name, s in values.entropies.items()
    ]
    pressure = (
        [] if values.pressure is None else [("Pressure", f"{values.pressure:g} Pa")]
    )
    rotations = (
        []
        if values.symmetry_number is None
        else [("Symmetry number", str(values.symmetry_number))]
    )
    return facts(
        [
            ("Model", values.model),
            ("Energies, entropies", values.per),
            ("Temperature", f"{values.temperature:g} K"),
            *pressure,
            *rotations,
            ("Energy", f"{values.energy:.6f} eV"),
            ("Zero point", f"{values.zero_point_energy:.6f} eV"),
            ("Internal", f"{values.internal_energy:.6f} eV"),
            ("Enthalpy", f"{values.enthalpy:.6f} eV"),
            *entropies,
            ("Free energy", f"{values.free_energy:.6f} eV"),
            *(("Note", note) for note in values.notes),
        ]
    )
