"""Names of the processors that results and timings depend on."""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Final

import torch


@cache
def processor_name() -> str:
    """Model of the CPU."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """Model of the GPU, or of the CPU with the vector instructions in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}"


LIMITS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Limit and use of memory of a container on Linux, of cgroups 2 and 1."""


def available_memory() -> int:
    """Memory in bytes that programs can allocate without swapping."""
    information = Path("/proc/meminfo")
    if information.is_file():
        lines = information.read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable"))
        available = 1024 * int(line.split()[1])
    else:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit, used in LIMITS:
        if Path(limit).is_file() and (text := Path(limit).read_text().strip()) != "max":
            available = min(available, int(text) - int(Path(used).read_text()))
    return available
