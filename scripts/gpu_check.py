"""Build, test and measure the compiled ops on a machine with an NVIDIA GPU.

    python scripts/gpu_check.py [options of benchmarks.tensor_products]

builds both libraries, runs the tests that are marked `gpu`, and measures against the
roofline, e3nn, cuEquivariance and OpenEquivariance where these are installed. Writes
benchmarks/results/<gpu>.json. Fails at the first step that fails, and without a GPU.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
CASES = ("1x64", "1x128", "2x64", "2x128", "3x64", "3x128")
EDGES = ("50000", "200000", "1000000")
VARIANTS = ("fused", "cuequivariance", "openequivariance")


def steps(options: Sequence[str]) -> dict[str, list[str]]:
    """Commands by step, in order; options of the benchmark replace the defaults."""
    python = sys.executable
    measure = [python, "-m", "benchmarks.tensor_products", "--device", "cuda"]
    measure += ["--cases", *CASES, "--graphs", *EDGES, "--variants", *VARIANTS]
    return {
        "build": [python, "cuda_ext/build.py", "cpu", "cuda"],
        "test": [python, "-m", "pytest", "-m", "gpu", "-rs", "tests/cuda"],
        "measure": [*measure, *options],
    }


def require_gpu() -> None:
    """Exit with a message if PyTorch finds no GPU."""
    cuda = torch.version.cuda
    if cuda is None:
        raise SystemExit(f"PyTorch {torch.__version__} is built without CUDA")
    if not torch.cuda.is_available():
        raise SystemExit(f"PyTorch is built for CUDA {cuda} but finds no GPU")


def main(options: Sequence[str]) -> int:
    """Run all steps; returns the exit status of the first that fails, or 0."""
    if {"-h", "--help"} & {*options}:
        print(__doc__)
        return 0
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
