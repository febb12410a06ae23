"""What measurements are stored with: environment, load of the machine and settings."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from equipot.storage.atomic_file import make_folder, write_json
from equipot.system.environment import describe_environment


def new_record(settings: dict[str, Any], messages: Console) -> dict[str, Any]:
    """Environment, load and settings, ready for JSON; warns on a busy machine.

    Args:
        settings: Options of the measurement. The command line is not stored: it names
            files of this machine.
        messages: Where a warning is printed.
    """
    environment = describe_environment()
    del environment["command"]
    if (warning := busy()) is not None:
        messages.print(f"[yellow]![/] {escape(warning)}")
    return {
        "environment": environment,
        "load": os.getloadavg()[0],
        "warning": warning,
        "settings": settings,
    }


def write_record(path: Path, record: dict[str, Any], screen: Console) -> None:
    """Write a record as JSON, and print where."""
    make_folder(path.parent)
    write_json(path, record)
    screen.print(f"wrote {escape(str(path))}", soft_wrap=True)


def busy() -> str | None:
    """Warning if other programs use this machine; None if it is idle."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return None
    return (
        f"the machine is busy (load {load:.1f} on {cores} cores): times will be wrong"
    )
