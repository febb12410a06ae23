"""`equipot doctor`: versions, hardware and backends, for bug reports."""

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
    "cuequivariance-torch",
    "torch_geometric",
    "tblite",
)


@explain_errors
def doctor() -> None:
    """Show versions, devices, threads and available backends."""
    from equipot.system.terminal import in_columns

    sections = {
        "Versions": versions(),
        "Processor": processor(),
        "Accelerators": accelerators(),
        "Compiled ops": compiled_ops(),
        "Tensor products": tensor_products(),
        "Neighbor lists": neighbor_lists(),
    }
    for title, lines in sections.items():
        typer.secho(title, bold=True)
        for line in in_columns(list(lines)):
            typer.echo(line)


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
    """Instruction set and threads of PyTorch."""
    import torch

    yield "instructions", torch.backends.cpu.get_cpu_capability()
    yield "cores", str(os.cpu_count())
    yield "threads", f"{torch.get_num_threads()} (set by OMP_NUM_THREADS)"


def accelerators() -> Iterator[tuple[str, str]]:
    """CUDA devices, or why there are none."""
    import torch

    if torch.version.cuda is None:
        yield "cuda", "not available: this build of torch does not include CUDA"
    elif not torch.cuda.is_available():
        yield "cuda", f"no GPU found; torch is built for CUDA {torch.version.cuda}"
    else:
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            memory = device.total_memory / 2**30
            yield f"cuda:{index}", f"{device.name}, {memory:.0f} GiB"


def compiled_ops() -> Iterator[tuple[str, str]]:
    """Libraries of ``cuda_ext/``, or the command that builds them."""
    from equipot.ops.library import LIBRARIES, cpu_instruction_set

    for device, library in LIBRARIES.items():
        if library.problem is not None:
            yield (
                device,
                f"{library.problem.removeprefix('are ')}: run `{library.command}`",
            )
            continue
        yield (
            device,
            f"built from the current sources by {library.manifest['compiler']}",
        )
        if device == "cpu":
            kernels = ", ".join(library.manifest["isas"])
            yield "instructions", f"{cpu_instruction_set()}; built for {kernels}"


def tensor_products() -> Iterator[tuple[str, str]]:
    """Tensor-product backends, or why they are not available."""
    import torch

    from equipot.storage.user_cache import cache_folder
    from equipot.system.terminal import plain
    from equipot.tensor_products import BACKENDS, unavailable

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name, backend in BACKENDS.items():
        summary = plain((backend.__doc__ or "available").strip().splitlines()[0])
        reason = unavailable(name, device)
        yield name, summary if reason is None else f"not available: {reason}"
    yield "auto", f"fastest backend; choices are cached in {cache_folder()}"


def neighbor_lists() -> Iterator[tuple[str, str]]:
    """Neighbor-list backends."""
    from equipot.neighbors import BACKENDS

    for name in BACKENDS:
        yield name, "available"
