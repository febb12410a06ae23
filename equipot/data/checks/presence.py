"""Presence of labels under the configured keys."""

from collections import Counter
from collections.abc import Iterator, Sequence

from equipot.config.data import KeysConfig
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, first_sources
from equipot.data.reading.labeled import WEIGHT_KEYS

LOOKS_LIKE = {
    "energy": ("energ", "toten", "e_tot"),
    "forces": ("forc", "grad"),
    "stress": ("stress", "virial"),
}


def check_presence(
    facts: Sequence[Facts], keys: KeysConfig, available: Counter[str]
) -> Iterator[Finding]:
    """Findings about labels that are absent, rare, or stored under another key.

    Args:
        facts: Structures of all files.
        keys: Names of the labels.
        available: Keys in the files, and number of frames with each.

    Yields:
        Errors for keys that are not in the files, and for labels under another key.
    """
    used = {keys.energy, keys.forces, keys.stress, keys.virials, keys.config_type}
    if keys.weight is not None:
        used |= {keys.weight, *WEIGHT_KEYS}
    for label, key in keys.absent(available).items():
        yield Finding(
            "error",
            "keys",
            f"no frame has {label} under {key!r}; there are {_names(available)}",
        )
    for label in ("energy", "forces", "stress"):
        others = [k for k in available if k not in used and _looks_like(k, label)]
        yield from _check_label(facts, label, getattr(keys, label), others)
    if partly := [f for f in facts if 0 < _without_force(f) < f.num_atoms]:
        yield Finding(
            "info",
            "labels",
            f"{sum(map(_without_force, partly))} atoms in {len(partly)} structures "
            "have no force label (nan) and are not used",
            first_sources([f.source for f in partly]),
        )
    if not any(f.structure.has for f in facts):
        yield Finding("error", "labels", f"no label at all; keys: {_names(available)}")
    unused = sorted(k for k in available if k not in used)
    if unused:
        yield Finding("info", "keys", f"present, but unused: {', '.join(unused[:20])}")


def _check_label(
    facts: Sequence[Facts], label: str, key: str | None, others: list[str]
) -> Iterator[Finding]:
    """Findings about one label; `others` are similar keys."""
    count = sum(label in f.structure.has for f in facts)
    if count == 0 and others:
        option = "virials" if "virial" in others[0].lower() else label
        yield Finding(
            "warning" if label == "stress" else "error",
            "keys",
            f"no frame has {label} under {key!r}, but there is {', '.join(others)}: "
            f"pass --{option}-key {others[0]}",
        )
    elif count == 0 and label != "stress":
        yield Finding("warning", "labels", f"there are no {label} labels")
    elif 0 < count < len(facts):
        yield Finding(
            "warning",
            "labels",
            f"{label} labels on {count} of {len(facts)} structures; the others lack "
            "them",
            first_sources([f.source for f in facts if label not in f.structure.has]),
        )


def _without_force(facts: Facts) -> int:
    return int(facts.structure.labels.forces.isnan().all(dim=1).sum())


def _looks_like(key: str, label: str) -> bool:
    return any(part in key.lower() for part in LOOKS_LIKE[label])


def _names(available: Counter[str]) -> str:
    return ", ".join(sorted(available)[:20]) or "none"
