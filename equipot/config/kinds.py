"""Recognize configurations meant for another command."""

from collections.abc import Collection
from pathlib import Path

KINDS = {
    "train-potential": ("a training configuration", {"data", "training"}),
    "equipot md": (
        "a molecular-dynamics configuration",
        {"structure", "ensemble", "steps", "timestep", "velocities"},
    ),
}
"""Schema of each command, and keys that are unique to it."""


def meant_for_another_command(
    path: Path, keys: Collection[str], known: Collection[str]
) -> str | None:
    """Command that a configuration is meant for, if it is not the current one.

    Args:
        path: File of the configuration.
        keys: Top-level sections of the file.
        known: Sections of the current command.

    Returns:
        Message, or None.
    """
    for command, (kind, marks) in KINDS.items():
        others = [m for c, (_, m) in KINDS.items() if c != command]
        if marks & set(known) or not marks & set(keys):
            continue
        if any(other & set(keys) for other in others):
            continue
        return f"{path}: this is {kind}; use it with: {command} {path}"
    return None
