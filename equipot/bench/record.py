"""What measurements are stored with: environment, load of the machine and settings."""

import os
from typing import Any

from equipot.system.environment import describe_environment


def new_record(settings: dict[str, Any]) -> dict[str, Any]:
    """Environment, load and settings, ready for JSON.

    Args:
        settings: Options of the measurement. The command line is not stored: it names
            files of this machine.
    """
    environment = describe_environment()
    del environment["command"]
    return {
        "environment": environment,
        "load": os.getloadavg()[0],
        "warning": busy(),
        "settings": settings,
    }


def busy() -> str | None:
    """Warning if other programs use this machine; None if it is idle."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return None
    return (
        f"the machine is busy (load {load:.1f} on {cores} cores): times will be wrong"
    )
