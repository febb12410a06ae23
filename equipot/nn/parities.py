"""Features of both parities: their order, and which paths lead from one to another."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from equipot.nn.tower import Tower, towers_of
from equipot.tensor_products import Path, TensorProductSpec


class Parities(NamedTuple):
    """Numbers of degrees of natural parity before and after a convolution.

    Natural is the parity (-1)^l of spherical harmonics. Features of both parities are
    listed in the order: those of natural parity by degree; those of the other parity
    from degree 1 on; scalars that change sign under inversion, if there are any.
    """

    before: int
    after: int


class FamilyTower(NamedTuple):
    """Tower of features of one parity, and the paths that its product has."""

    unnatural: bool
    """Whether the parity is the other one than that of harmonics."""
    has_scalars: bool
    """Whether there are features of degree 0; zeros stand for them otherwise."""
    tower: Tower
    ends: tuple[int | None, ...]
    """Position of the result in the list of features, for each path of the product;
    None for a path without weights, since its features or its result do not exist."""


def position(degree: int, natural: int, *, unnatural: bool) -> int:
    """Place of features in a list.

    Args:
        degree: Of the features.
        natural: Number of degrees of natural parity.
        unnatural: Whether the parity is the other one.
    """
    if not unnatural:
        return degree
    return natural - 1 + degree if degree else 2 * natural - 1


def degree_at(place: int, natural: int) -> int:
    """Degree of the features at a place in a list.

    Args:
        place: As `position` returns it.
        natural: Number of degrees of natural parity.
    """
    if place < natural:
        return place
    return (place - natural + 1) % natural


def parity_specs(
    channels_in: Sequence[int],
    channels_out: Sequence[int],
    lmax_filter: int,
    parities: Parities,
) -> tuple[TensorProductSpec, ...]:
    """Tensor product of each tower of features of both parities.

    Paths of even l_in + l_filter + l_out keep the kind of parity, odd ones change it.

    Args:
        channels_in: Channels of the features, in the order of `Parities`.
        channels_out: Channels of the result.
        lmax_filter: Highest degree of edge harmonics.
        parities: Numbers of degrees of natural parity.
    """
    both = len(channels_out) > parities.after
    return tuple(
        TensorProductSpec(
            tower.lmax,
            lmax_filter,
            parities.after - 1,
            symmetry="SO(3)" if unnatural or both else "O(3)",
            accumulate="concat",
        )
        for unnatural, _, tower in _towers(channels_in, parities.before)
    )


def family_towers(
    channels_in: Sequence[int],
    channels_out: Sequence[int],
    specs: Sequence[TensorProductSpec],
    parities: Parities | None,
) -> tuple[FamilyTower, ...]:
    """Towers of a convolution, those of natural parity first.

    Args:
        channels_in: Channels of the features.
        channels_out: Channels of the result.
        specs: Tensor product of each tower.
        parities: Of features of both parities; None if parities are not told apart, so
            that the degree of a path says where it ends.

    Raises:
        ValueError: If the specifications are not those of the towers.
    """
    before, after = parities or (len(channels_in), len(channels_out))
    towers = list(_towers(channels_in, before))
    expected = [(tower.lmax, after - 1, "concat") for *_, tower in towers]
    found = [(spec.lmax_in, spec.lmax_out, spec.accumulate) for spec in specs]
    if expected != found:
        raise ValueError(
            f"features with {list(channels_in)} channels need tensor products of "
            f"lmax_in, lmax_out and accumulate {expected}, got {found}"
        )
    return tuple(
        FamilyTower(
            unnatural,
            has_scalars,
            tower,
            tuple(
                path.l_out
                if parities is None
                else _end(path, unnatural, has_scalars, len(channels_out), parities)
                for path in spec.paths
            ),
        )
        for (unnatural, has_scalars, tower), spec in zip(towers, specs, strict=True)
    )


def _end(
    path: Path, unnatural: bool, has_scalars: bool, count: int, parities: Parities
) -> int | None:
    """Place of the result of a path among a number of features."""
    if path.l_in == 0 and not has_scalars:
        return None
    changes = (path.l_in + path.l_filter + path.l_out) % 2 == 1
    end = position(path.l_out, parities.after, unnatural=unnatural != changes)
    return end if end < count else None


def _towers(
    channels: Sequence[int], natural: int
) -> Iterator[tuple[bool, bool, Tower]]:
    """Towers, whether they are unnatural, and whether they have scalars."""
    for tower in towers_of(channels[:natural]):
        yield False, True, tower
    if len(channels) > natural:
        others = channels[natural : 2 * natural - 1]
        scalars = channels[2 * natural - 1 :]
        for tower in towers_of([*(scalars or others[:1]), *others]):
            yield True, bool(scalars), tower
