"""Build, test and measure the compiled ops on a machine with an NVIDIA GPU.

    python scripts/gpu_check.py [options of scripts/benchmark_gpu.py]

builds both libraries, runs the tests that are marked `gpu`, and measures against e3nn,
cuEquivariance and OpenEquivariance where these are installed. Writes
benchmarks/results/<gpu>.json. Fails at the first step that fails, and without a GPU.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark_gpu import require_gpu

ROOT = Path(__file__).resolve().parents[1]


def steps(options: Sequence[str]) -> dict[str, list[str]]:
    """Commands by what they do, in order; each in a process of its own.

    What is built is loaded by processes that start later.

    Args:
        options: Of the benchmark.
    """
    python = sys.executable
    return {
        "build": [python, "cuda_ext/build.py", "cpu", "cuda"],
        "test": [python, "-m", "pytest", "-m", "gpu", "-rs", "tests/cuda"],
        "measure": [python, "scripts/benchmark_gpu.py", *options],
    }


def main(options: Sequence[str]) -> int:
    """Run all steps; the exit status of the first that fails, or 0."""
    require_gpu()
    for name, command in steps(options).items():
        print(f"{name}: {' '.join(command)}", flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status != 0:
            print(f"{name} failed with status {status}", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
