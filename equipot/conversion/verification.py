"""A verification of seconds at the end of a conversion: symmetries and derivatives."""

from dataclasses import replace

from equipot.conversion.converted import Converted
from equipot.models.differentiable import constant_weights
from equipot.models.potential import Potential
from equipot.verify.backend import make_probes
from equipot.verify.consistency import consistency_of_each
from equipot.verify.invariance import invariance_checks
from equipot.verify.result import Check
from equipot.verify.structures import generate_structures

MAX_ELEMENTS = 4
"""Elements of the structures: the first, the last, and some between."""


def short_checks(potential: Potential, converted: Converted) -> list[Check]:
    """Translations, rotations, permutations, images, and finite differences.

    Args:
        potential: Converted, in float64.
        converted: With the statistics.

    Returns:
        A check for each, on eight atoms in a crystal and as a cluster. `equipot verify`
        has many more.
    """
    elements = converted.statistics.elements
    step = max(1, (len(elements) - 1) // (MAX_ELEMENTS - 1))
    some = replace(converted.statistics, elements=elements[::step][:MAX_ELEMENTS])
    structures = generate_structures(some)
    mirrors = potential.backbone.symmetry == "O(3)"
    with constant_weights(potential):
        return [
            *invariance_checks(
                potential, structures, reflections=mirrors, lightly=True
            ),
            *consistency_of_each(
                potential,
                make_probes(potential, structures, 1, 0),
                abs(converted.statistics.energy_scale),
            ),
        ]
