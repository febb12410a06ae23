"""`equipot doctor`: what this machine offers, for bug reports and before a long run."""

import os
import platform
from collections.abc import Iterator
from importlib import metadata

import typer

from equipot.cli.errors import explain_errors

PACKAGES = (
    "equipot",
    "torch",
    "numpy",
    "ase",
    "e3nn",
    "vesin",
    "pydantic",
    "safetensors",
    "torch_geometric",
    "tblite",
)


@explain_errors
def doctor() -> None:
    """Show versions, devices, threads and which backends can run here."""
    sections = {
        "Versions": versions(),
        "Processor": processor(),
        "Accelerators": accelerators(),
        "Tensor products": tensor_products(),
        "Neighbor lists": neighbor_lists(),
    }
    for title, lines in sections.items():
        typer.secho(title, bold=True)
        for name, value in lines:
            typer.echo(f"  {name:18}{value}")


def versions() -> Iterator[tuple[str, str]]:
    """Versions of Python and of the packages that results can depend on."""
    yield "python", platform.python_version()
    yield "system", platform.platform()
    for package in PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            yield package, "not installed"


def processor() -> Iterator[tuple[str, str]]:
    """Instruction set and threads that PyTorch uses."""
    import torch

    yield "instructions", torch.backends.cpu.get_cpu_capability()
    yield "cores", str(os.cpu_count())
    yield "threads", f"{torch.get_num_threads()} (OMP_NUM_THREADS sets them)"


def accelerators() -> Iterator[tuple[str, str]]:
    """CUDA devices, or why there are none."""
    import torch

    if torch.version.cuda is None:
        yield "cuda", "this build of torch has no CUDA"
    elif not torch.cuda.is_available():
        yield "cuda", f"torch is built for CUDA {torch.version.cuda}, but finds no GPU"
    else:
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            memory = device.total_memory / 2**30
            yield f"cuda:{index}", f"{device.name}, {memory:.0f} GiB"


def tensor_products() -> Iterator[tuple[str, str]]:
    """Tensor-product backends of this installation."""
    from equipot.tensor_products import BACKENDS

    for name, backend in BACKENDS.items():
        summary = (backend.__doc__ or "").strip().splitlines()
        yield name, summary[0] if summary else "available"


def neighbor_lists() -> Iterator[tuple[str, str]]:
    """Searches for neighbors."""
    from equipot.neighbors import BACKENDS

    for name in BACKENDS:
        yield name, "available"
