"""The findings for programs, and what they were made with."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from equipot.bench.conclusions import conclusions
from equipot.bench.measure import Ability, Result, Settings
from equipot.system.environment import describe_environment


def facts(settings: Settings) -> dict[str, str]:
    """Machine, versions and settings, as text by name.

    Args:
        settings: What is about to be measured; the load of the machine is read now.
    """
    around = describe_environment()
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "equipot": around["equipot"],
        "Revision": around["revision"] or "unknown",
        **{name: str(version) for name, version in around["packages"].items()},
        "Platform": around["platform"],
        "Processor": around["processor"],
        "Threads": str(around["threads"]),
        "Load before": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        "Edges": f"{settings.edges} of random molecules",
        "Channels": ", ".join(map(str, settings.channels)),
        "Arithmetic": str(settings.dtype).removeprefix("torch."),
    }


def busy() -> str | None:
    """A warning if others compute on this machine as well; None if it is idle."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return None
    return (
        f"the machine is busy (load {load:.1f} on {cores} cores): times will be wrong"
    )


def to_json(result: Result, about: Mapping[str, str]) -> dict[str, Any]:
    """Everything that was found, ready for JSON; times in seconds, memory in bytes."""
    return {
        "about": dict(about),
        "abilities": [_ability(ability) for ability in result.abilities],
        "costs": [asdict(cost) for cost in result.costs],
        "absent": dict(result.absent),
        "conclusions": conclusions(result),
    }


def _ability(ability: Ability) -> dict[str, Any]:
    found = ability.expressivity
    return {
        **asdict(ability),
        "expressivity": {
            "interacting": [list(path) for path in found.interacting],
            "impossible": [list(path) for path in found.impossible],
            "ranks": list(found.ranks),
        },
    }
