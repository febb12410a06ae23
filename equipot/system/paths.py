"""Error messages for missing files."""

from pathlib import Path


def located(path: Path) -> str:
    """A path, and what it is relative to unless it is absolute."""
    return str(path) if path.is_absolute() else f"{path} (relative to {Path.cwd()})"
