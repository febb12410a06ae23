"""The findings as a page of tables and plots."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from equipot.bench.conclusions import STEP, conclusions
from equipot.bench.console import names_of
from equipot.bench.families import FAMILIES
from equipot.bench.growth import growths
from equipot.bench.measure import Ability, Cost, Result
from equipot.bench.plots import draw_against_lmax
from equipot.bench.steps import STEPS
from equipot.report.parts.figure import figure, grid
from equipot.report.parts.markup import Markup, count, join, number, tag
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import facts, table
from equipot.storage.atomic_file import write_atomically

Curves = Mapping[str, Mapping[int, float]]


def write_page(path: Path, result: Result, about: Mapping[str, str]) -> None:
    """Write the page.

    Args:
        path: HTML file.
        result: Findings.
        about: Facts on the machine and the settings, as text by name.
    """
    write_atomically(path, render_page(result, about).encode())


def render_page(result: Result, about: Mapping[str, str]) -> str:
    """The page, without references to anything outside of it."""
    costs = (
        section(
            f"cost-{channels}",
            f"What they cost, {channels} channels",
            grid(_cost_figures(result, channels)),
            _costs(result, channels),
            _growths(result, channels),
        )
        for channels in result.settings.channels
    )
    return page(
        "Tensor products – equipot",
        tag(
            "header",
            tag("p", "equipot bench tensor-products", class_="eyebrow"),
            tag("h1", "Tensor products"),
        ),
        tag(
            "main",
            section(
                "conclusions",
                "Conclusions",
                tag("ul", *(tag("li", text) for text in conclusions(result))),
            ),
            section("ability", "What they can become", _abilities(result)),
            *costs,
            section("provenance", "Measured with", facts(list(about.items()))),
        ),
    )


def _abilities(result: Result) -> Markup:
    note = tag(
        "p",
        "Expressivity is the dimension of the set of equivariant bilinear maps that "
        "linear layers before and after make of a product; interactability is which "
        "couplings l1 x l2 → l3 can be other than zero (Xie et al., The Price of "
        "Freedom, arXiv 2506.13523). Both were found by applying the products. Their "
        "second operand is the harmonics of an edge, which all channels share.",
        class_="note",
    )
    head = ("Product", "Backends", "lmax", "Possible", "Impossible", "Free, 1 channel")
    rows = [_ability_row(a) for a in result.abilities]
    lists = (
        (f"{a.family}, lmax {a.lmax}", names_of(a.expressivity.impossible))
        for a in result.abilities
        if a.expressivity.impossible
    )
    return join(
        table(
            "Couplings by product",
            (*head, "Free, mixed channels", "Channels"),
            rows,
            text_columns=2,
        ),
        note,
        grid(_expressivity_figures(result.abilities)),
        tag(
            "details",
            tag("summary", "Couplings that cannot occur"),
            facts([(name, tag("code", text)) for name, text in lists]),
        ),
    )


def _ability_row(ability: Ability) -> Sequence[str]:
    found = ability.expressivity
    return (
        ability.family,
        ", ".join(ability.backends) or "literature",
        count(ability.lmax),
        count(len(found.interacting)),
        count(len(found.impossible)),
        count(found.single),
        count(found.mixed),
        count(found.channels),
    )


def _expressivity_figures(abilities: Sequence[Ability]) -> Iterator[Markup]:
    single: dict[str, dict[int, float]] = {}
    mixed: dict[str, dict[int, float]] = {}
    for a in abilities:
        single.setdefault(a.family, {})[a.lmax] = float(a.expressivity.single)
        mixed.setdefault(a.family, {})[a.lmax] = float(a.expressivity.mixed)
    title, unit = "Independent couplings", "couplings"
    yield _figure("expressivity-single", title, "Of one channel.", single, unit)
    caption = "Of as many mixed channels as it takes."
    yield _figure("expressivity-mixed", f"{title}, mixed", caption, mixed, unit)


def _cost_figures(result: Result, channels: int) -> Iterator[Markup]:
    costs = [c for c in result.costs if c.channels == channels]
    scale = 1e6 / result.settings.edges
    for step in STEPS:
        for family in dict.fromkeys(c.family for c in costs):
            own = [c for c in costs if c.family == family]
            curves: dict[str, dict[int, float]] = {}
            for c in own:
                curves.setdefault(c.backend, {})[c.lmax] = scale * c.times[step].median
            yield _figure(
                f"time-{channels}-{_slug(step)}-{_slug(family)}",
                f"{family}: {step}",
                "Median time of each backend.",
                curves,
                "µs per edge",
            )
    first = [c for c in costs if c.family == FAMILIES[0].title]
    yield _figure(
        f"operations-{channels}",
        "Operations per edge and channel",
        "Counted for the algorithm of each backend.",
        _by_algorithm(costs),
        "operations",
        guides=(3, 5),
    )
    yield _figure(
        f"moved-{channels}",
        f"{FAMILIES[0].title}: bytes moved, forward",
        "Read and written by the operations of PyTorch, per edge and channel.",
        _by_backend(first, lambda c: c.moved),
        "bytes",
    )
    yield _figure(
        f"memory-{channels}",
        f"{FAMILIES[0].title}: peak memory, double backward",
        "Beyond the operands.",
        _by_backend(first, lambda c: c.memory["double backward"] / 1e6),
        "MB",
    )
    yield _figure(
        f"per-coupling-{channels}",
        f"Time per independent coupling, {STEP}",
        "Of the fastest backend of each product, one channel's couplings.",
        _per_coupling(result, costs, scale),
        "µs per edge",
    )


def _per_coupling(result: Result, costs: Sequence[Cost], scale: float) -> Curves:
    """Time over expressivity, the measure of The Price of Freedom."""
    out: dict[str, dict[int, float]] = {}
    for a in result.abilities:
        times = [
            c.times[STEP].median
            for c in costs
            if (c.family, c.lmax) == (a.family, a.lmax) and c.backend in a.backends
        ]
        if not times:
            continue
        own = out.setdefault(a.family, {})
        value = scale * min(times) / a.expressivity.single
        own[a.lmax] = min(value, own.get(a.lmax, value))
    return out


def _by_backend(costs: Sequence[Cost], value: Callable[[Cost], float]) -> Curves:
    out: dict[str, dict[int, float]] = {}
    for cost in costs:
        out.setdefault(cost.backend, {})[cost.lmax] = value(cost)
    return out


def _by_algorithm(costs: Sequence[Cost]) -> Curves:
    """Operations of the algorithms for the products that reach the even couplings."""
    families = [
        family.title
        for family in FAMILIES
        if (family.symmetry, family.accumulate) == ("O(3)", "sum")
    ]
    out: dict[str, dict[int, float]] = {}
    for cost in costs:
        if cost.operations is not None and cost.family in families:
            own = out.setdefault(f"{cost.family}: {cost.backend}", {})
            own[cost.lmax] = float(cost.operations.count)
    return out


def _figure(
    name: str,
    title: str,
    caption: str,
    curves: Curves,
    unit: str,
    guides: Sequence[int] = (),
) -> Markup:
    draw = partial(draw_against_lmax, curves=curves, unit=unit, guides=guides)
    return figure(name, draw, title, caption)


def _costs(result: Result, channels: int) -> Markup:
    scale = 1e6 / result.settings.edges
    head = ("Product", "Backend", "lmax", "Error, float64", "Error, as timed")
    work = ("Operations", "In matrices", "Bytes moved")
    rows = [
        (
            cost.family,
            cost.backend,
            count(cost.lmax),
            number(cost.error),
            number(cost.rounding),
            number(None if cost.operations is None else float(cost.operations.count)),
            number(cost.executed or None),
            number(cost.moved),
            *(
                cell
                for step in STEPS
                for cell in (
                    number(scale * cost.times[step].median),
                    number(cost.memory[step] / 1e6),
                )
            ),
        )
        for cost in result.costs
        if cost.channels == channels
    ]
    return table(
        "Errors relative to the reference; work per edge and channel of the forward "
        "product: operations of the algorithm, those that PyTorch counts in products "
        "of matrices, and bytes; times in µs per edge and peak memory in MB",
        (*head, *work, *(("Time", "Memory") * len(STEPS))),
        rows,
        groups=[("", 3), ("Exactness", 2), ("Work", 3), *((s, 2) for s in STEPS)],
        text_columns=2,
    )


def _growths(result: Result, channels: int) -> Markup:
    """Exponents on paper and as measured."""
    laws = growths([c for c in result.costs if c.channels == channels])
    if not laws:
        return join()
    rows = [
        (
            law.family,
            law.backend,
            number(None if law.limit is None else float(law.limit)),
            number(law.operations),
            *(number(law.times[step]) for step in STEPS),
        )
        for law in laws
    ]
    degrees = result.settings.lmax
    return table(
        f"Exponents of lmax from {degrees[0]} to {degrees[-1]}; in the limit, those of "
        "the operations of the algorithm",
        ("Product", "Backend", "Operations, limit", "Operations", *STEPS),
        rows,
        text_columns=2,
    )


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
