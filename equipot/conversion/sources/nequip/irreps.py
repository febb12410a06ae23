"""Features of a NequIP model, in the order of the file and in that of equipot."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from equipot.models.architectures.nequip_original import Features


class Kind(NamedTuple):
    """Features of one degree and parity."""

    degree: int
    parity: int
    """1 for even, -1 for odd."""


class Coupling(NamedTuple):
    """Path of a convolution."""

    source: Kind
    filter: int
    """Degree of the harmonic, whose parity is (-1)^l."""
    result: Kind


Channels = dict[Kind, int]
"""Numbers of channels, in the order of the file."""

EVEN = Kind(0, 1)
"""Scalars that do not change sign under inversion."""


def channels_of_file(
    embedding: int, hidden: Sequence[int], num_layers: int, *, both: bool
) -> list[Channels]:
    """Features of a file before the first layer, and after each one.

    Args:
        embedding: Length of the vector of an element.
        hidden: Channels of each degree.
        num_layers: Message-passing layers.
        both: Whether there are features of both parities.
    """
    parities = [(1, -1) if both else ((-1) ** degree,) for degree in range(len(hidden))]
    kinds = [Kind(n, p) for n, of_degree in enumerate(parities) for p in of_degree]
    found: list[Channels] = [{EVEN: embedding}]
    for n in range(num_layers):
        wanted = kinds if n < num_layers - 1 else [EVEN]
        ends = {c.result for c in couplings(found[-1], len(hidden) - 1, wanted)}
        made = [kind for kind in wanted if kind in ends]
        scalars = [kind for kind in made if kind.degree == 0]
        gated = [kind for kind in made if kind.degree > 0]
        found.append({kind: hidden[kind.degree] for kind in [*scalars, *gated]})
    return found


def couplings(
    sources: Channels, lmax_filter: int, results: Sequence[Kind]
) -> list[Coupling]:
    """Paths in the order of radial weights: features, then harmonic, then result.

    Args:
        sources: Features.
        lmax_filter: Highest degree of harmonics.
        results: Features that are made.
    """
    return [
        Coupling(source, l2, result)
        for source in sources
        for l2 in range(lmax_filter + 1)
        for l3 in range(abs(source.degree - l2), source.degree + l2 + 1)
        if (result := Kind(l3, source.parity * (-1) ** l2)) in results
    ]


def with_gates(channels: Channels) -> Channels:
    """Features that enter a gate: an even scalar for each channel that is gated."""
    gated = sum(count for kind, count in channels.items() if kind.degree)
    return {**channels, EVEN: channels[EVEN] + gated}


def kinds_of(features: Features) -> list[Kind]:
    """Degrees and parities in the order of equipot."""
    natural = [Kind(n, (-1) ** n) for n in range(len(features.natural))]
    others = [Kind(n + 1, (-1) ** n) for n in range(len(features.others))]
    odd = [Kind(0, -1)] if features.odd_scalars else []
    return [*natural, *others, *odd]


def update_columns(channels: Channels, kept: Sequence[Kind]) -> Iterator[int]:
    """Columns of the even scalars of a file in the order of equipot.

    Args:
        channels: Result of the gate in the file.
        kept: Features that equipot has, in its order.
    """
    yield from range(channels[EVEN])
    start, places = channels[EVEN], {}
    for kind, count in channels.items():
        if kind.degree:
            places[kind] = range(start, start + count)
            start += count
    for kind in kept:
        if kind.degree:
            yield from places[kind]
