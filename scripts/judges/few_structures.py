"""pytest plug-in that restricts ml-peg's curves to the elements of one model.

ml-peg scans pairs and crystals of all elements, hours of errors for a model that knows
ten. `JUDGED_ELEMENTS` names those to scan; there are fewer crystals of each, too. Every
curve keeps its range and its number of points.
"""

import os

RANDOM_CRYSTALS = [[1, 4, 1], [2, 3, 1], [3, 3, 1]]
"""Elements, compositions, and crystals of each; ml-peg has hundreds."""
PROTOTYPES = ["bcc", "fcc", "diamond"]
"""Of five."""


def pytest_collection_modifyitems(items: list) -> None:
    """Replace the lists of elements and structures in ml-peg's modules."""
    for module in {item.module for item in items}:
        if hasattr(module, "ELEMENTS"):
            module.ELEMENTS = os.environ["JUDGED_ELEMENTS"].split()
        if hasattr(module, "RANDOM_STRUCTURES"):
            module.RANDOM_STRUCTURES = RANDOM_CRYSTALS
            module.PROTOTYPES = PROTOTYPES
