"""A reaction as a page: energies along the path, and the molecule that walks it."""

from functools import partial

from equipot.report.parts.figure import figure
from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.markup import Markup, number, tag
from equipot.report.parts.movie import mode_movie, movie_script, notices, path_movie
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import table
from equipot.report.vibration_page import mode_label
from equipot.report.workflow_plots import draw_energy_profile
from equipot.workflows.reaction import Reaction


def reaction_page(
    reaction: Reaction,
    title: str,
    warnings: tuple[str, ...] = (),
    made: Made = UNKNOWN,
) -> str:
    """A complete HTML document about one transition state.

    Args:
        reaction: To show.
        title: What reacts.
        warnings: Sentences to show at the top.
        made: What made it, for the footer, and what its committee says.
    """
    path, saddle = reaction.path, reaction.saddle
    zero = reaction.start.energy
    labels = [
        f"{length:+.2f} Å √amu, {energy - zero:.3f} eV"
        for length, energy in zip(path.lengths, path.energies, strict=True)
    ]
    profile = figure(
        "profile",
        partial(draw_energy_profile, path=path, zero=zero, end=reaction.end.energy),
        "Energy along the path",
        "Steepest descent in mass-weighted coordinates from the saddle point to both "
        f"sides, {reaction.per}; zero is the minimum at the start. Dashed: the minima "
        "that the ends of the path relax to. The path itself ends "
        f"{1e3 * reaction.gaps[0]:.2g} meV above the first and "
        f"{1e3 * reaction.gaps[1]:.2g} meV above the second.",
        (7.0, 3.2),
    )
    lowest = mode_label(1, float(saddle.frequencies[0]))
    return page(
        f"{title} – transition state",
        tag(
            "header",
            tag("p", "equipot saddle", class_="eyebrow"),
            tag("h1", title),
            tag("p", verdict(reaction), class_="verdict"),
            made.sentences(),
            notices((*reaction.problems, *warnings)),
        ),
        tag(
            "main",
            section(
                "path", "Path", path_movie(path.frames, labels, path.saddle), profile
            ),
            section(
                "mode",
                "Mode over the barrier",
                mode_movie(saddle.atoms, saddle.modes[:1], [lowest]),
            ),
            section("energies", "Energies", _energies(reaction)),
        ),
        made.footer(),
        movie_script(),
    )


def verdict(reaction: Reaction) -> str:
    """One sentence: the barriers, and whether it is a transition state."""
    if reaction.problems:
        return "This is not a verified transition state."
    forward, backward = reaction.barriers
    lowest = abs(reaction.saddle.frequencies[0])
    return (
        f"A transition state: one imaginary mode, {lowest:.0f}i cm⁻¹, and a path down "
        f"to a minimum on either side. Barriers {forward:.3f} eV and {backward:.3f} eV "
        f"{reaction.per}."
    )


def _energies(reaction: Reaction) -> Markup:
    points = {
        "Start": reaction.start,
        "Saddle": reaction.saddle,
        "End": reaction.end,
    }
    zero = reaction.start.energy
    zero_point = zero + reaction.start.zero_point_energy
    rows = [
        (
            name,
            number(point.energy - zero),
            number(point.energy + point.zero_point_energy - zero_point),
            str(point.num_imaginary),
            number(float(point.frequencies[0])),
            number(point.max_force),
        )
        for name, point in points.items()
    ]
    head = (
        "Point",
        "Energy / eV",
        "With zero point / eV",
        "Imaginary",
        "Lowest / cm⁻¹",
        "Force / eV/Å",
    )
    return table(
        f"Energies above the start, {reaction.per}", head, rows, sortable=False
    )
