"""Names of the processors that results and timings depend on."""

import platform
from functools import cache
from pathlib import Path

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
