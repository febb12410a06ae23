"""Sections of the report on the model: where it holds, and where it comes from."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ase.data import chemical_symbols

from equipot.data.pairs import overall_minimum
from equipot.evaluation.results import Evaluation
from equipot.report.parts.markup import Markup, grouped, join, number, shown, tag
from equipot.report.parts.tables import facts, table
from equipot.report.provenance import Provenance

MOST_PAIRS: Final = 24
"""Longer tables of pairs are folded up."""

CONVENTIONS: Final = (
    ("Energy", "eV; errors in meV/atom"),
    ("Forces", "eV/Å; errors in meV/Å, per component"),
    ("Stress", "GPa here, eV/Å³ in files; positive in tension"),
    ("Lengths", "Å; cell vectors are rows"),
)


def domain(evaluation: Evaluation, header: Mapping[str, Any]) -> Markup:
    """Elements and distances of the training set beside those of the evaluation."""
    statistics = header.get("statistics", {})
    counts = statistics.get("element_counts") or {}
    names = [
        f"{symbol} ({grouped(counts[symbol])} atoms)" if symbol in counts else symbol
        for symbol in (chemical_symbols[z] for z in statistics.get("elements", ()))
    ]
    types = statistics.get("config_types") or {}
    pairs = [
        ("Elements", ", ".join(names)),
        ("Training set", _training_set(statistics)),
        ("Config types", ", ".join(f"{k} ({grouped(n)})" for k, n in types.items())),
        *ranges(statistics),
    ]
    limits = statistics.get("minimum_distances", {})
    return join(
        facts([(name, text) for name, text in pairs if text]),
        _distances(limits, overall_minimum(evaluation.closest)),
    )


def ranges(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each range of a training set that is known.

    Args:
        statistics: Of a header.
    """
    neighbors = statistics.get("neighbor_ranges") or {}
    if neighbors:
        parts = (f"{z} {low} to {high}" for z, (low, high) in neighbors.items())
        yield "Neighbors", ", ".join(parts)
    spans = (
        ("Density", "density_range", ".4f", "atoms/Å^3"),
        ("Energy", "energy_range", ".3f", f"eV/atom {_zero_of_energy(statistics)}"),
    )
    for name, key, form, unit in spans:
        if (span := statistics.get(key)) is not None:
            yield name, f"{span[0]:{form}} to {span[1]:{form}} {unit}"
    if (force := statistics.get("largest_force")) is not None:
        yield "Largest force", f"{force:.3g} eV/Å"


def _zero_of_energy(statistics: Mapping[str, Any]) -> str:
    """What energies are counted from: free atoms only where references are theirs."""
    source = str(statistics.get("reference_source", ""))
    names = {
        "isolated_atoms": "beyond free atoms",
        "given": "beyond the reference energies of the configuration",
        "none": "in total",
    }
    return names.get(source, "beyond fitted reference energies, not free atoms")


def verification(about: Provenance) -> Markup:
    """What the certificate beside the model says; nothing without one."""
    found = about.certificate
    if found is None:
        return join()
    if not found:
        text = "verification.json beside this model is not one. Run equipot verify."
        return tag("p", text, class_="warn")
    made = (
        f"on {found['structures']}, by equipot {found['equipot']} on "
        f"{found['gpu'] or found['processor']}, {found['time']}"
    )
    if found["model_sha256"] != about.header.get("sha256"):
        return tag(
            "p",
            "verification.json beside this model is of another model (SHA-256 "
            f"{str(found['model_sha256'])[:12]}…): nothing is known about this one. "
            "Run equipot verify.",
            class_="warn",
        )
    if found["passed"]:
        return tag("p", f"All checks of equipot verify passed {made}.")
    return join(
        tag("p", f"FAILED checks of equipot verify {made}:", class_="warn"),
        tag("ul", *(tag("li", failure) for failure in found["failures"])),
    )


def provenance(about: Provenance) -> Markup:
    """Files, programs, conventions, and the configuration of the model."""
    header = about.header
    model = header.get("model", {})
    identity = [
        ("File", about.model),
        ("Format version", str(header.get("format_version", "unknown"))),
        ("Written by", f"equipot {header.get('equipot_version', 'unknown')}"),
        ("Cutoff", f"{model['cutoff']} Å" if "cutoff" in model else "unknown"),
        ("SHA-256", tag("code", str(header.get("sha256", "unknown")))),
    ]
    files = [(file, tag("code", digest)) for file, digest in about.data.items()]
    return join(
        tag("h3", "Model"),
        facts(identity),
        table("Files", ("File", "SHA-256"), files, text_columns=2, sortable=False),
        tag("h3", "Evaluation"),
        facts(list(about.environment.items())),
        tag("h3", "Units and conventions"),
        facts(CONVENTIONS),
        *_details(header),
    )


def _distances(limits: Mapping[str, float], here: Mapping[str, float]) -> Markup:
    """Shortest distances, those out of the domain first; many of them are folded."""
    rows = [
        (p, number(limits.get(p)), number(here.get(p)), _state(p, limits, here))
        for p in sorted(set(limits) | set(here))
    ]
    if not rows:
        return join()
    rows.sort(key=lambda row: not isinstance(row[3], Markup))
    title = "Shortest distances of pairs of elements, in Å"
    listing = table(title, ("Pair", "In training", "Here", "State"), rows)
    if len(rows) <= MOST_PAIRS:
        return listing
    return tag("details", tag("summary", f"{title}: {len(rows)} pairs"), listing)


def _details(header: Mapping[str, Any]) -> Iterator[Markup]:
    """Sections of the header in full, folded up."""
    titles = {
        "model": "Architecture",
        "training": "Training",
        "provenance": "Provenance of the model",
        "statistics": "Statistics of the training set",
    }
    for key, title in titles.items():
        if key in header:
            values = header[key]
            if key == "training" and isinstance(values, Mapping):
                values = {k: v for k, v in values.items() if k != "history"}
            text = json.dumps(values, indent=2, ensure_ascii=False)
            yield tag("details", tag("summary", title), tag("pre", text))


def _training_set(statistics: Mapping[str, Any]) -> str:
    if "num_structures" not in statistics:
        return ""
    structures, atoms = statistics["num_structures"], statistics["num_atoms"]
    return f"{grouped(structures)} structures, {grouped(atoms)} atoms"


def _state(
    pair: str, limits: Mapping[str, float], here: Mapping[str, float]
) -> Markup | str:
    if pair not in here:
        return "not here"
    if pair not in limits:
        return tag("span", "new pair", class_="warn") if limits else "unknown"
    if here[pair] < limits[pair]:
        share = shown(100 * (1 - here[pair] / limits[pair]))
        return tag("span", f"closer by {share} %", class_="warn")
    return "within"
