"""Error messages for missing files."""

from pathlib import Path


def located(path: Path) -> str:
    """Path for messages, with the working directory if it is relative."""
    return str(path) if path.is_absolute() else f"{path} (relative to {Path.cwd()})"
