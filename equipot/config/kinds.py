"""Tells a configuration for one command from that for another."""

from collections.abc import Collection
from pathlib import Path

KINDS = {
    "train-potential": ("a training configuration", {"data", "training"}),
    "equipot md": (
        "a configuration of dynamics",
        {"structure", "ensemble", "steps", "timestep", "velocities"},
    ),
}
"""Schema of each command, and keys that are unique to it."""


def meant_for_another_command(
    path: Path, keys: Collection[str], known: Collection[str]
) -> str | None:
    """Which command a configuration is for, if not for the one that reads it.

    Args:
        path: File that it comes from.
        keys: Sections at its top level.
        known: Sections that the command knows.

    Returns:
        A message, or None.
    """
    for command, (kind, marks) in KINDS.items():
        others = [m for c, (_, m) in KINDS.items() if c != command]
        if marks & set(known) or not marks & set(keys):
            continue
        if any(other & set(keys) for other in others):
            continue
        return f"{path}: this is {kind}; use it with: {command} {path}"
    return None
