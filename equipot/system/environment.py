"""Environment of a run: versions, machine and revision of the sources."""

import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import equipot
from equipot.system.hardware import processor_name


def describe_environment() -> dict[str, Any]:
    """Versions, processor, threads and revision as JSON values."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "equipot": equipot.__version__,
        "revision": _revision(Path(equipot.__file__).parent),
        "python": platform.python_version(),
        "packages": {
            name: version(name) for name in ("torch", "numpy", "ase", "e3nn", "vesin")
        },
        "platform": platform.platform(),
        "processor": processor_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def _revision(folder: Path) -> str | None:
    """Git commit of the sources, with "+" if modified; None outside of a repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
