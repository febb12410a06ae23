"""Reject structures with elements that a potential does not support."""

from collections.abc import Iterable, Sequence

from ase.data import chemical_symbols


def check_elements(
    elements: Sequence[int], structures: Iterable[tuple[str, Iterable[int]]]
) -> None:
    """Reject structures with elements that a potential was not fitted to.

    Args:
        elements: Atomic numbers that the potential supports.
        structures: Source and atomic numbers of each structure.

    Raises:
        ValueError: If there is such a structure; names the first one and its elements.
    """
    known = set(elements)
    unknown = {source: set(numbers) - known for source, numbers in structures}
    bad = {source: numbers for source, numbers in unknown.items() if numbers}
    if bad:
        first = next(iter(bad))
        others = (
            f" ({len(bad) - 1} more structures have unsupported elements)"
            if len(bad) > 1
            else ""
        )
        raise ValueError(
            f"{first} contains {_symbols(bad[first])}{others}; the "
            f"potential supports only {_symbols(known)}. Remove such structures, or "
            "use a potential that was fitted to these elements"
        )


def _symbols(numbers: set[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))
