"""A reaction as a page: energies along the path, and the molecule moving along it."""

from equipot.report.parts.made import UNKNOWN, Made
from equipot.report.parts.movie import mode_movie, path_movie
from equipot.report.parts.numbers import minus
from equipot.report.parts.page import Table, fixed, render
from equipot.report.parts.svg import figure
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
        made: Its origin goes to the footer, the spread of its committee to the top.
    """
    path, saddle, zero = reaction.path, reaction.saddle, reaction.start.energy
    labels = [
        minus(f"{length:+.2f} Å √amu, {energy - zero:z.3f} eV")
        for length, energy in zip(path.lengths, path.energies, strict=True)
    ]
    return render(
        "reaction",
        command="saddle",
        heading=title,
        summary=verdict(reaction),
        warnings=(*reaction.problems, *warnings),
        **made.header,
        path=path_movie(path.frames, labels, path.saddle),
        mode=mode_movie(
            saddle.atoms,
            saddle.modes[:1],
            [mode_label(1, float(saddle.frequencies[0]))],
        ),
        profile=figure(
            "profile",
            draw_energy_profile,
            (7.0, 3.2),
            path=path,
            zero=zero,
            end=reaction.end.energy,
        ),
        reaction=reaction,
        table=_energies(reaction),
    )


def verdict(reaction: Reaction) -> str:
    """One sentence: the barriers, and whether it is a transition state."""
    if reaction.problems:
        return "Not a verified transition state: see the warnings."
    forward, backward = reaction.barriers
    lowest = abs(reaction.saddle.frequencies[0])
    return (
        f"Transition state: one imaginary mode, {lowest:.0f}i cm⁻¹, and a path to a "
        f"minimum on both sides. Barriers {forward:.3f} eV (forward) and "
        f"{backward:.3f} eV (backward) {reaction.per}."
    )


def _energies(reaction: Reaction) -> Table:
    start = reaction.start
    points = {"Start": start, "Saddle point": reaction.saddle, "End": reaction.end}
    rows = [
        (
            name,
            fixed(point.energy - start.energy, 3),
            fixed(
                (point.energy + point.zero_point_energy)
                - (start.energy + start.zero_point_energy),
                3,
            ),
            str(point.num_imaginary),
            float(point.frequencies[0]),
            point.max_force,
        )
        for name, point in points.items()
    ]
    head = ("Point", "Energy / eV", "With ZPE / eV", "Imaginary modes")
    return Table(
        f"Energies relative to the start, {reaction.per}",
        (*head, "Lowest frequency / cm⁻¹", "Largest force / (eV/Å)"),
        rows,
    )
