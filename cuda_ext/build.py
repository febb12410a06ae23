"""Build the compiled ops: ``python cuda_ext/build.py cpu`` or ``cuda``.

Libraries use the stable ABI of PyTorch: one build serves torch >= 2.10 and any Python.
Each contains a manifest with the digests of its sources, with which
`equipot.ops.library` detects an outdated library.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
OUTPUT = SOURCES.parent / "equipot" / "ops" / "lib"

TORCH_TARGET = "0x020a000000000000"
"""Oldest PyTorch whose stable ABI is used: 2.10."""
CXX_FLAGS = (
    "-O2",
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
)


CUDA_CODE = "arch=compute_80,code=[sm_80,sm_90,compute_80]"
"""Machine code for two generations of NVIDIA GPUs; drivers compile for later ones."""


PTXAS_LINE = re.compile(r"ptxas info|\s+\d+ bytes stack frame")
"""Resource usage of a kernel in the output of ``ptxas -v``."""


class BuildError(RuntimeError):
    """A library cannot be built; the message states the reason."""


def build_cpu(output: Path) -> Path:
    """Build the library of CPU kernels in a folder and return its path.

    Files named ``*_kernels.cpp`` are compiled once per instruction set, each time in a
    separate namespace; all others once, for the baseline of the architecture.
    """
    compiler = find_compiler()
    isas = instruction_sets()
    folder = SOURCES / "cpu"
    flags = (*CXX_FLAGS, f"-DTORCH_TARGET_VERSION={TORCH_TARGET}")
    manifest = make_manifest(
        "cpu",
        [*folder.iterdir(), *SOURCES.glob("*.h")],
        {"compiler": version_of(compiler), "flags": flags, "isas": isas},
    )

    def build(temporary: Path, library: Path) -> None:
        commands = []
        for source in sorted(folder.glob("*.cpp")):
            if source.stem.endswith("_kernels"):
                for isa, machine in isas.items():
                    target = temporary / f"{source.stem}_{isa}.o"
                    options = [*machine, f"-DEQUIPOT_ISA={isa}"]
                    commands.append((source, target, options))
            else:
                include = ["-isystem", str(torch_folder() / "include")]
                commands.append((source, temporary / f"{source.stem}.o", include))
        source = temporary / "manifest.cpp"
        source.write_text(manifest_source("cpu", manifest), encoding="utf-8")
        commands.append((source, temporary / "manifest.o", []))
        run_all(
            [compiler, *flags, *options, "-c", str(source), "-o", str(target)]
            for source, target, options in commands
        )
        for isa in isas:
            for kernels in temporary.glob(f"*_kernels_{isa}.o"):
                refuse_shared_code(kernels, isa)
        objects = [str(target) for _, target, _ in commands]
        run_all([[compiler, "-shared", *objects, *torch_libraries(), "-o", library]])

    return install(output / "equipot_cpu.so", manifest, build)


def refuse_shared_code(kernels: Path, isa: str) -> None:
    """Reject object files whose code other object files could share.

    The linker keeps one arbitrary copy of a weak symbol, so that code for this
    instruction set could run on a processor without it.

    Raises:
        BuildError: If there is a weak or unique symbol outside of the namespace.
    """
    command = ["nm", "-C", "--defined-only", "--extern-only", str(kernels)]
    listing = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    for line in listing.splitlines():
        _, kind, name = line.split(maxsplit=2)
        if kind in "WVu" and f"equipot::{isa}::" not in name:
            raise BuildError(
                f"{kernels.name} shares {name} with other files: kernels must not use "
                "functions of the standard library that are defined in headers"
            )


def build_cuda(output: Path) -> Path:
    """Build the library of CUDA kernels in a folder and return its path.

    No GPU is needed. The resource usage of each kernel, as reported by ptxas, is
    written next to the library.
    """
    compiler, nvcc = find_compiler(), find_nvcc()
    folder = SOURCES / "cuda"
    kernel_flags = (
        *("-O3", "-std=c++17", f"-gencode={CUDA_CODE}"),
        *("-Xfatbin=-compress-all", "-Xptxas=-v"),
    )
    host_flags = (*CXX_FLAGS, f"-DTORCH_TARGET_VERSION={TORCH_TARGET}", "-DUSE_CUDA")
    manifest = make_manifest(
        "cuda",
        [*folder.iterdir(), *SOURCES.glob("*.h")],
        {"compiler": version_of(nvcc), "flags": kernel_flags},
    )

    def build(temporary: Path, library: Path) -> None:
        (temporary / "manifest.cpp").write_text(
            manifest_source("cuda", manifest), encoding="utf-8"
        )
        torch_headers = ["-isystem", torch_folder() / "include"]
        host = [compiler, *host_flags, *torch_headers]
        kernels = [nvcc, *kernel_flags, "-Xcompiler=-fPIC,-fvisibility=hidden"]
        # the double backward kernels take longest to compile, therefore first
        sources = sorted(folder.glob("*.cu"), key=lambda path: -len(path.stem))
        sources += [*folder.glob("*.cpp"), temporary / "manifest.cpp"]
        told = run_all(
            [
                *(kernels if source.suffix == ".cu" else host),
                *("-c", source, "-o", temporary / f"{source.stem}.o"),
            ]
            for source in sources
        )
        objects = [temporary / f"{source.stem}.o" for source in sources]
        stub = link_stub(compiler, temporary)
        link = [nvcc, "-shared", "-cudart=static", *objects, *torch_libraries()]
        run_all([[*link, f"-L{stub}", "-ltorch_cuda", "-o", library]])
        resources = output / "equipot_cuda.ptxas"
        resources.write_text("".join(told), encoding="utf-8")

    return install(output / "equipot_cuda.so", manifest, build)


def link_stub(compiler: str, folder: Path) -> Path:
    """Create an empty ``libtorch_cuda.so`` and return its folder.

    It permits linking without a CUDA build of PyTorch. At run time the library of
    PyTorch is loaded instead; without it, loading fails.
    """
    stub = folder / "libtorch_cuda.so"
    name = "-Wl,-soname,libtorch_cuda.so"
    source = folder / "stub.c"
    source.write_text("", encoding="utf-8")
    run_all([[compiler, "-shared", "-fPIC", name, "-x", "c", source, "-o", stub]])
    return folder


def instruction_sets() -> dict[str, list[str]]:
    """Compiler options by instruction set, which is the namespace of its kernels.

    ``-mprfchw`` is safe: processors with AVX2 support the instruction or ignore it.
    """
    if platform.machine() in {"x86_64", "AMD64"}:
        return {
            "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512", "-mprfchw"],
            "avx2": ["-march=x86-64-v3", "-mprfchw"],
            "portable": ["-march=x86-64"],
        }
    return {"portable": []}


def make_manifest(device: str, sources: list[Path], facts: dict[str, object]) -> str:
    """Digests of the sources of a library and build settings, as one line of JSON."""
    digests = {
        path.relative_to(SOURCES.parent).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(sources)
        if path.is_file()
    }
    (abi,) = re.findall(r"#define EQUIPOT_ABI (\d+)", (SOURCES / "abi.h").read_text())
    manifest = {"device": device, "abi": int(abi), **facts, "sources": digests}
    return json.dumps(manifest)


def manifest_source(device: str, manifest: str) -> str:
    """C++ source that embeds the manifest, readable without loading the library."""
    return (
        'extern "C" __attribute__((visibility("default"), used))\n'
        f"const char equipot_{device}_manifest[] =\n"
        f'    R"manifest(equipot-manifest:{manifest})manifest";\n'
    )


def install(library: Path, manifest: str, build: Callable[[Path, Path], None]) -> Path:
    """Build a library unless the one in place has the same manifest."""
    if library.exists() and manifest.encode() in library.read_bytes():
        library.touch()
        return library
    print(f"Building {library.name}", flush=True)
    started = time.monotonic()
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as temporary:
        made = Path(temporary) / library.name
        build(Path(temporary), made)
        made.replace(library)
    print(f"Built {library} in {time.monotonic() - started:.0f} s", flush=True)
    return library


def obstacle() -> str | None:
    """The reason why the CPU library cannot be built here, or None."""
    try:
        find_compiler()
        torch_folder()
    except BuildError as error:
        return str(error)
    return None


def find_compiler() -> str:
    """The C++ compiler: ``$CXX`` or g++."""
    name = os.environ.get("CXX", "g++")
    if (path := shutil.which(name)) is None:
        raise BuildError(
            f"no C++ compiler: {name!r} is not on PATH; install g++ >= 9 (Debian, "
            "Ubuntu: apt install g++) or name another one in the variable CXX"
        )
    return path


def find_nvcc() -> str:
    """The CUDA compiler: ``$CUDACXX``, or nvcc on PATH or in ``/usr/local/cuda``."""
    name = os.environ.get("CUDACXX", "nvcc")
    for candidate in (name, "/usr/local/cuda/bin/nvcc"):
        if (path := shutil.which(candidate)) is not None:
            return path
    raise BuildError(
        f"no CUDA compiler: {name!r} is not on PATH; install the CUDA toolkit, 12.4 or "
        "later (a GPU is not needed to build), or name its nvcc in the variable CUDACXX"
    )


def version_of(compiler: str) -> str:
    """The line with the version in the output of ``compiler --version``."""
    answer = subprocess.run([compiler, "--version"], capture_output=True, check=True)
    lines = answer.stdout.decode().splitlines()
    return next((line for line in lines if "release" in line), lines[0])


def torch_folder() -> Path:
    """The folder of the installed PyTorch, located without importing it."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise BuildError(
            "PyTorch is not installed for this Python; its headers are needed to build"
        )
    return Path(found.origin).parent


