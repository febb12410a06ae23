"""Refuses structures with elements that a potential does not know."""

from collections.abc import Iterable, Sequence

from ase.data import chemical_symbols


def check_elements(
    elements: Sequence[int], structures: Iterable[tuple[str, Iterable[int]]]
) -> None:
    """Refuse structures with elements that a potential was not fitted to.

    Args:
        elements: Nuclear charges that the potential knows.
        structures: Source and nuclear charges of each structure.

    Raises:
        ValueError: Naming the first such structure and its unknown elements.
    """
    known = set(elements)
    unknown = {source: set(numbers) - known for source, numbers in structures}
    bad = {source: numbers for source, numbers in unknown.items() if numbers}
    if bad:
        first = next(iter(bad))
        others = (
            f" ({len(bad) - 1} more structures hold unknown elements)"
            if len(bad) > 1
            else ""
        )
        raise ValueError(
            f"{first} holds {_symbols(bad[first])}{others}; the "
            f"potential supports only {_symbols(known)}. Remove such structures, or "
            "take a potential that was fitted to these elements"
        )


def _symbols(numbers: set[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))
