"""Sentences that follow from the numbers: equivalence, expressivity, and speed."""

from collections.abc import Iterator, Sequence

from equipot.bench.families import COMPILED, FAMILIES, Family
from equipot.bench.growth import Growth, growths
from equipot.bench.measure import Ability, Cost, Result

STEP = "forward + backward"
"""What speed is judged by."""


def conclusions(result: Result) -> list[str]:
    """What the numbers say; every sentence is computed, none is taken for granted."""
    return [
        *_equivalences(result.abilities),
        *_expressivities(result),
        *_trades(result),
        *_theory_and_practice(result),
    ]


def _equivalences(abilities: Sequence[Ability]) -> Iterator[str]:
    """Which backends compute the same function."""
    for family in dict.fromkeys(a.family for a in abilities if a.backends):
        own = [a for a in abilities if a.family == family]
        groups = dict.fromkeys(a.backends for a in own)
        if len(own) > len({a.lmax for a in own}):
            names = " is not ".join(" = ".join(names) for names in groups)
            yield f"{family}: backends DISAGREE, {names}."
            continue
        for backends in groups:
            if len(backends) > 1:
                same = [a for a in own if a.backends == backends]
                worst = max(a.difference for a in same)
                yield (
                    f"{family}: {' = '.join(backends)} to lmax {same[-1].lmax}; "
                    f"coefficients differ by at most {worst:.0e} of the largest."
                )


def _expressivities(result: Result) -> Iterator[str]:
    """What each family spans at the highest degree, beside the first one."""
    lmax = max(result.settings.lmax)
    own = [a for a in result.abilities if a.lmax == lmax]
    first = own[0]
    for ability in own:
        found = ability.expressivity
        total = len(found.interacting) + len(found.impossible)
        sentence = (
            f"{ability.family}, lmax {lmax}: {len(found.interacting)} of {total} "
            f"couplings can occur, {found.single} of them independently with one "
            "channel"
        )
        if found.mixed > found.single:
            sentence += f" and {found.mixed} with {found.channels} mixed ones"
        if ability.family != first.family:
            sentence += f", {_relation(ability, first)}"
        yield sentence + "."


def _relation(ability: Ability, other: Ability) -> str:
    """How the set of maps of one family compares with that of another."""
    own = set(ability.expressivity.interacting)
    theirs = set(other.expressivity.interacting)
    if ability.expressivity.mixed < len(own):
        return f"not all of them even with {ability.expressivity.channels} channels"
    if own == theirs:
        return f"which makes the same maps as {other.family}"
    if own < theirs:
        return f"which leaves out {len(theirs - own)} of {other.family}"
    if own > theirs:
        return f"which makes all of {other.family} and {len(own - theirs)} more"
    return f"which makes {len(own - theirs)} others than {other.family}"


def _trades(result: Result) -> Iterator[str]:
    """What weights per degree cost in expressivity, and what they gain in speed."""
    lmax = max(result.settings.lmax)
    free = {a.family: a.expressivity.single for a in result.abilities if a.lmax == lmax}
    for channels in result.settings.channels:
        own = [c for c in result.costs if (c.lmax, c.channels) == (lmax, channels)]
        plain = [c for c in own if c.backend not in COMPILED]
        measured = {c.family for c in own}
        for poor, rich in _counterparts():
            if not {poor.title, rich.title} <= measured:
                continue
            for costs, who in ((own, "the fastest"), (plain, "in plain PyTorch")):
                if len(costs) == len(own) and who != "the fastest":
                    continue  # nothing is compiled
                yield _trade(
                    _fastest(costs, poor), _fastest(costs, rich), free, who, channels
                )


def _trade(
    poor: Cost, rich: Cost, free: dict[str, int], who: str, channels: int
) -> str:
    ratio = _time(rich) / _time(poor)
    each = ratio * free[poor.family] / free[rich.family]
    return (
        f"{poor.family} instead of {rich.family}, lmax {poor.lmax}, {channels} "
        f"channels, {STEP}, {who} ({poor.backend}, {rich.backend}): "
        f"{_faster(ratio)} for {free[poor.family]} instead of {free[rich.family]} "
        f"independent couplings, {_faster(each)} per coupling."
    )


def _counterparts() -> Iterator[tuple[Family, Family]]:
    """Families with weights per degree, each with that of weights per path."""
    for poor in FAMILIES:
        for rich in FAMILIES:
            same = (poor.symmetry, poor.accumulate) == (rich.symmetry, rich.accumulate)
            if same and (poor.weighting, rich.weighting) == ("per_degree", "per_path"):
                yield poor, rich


def _theory_and_practice(result: Result) -> Iterator[str]:
    """Whether the algorithm that wins in the limit, or on paper, is the fastest."""
    for channels in result.settings.channels:
        costs = [c for c in result.costs if c.channels == channels]
        laws = growths(costs)
        for family in dict.fromkeys(law.family for law in laws):
            own = [g for g in laws if g.family == family and g.limit is not None]
            if len(own) > 1:
                last = [c for c in costs if c.family == family]
                yield f"{family}, {channels} channels: {_verdict(own, last)}."


def _verdict(laws: Sequence[Growth], costs: Sequence[Cost]) -> str:
    lmax = max(c.lmax for c in costs)
    names = {law.backend for law in laws}
    own = [c for c in costs if c.lmax == lmax and c.backend in names]
    smallest = min(law.limit for law in laws if law.limit is not None)
    winners = [law.backend for law in laws if law.limit == smallest]
    counts = {c.backend: c.operations.count for c in own if c.operations is not None}
    least = min(counts, key=lambda name: counts[name])
    fastest = min(own, key=_time)
    law = next(law for law in laws if law.backend == fastest.backend)
    agree = fastest.backend in winners and fastest.backend == least
    return (
        f"in the limit lmax^{smallest} is best ({', '.join(winners)}), at lmax "
        f"{lmax} {least} has the fewest operations, and {fastest.backend} is fastest, "
        f"growing as lmax^{law.times[STEP]:.1f} where its operations grow as "
        f"lmax^{law.operations or 0:.1f} and in the limit as lmax^{law.limit}: "
        f"{'theory and practice agree' if agree else 'theory does not tell the winner'}"
    )


def _fastest(costs: Sequence[Cost], family: Family) -> Cost:
    return min((c for c in costs if c.family == family.title), key=_time)


def _time(cost: Cost) -> float:
    return cost.times[STEP].median


def _faster(ratio: float) -> str:
    """A ratio of speeds in words."""
    return f"{ratio:.2g}x faster" if ratio >= 1 else f"{1 / ratio:.2g}x slower"