def torch_libraries() -> list[str]:
    """Linker options for PyTorch; no rpath, because PyTorch has loaded them before."""
    return [f"-L{torch_folder() / 'lib'}", "-ltorch_cpu", "-lc10"]


def run_all(commands: Iterable[Sequence[str | Path]]) -> list[str]:
    """Run commands in parallel.

    Returns:
        The lines about kernels from ptxas, by command; other messages are printed.

    Raises:
        BuildError: If a command fails; the message contains its output.
    """

    def run(command: Sequence[str | Path]) -> str:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode != 0:
            line = " ".join(str(word) for word in command)
            raise BuildError(f"{line}\n{process.stdout}{process.stderr}")
        told, shown = [], []
        for line in process.stderr.splitlines(keepends=True):
            (told if PTXAS_LINE.match(line) else shown).append(line)
        print("".join(shown), end="", file=sys.stderr)
        return "".join(told)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, commands))


TARGETS = {"cpu": build_cpu, "cuda": build_cuda}


def main() -> int:
    """Build the targets given on the command line."""
    parser = argparse.ArgumentParser(description="Build the compiled ops.")
    parser.add_argument("target", choices=TARGETS, nargs="+")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    try:
        for target in arguments.target:
            TARGETS[target](arguments.output)
    except BuildError as error:
        print(f"cuda_ext/build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
