"""A verification as a page: verdict, every check, and what was measured."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from equipot.checkpoint.verification import ModelReport
from equipot.report import verification_plots as plots
from equipot.report.parts.figure import figure, grid
from equipot.report.parts.html import model_name
from equipot.report.parts.markup import Markup, join, number, shown, tag
from equipot.report.parts.movie import notices
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.svg import SERIES
from equipot.report.parts.tables import facts, table
from equipot.units import MEV_PER_EV
from equipot.verify import BackendReport, Check
from equipot.verify.cutoff_scan import CutoffScan
from equipot.verify.dimers import CLOSEST, DimerScan
from equipot.verify.dynamics import VERLET_ORDER
from equipot.verify.meaning import MEANING
from equipot.verify.scans import pair_label
from equipot.verify.table import check_label

SMALLEST = 1e-9
"""Share of what is allowed that has a bar of no length; bars are logarithmic."""


def verification_page(certificate: ModelReport) -> str:
    """A complete HTML document about what was verified.

    Args:
        certificate: To show.

    Returns:
        The page, without references to anything outside of it.
    """
    name = model_name(certificate.model) if certificate.model else "potential"
    return page(
        f"{name} – equipot verify",
        _header(certificate, name),
        tag(
            "main",
            _cards(certificate),
            section("potential", "The potential itself", *_potential(certificate)),
            section("dimers", "Pairs of atoms", *_dimers(certificate)),
            section("cutoff", "Through the cutoff", *_cutoff(certificate)),
            section("dynamics", "Energy in dynamics", *_dynamics(certificate)),
            section("backends", "Backends", *_backends(certificate)),
            section("provenance", "What it holds for", *_provenance(certificate)),
        ),
        tag("footer", tag("p", f"Written by equipot {_version(certificate)}.")),
    )


def verdict(certificate: ModelReport) -> str:
    """One sentence."""
    if certificate.passed:
        return f"All {certificate.count} checks passed."
    failed = len(certificate.failures)
    what = "check" if failed == 1 else "checks"
    return f"FAILED: {failed} of {certificate.count} {what} did not pass."


def _header(certificate: ModelReport, name: str) -> Markup:
    around = certificate.environment
    where = around["gpu"] if certificate.device != "cpu" else around["processor"]
    subtitle = [certificate.model, certificate.structures, where, _date(certificate)]
    return tag(
        "header",
        tag("p", "equipot verify", class_="eyebrow"),
        tag("h1", name),
        tag("p", verdict(certificate), class_="verdict"),
        tag("p", " · ".join(str(s) for s in subtitle if s), class_="subtitle"),
        notices(certificate.failures),
        *(
            tag("p", note[0].upper() + note[1:] + ".", class_="note")
            for note in certificate.potential.notes
        ),
    )


def _cards(certificate: ModelReport) -> Markup:
    """The verdict in numbers."""
    checks = certificate.potential.checks
    passed = sum(check.passed for check in checks)
    agree = sum(v.passed for v in certificate.backends)
    names = ", ".join(v.backend for v in certificate.backends)
    everything = [*checks, *(c for v in certificate.backends for c in v.checks)]
    tightest = max(everything, key=_share)
    drift = certificate.potential.curves.drift
    return tag(
        "div",
        _card(
            "Potential",
            f"{passed} / {len(checks)}",
            "checks passed",
            f"{certificate.potential.atoms} atoms",
        ),
        _card(
            "Backends",
            f"{agree} / {len(certificate.backends)}",
            "passed",
            names,
        ),
        _card(
            "Closest to its limit" if tightest.passed else "Furthest beyond its limit",
            _shown_share(tightest),
            "of what is allowed",
            f"{tightest.quantity} against {tightest.name}",
        ),
        _card(
            "Energy in dynamics",
            join("dt", tag("sup", shown(drift.exponent))),
            f"is how its error falls; {VERLET_ORDER:g} is exact",
            f"at most {shown(MEV_PER_EV * drift.largest[0])} meV in "
            f"{drift.times[0][-1]:g} fs at {drift.time_steps[0]:g} fs",
        ),
        class_="cards",
    )


def _card(title: str, value: str, unit: str, remark: str) -> Markup:
    return tag(
        "div",
        tag("h3", title),
        tag("p", value, class_="figure"),
        tag("p", unit, class_="unit"),
        tag("p", remark),
        class_="card",
    )


def _potential(certificate: ModelReport) -> Iterator[Markup]:
    checks = certificate.potential.checks
    reasons = list(dict.fromkeys(check.reason for check in checks))
    rows = [
        (
            tag(
                "span",
                check_label(check, checks),
                tag("span", MEANING[check.name], class_="formula"),
                class_="check",
            ),
            *_numbers(check, tag("sup", str(1 + reasons.index(check.reason)))),
        )
        for check in checks
    ]
    yield table("Every check", ("Must agree with", *NUMBERS), rows, sortable=False)
    yield tag(
        "p",
        "Relative to what, and why so much is allowed. Bars are logarithmic, from a "
        f"share of {SMALLEST:g} on.",
        class_="note",
    )
    yield tag(
        "ol",
        *(tag("li", reason[0].upper() + reason[1:] + ".") for reason in reasons),
        class_="note",
    )


NUMBERS = ("Result", "Measured", "Relative", "Allowed", "Share used")


def _numbers(check: Check, remark: str = "") -> tuple[str, ...]:
    d = check.difference
    width = 100 * (1 - math.log10(max(_share(check), SMALLEST)) / math.log10(SMALLEST))
    color = "" if check.passed else ";background:var(--warn)"
    bar = tag("span", style=f"width:{min(width, 100.0):.1f}%{color}")
    return (
        "passed" if check.passed else tag("span", "FAILED", class_="warn"),
        join(number(d.max_abs), f" {check.unit}".rstrip()),
        number(d.relative),
        join(number(d.tolerance), remark),
        join(_shown_share(check), tag("div", bar, class_="meter", aria_hidden="true")),
    )


def _share(check: Check) -> float:
    """Measured over allowed: more than 1 is a failure; of nothing allowed, infinite."""
    d = check.difference
    if check.passed:
        return d.relative / d.tolerance if d.tolerance > 0 else 0.0
    share = d.relative / d.tolerance if d.tolerance > 0 else math.inf
    return math.inf if math.isnan(share) else share


def _shown_share(check: Check) -> str:
    share = _share(check)
    if share == 0:
        return "none"
    if share <= 1:
        return f"{shown(100 * share)} %"
    if math.isinf(share):
        return "beyond"
    return f"{share:.1f} ×" if share < 100 else f"{share:.0e} ×".replace("e+0", "e")


def _dimers(certificate: ModelReport) -> Iterator[Markup]:
    scans = certificate.potential.curves.dimers
    cutoff = certificate.potential.curves.cutoff.cutoff
    yield grid(
        figure(
            f"dimers-{n}",
            partial(plots.draw_dimers, scans=group, cutoff=cutoff),
            ", ".join(pair_label(scan.pair) for scan in group),
            _limits(group),
        )
        for n, group in enumerate(_groups(scans))
    )
    yield tag(
        "p",
        f"Energy of two atoms alone, from {CLOSEST:g} Å to the cutoff, relative to the "
        f"atoms apart; the axis is logarithmic beyond ±{plots.LINEAR:g} eV. Full "
        "lines: where the potential is used. A dot ends the domain; dashed beyond it, "
        "where calculators and dynamics refuse to go. A line that falls towards short "
        "distances within the domain is a hole that atoms fall into. Two atoms alone "
        "are rarely in the training set: wells need not be those of real molecules.",
        class_="note",
    )


def _limits(scans: Sequence[DimerScan]) -> str:
    """Where the domains of some pairs end."""
    known = [f"{pair_label(s.pair)} {s.limit:.2f} Å" for s in scans if s.limit]
    if not known:
        return "Used at every distance."
    return f"Refused below {', '.join(known)}."


def _groups(scans: Sequence[DimerScan]) -> Iterator[list[DimerScan]]:
    """Pairs with the same first element, as many as there are colors."""
    first = dict.fromkeys(scan.pair[0] for scan in scans)
    for element in first:
        own = [scan for scan in scans if scan.pair[0] == element]
        for start in range(0, len(own), len(SERIES)):
            yield own[start : start + len(SERIES)]


def _cutoff(certificate: ModelReport) -> Iterator[Markup]:
    scan: CutoffScan = certificate.potential.curves.cutoff
    curve = scan.curve
    panels = {
        "energy": (
            "energy − free / meV",
            scan.curve.energies - scan.curve.energies[-1],
        ),
        "force": ("force / (meV/Å)", curve.pulls),
        "curvature": ("curvature / (meV/Å$^2$)", scan.curvatures),
    }
    yield grid(
        figure(
            f"cutoff-{name}",
            partial(
                plots.draw_cutoff, scan=scan, values=MEV_PER_EV * values, label=label
            ),
            name.capitalize(),
            f"{pair_label(scan.pair)}; dashed: the cutoff, {scan.cutoff:g} Å.",
        )
        for name, (label, values) in panels.items()
    )
    yield tag(
        "p",
        "An atom leaves the reach of another that has a neighbor already: all three "
        "lines must come to rest without a step. The pair is the one that jumps most.",
        class_="note",
    )


def _dynamics(certificate: ModelReport) -> Iterator[Markup]:
    drift = certificate.potential.curves.drift
    coarse, fine = (MEV_PER_EV * error for error in drift.largest)
    ratio = coarse / fine if fine > 0 else float("nan")
    yield grid(
        [
            figure(
                "drift",
                partial(plots.draw_drift, drift=drift),
                "Error of the total energy",
                f"{drift.atoms} atoms, NVE from 300 K. At most {coarse:.3g} and "
                f"{fine:.3g} meV: a ratio of {ratio:.2f}, where 4 is exact.",
            ),
            figure(
                "scaled-drift",
                partial(plots.draw_scaled_drift, drift=drift),
                "Divided by the square of the time step",
                "Both lines coincide where forces are the gradient of the energy and "
                "the time step is short enough.",
            ),
        ]
    )


def _backends(certificate: ModelReport) -> Iterator[Markup]:
    for v in certificate.backends:
        yield table(
            f"{v.backend}, {_role(v)}, on {v.device}, {v.seconds:.1f} s",
            ("Quantity", "Compared with", *NUMBERS),
            [(c.quantity, _against(c, v), *_numbers(c)) for c in v.checks],
            text_columns=2,
            sortable=False,
        )
        if v.error is not None:
            yield notices([f"{v.backend} raised {v.error}"])
    reasons = dict.fromkeys(c.reason for v in certificate.backends for c in v.checks)
    yield tag(
        "p",
        "Allowed, relative to the largest value: " + "; ".join(reasons) + ".",
        class_="note",
    )
    for name, reason in certificate.skipped.items():
        yield tag("p", f"Not verified: {name}: {reason}.", class_="note")


def _role(v: BackendReport) -> str:
    return "the reference" if v.backend == v.reference else f"against {v.reference}"


def _against(check: Check, v: BackendReport) -> str:
    if check.name == v.reference:
        return f"{check.name}, {check.dtype}"
    return check.name


def _provenance(certificate: ModelReport) -> Iterator[Markup]:
    around = certificate.environment
    packages = ", ".join(f"{k} {v}" for k, v in around["packages"].items())
    yield facts(
        [
            ("Model", certificate.model or "a potential in memory"),
            ("SHA-256", tag("code", certificate.sha256)),
            ("Structures", certificate.structures),
            ("Date", _date(certificate)),
            ("equipot", _version(certificate)),
            ("Revision", str(around["revision"] or "unknown")),
            ("Packages", f"python {around['python']}, {packages}"),
            ("Platform", str(around["platform"])),
            ("Processor", str(around["processor"])),
            ("GPU", str(around["gpu"] or "none")),
            ("Device", certificate.device),
            ("Threads", str(around["threads"])),
            ("Time", f"{certificate.seconds:.1f} s"),
        ]
    )
    yield tag(
        "p",
        "Another model, version or machine needs a verification of its own.",
        class_="note",
    )


def _date(certificate: ModelReport) -> str:
    return str(certificate.environment["time"]).replace("T", " ")


def _version(certificate: ModelReport) -> str:
    return str(certificate.environment["equipot"])
