"""The CUDA kernels of the convolution on the host, through the simulator."""

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipot.graph.connectivity import CompressedEdges, Connectivity
from equipot.ops.convolution import Table
from equipot.so3 import num_components
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.fused import Fused

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
KERNELS = ROOT / "cuda_ext" / "cuda"
BUILD = ROOT / "build" / "cuda_simulator"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
FLAGS = (
    *("-Og", "-std=c++17", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"),
    *("-Wno-unknown-pragmas", "-U_FORTIFY_SOURCE", f"-I{FOLDER}", f"-I{KERNELS}"),
)
MARGIN = 64
"""Elements around each array that a kernel must not touch."""


@cache
def build(source: str) -> ctypes.CDLL:
    """Compile a file of this folder with the simulator, once for the same sources."""
    digest = hashlib.sha256(" ".join([str(COMPILER), *FLAGS]).encode())
    for path in sorted([*FOLDER.iterdir(), *KERNELS.iterdir()]):
        if path.suffix in {".cpp", ".h", ".cuh"}:
            digest.update(path.name.encode() + path.read_bytes())
    stem = Path(source).stem
    library = BUILD / f"{stem}_{digest.hexdigest()[:16]}.so"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes, one compiles
        if not library.exists():
            for old in BUILD.glob(f"{stem}_*.so"):
                old.unlink()
            made = library.with_suffix(".partial")
            command = [str(COMPILER), *FLAGS, str(FOLDER / source), "-o", str(made)]
            subprocess.run(command, check=True)
            made.replace(library)
    return ctypes.CDLL(str(library))


def _fields(names: str, kind: type) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Problem(ctypes.Structure):
    """As in ``cuda_ext/cuda/problem.h``."""

    _fields_ = (
        *_fields("x y w g x_dot y_dot w_dot", ctypes.c_void_p),
        *_fields("senders receivers receiver_pointers", ctypes.c_void_p),
        *_fields("sender_order sender_pointers", ctypes.c_void_p),
        *_fields("rows columns values messages x_bar y_bar w_bar", ctypes.c_void_p),
        *_fields("num_nodes num_edges", ctypes.c_int64),
        *_fields(
            "channels inputs harmonics outputs num_paths nonzeros", ctypes.c_int32
        ),
    )


class PathList(ctypes.Structure):
    """As in ``cuda_ext/cuda/problem.h``."""

    _fields_ = (
        ("degrees", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("concat", ctypes.c_bool),
    )


class Settings(ctypes.Structure):
    """As in ``simulate.cpp``."""

    _fields_ = (
        *_fields("seed max_blocks max_warps unrolled", ctypes.c_int32),
        ("ignored_barrier", ctypes.c_char_p),
    )


class Inputs(NamedTuple):
    """Operands of the double backward pass, which are those of the others as well.

    A tangent without elements is zero.
    """

    x: Tensor
    y: Tensor
    w: Tensor
    g: Tensor
    x_dot: Tensor
    y_dot: Tensor
    w_dot: Tensor
    topology: CompressedEdges
    table: Table

    def to(self, dtype: torch.dtype) -> "Inputs":
        """Cast what is a floating-point number."""
        operands = (t.to(dtype) for t in self[:7])
        table = self.table._replace(values=self.table.values.to(dtype))
        return Inputs(*operands, self.topology, table)


def random_inputs(
    spec: TensorProductSpec, *, channels: int, edges: int = 14, nodes: int = 5
) -> Inputs:
    """Float64 operands of a graph whose last node is isolated."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    edge_index = torch.randint(0, nodes - 1, (2, edges), generator=generator)
    edge_index = edge_index[:, edge_index[1].argsort()].contiguous()
    connectivity = Connectivity(edge_index, nodes)
    topology = connectivity.compressed
    x = (nodes, num_components(spec.lmax_in), channels)
    y = (edges, num_components(spec.lmax_filter))
    w = (edges, len(spec.paths), channels)
    g = (nodes, spec.num_outputs, channels)
    operands = (randn(*shape) for shape in (x, y, w, g, x, y, w))
    table = Fused(spec)._table(randn(1))
    return Inputs(*operands, topology, table)


class Simulator(NamedTuple):
    """How to run the kernels."""

    seed: int = 0
    """Order of threads: as they are, reversed, or, from 2 on, shuffled."""
    unrolled: bool = True
    """Whether by kernels whose couplings the compiler knows, or by those for any."""
    blocks: int = 3
    warps: int = 2
    ignored_barrier: str = ""

    def convolve(self, inputs: Inputs) -> Tensor:
        """As ``equipot::convolve``."""
        return self._receive(inputs, tangents=False)

    def convolve_backward(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """As ``equipot::convolve_backward``."""
        return self._send(inputs, tangents=False)

    def convolve_double_backward(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """As ``equipot::convolve_double_backward``."""
        return *self._send(inputs, True), self._receive(inputs, True)

    def _receive(self, inputs: Inputs, tangents: bool) -> Tensor:
        return self._run(inputs, tangents, messages=inputs.g)["messages"]

    def _send(self, inputs: Inputs, tangents: bool) -> tuple[Tensor, ...]:
        shapes = {"x_bar": inputs.x, "y_bar": inputs.y, "w_bar": inputs.w}
        return tuple(self._run(inputs, tangents, **shapes).values())

    def _run(
        self, inputs: Inputs, tangents: bool, **results_like: Tensor
    ) -> dict[str, Tensor]:
        operands = {**inputs._asdict(), **inputs.topology._asdict()}
        operands.update(inputs.table._asdict())
        arrays = {
            name: _with_margins(value)
            for name, value in operands.items()
            if isinstance(value, Tensor) and not _is_absent(name, value)
        }
        results = {
            name: _with_margins(torch.full_like(like, torch.nan))
            for name, like in results_like.items()
        }
        arrays.update(results)
        pointers = {name: array[MARGIN:].data_ptr() for name, array in arrays.items()}
        self._call(inputs, tangents, pointers)
        for name, array in results.items():
            margins = torch.cat([array[:MARGIN], array[-MARGIN:]])
            assert margins.isnan().all(), f"a kernel wrote beyond {name}"
        return {
            name: array[MARGIN:-MARGIN].view(results_like[name].shape)
            for name, array in results.items()
        }

    def _call(self, inputs: Inputs, tangents: bool, pointers: dict[str, int]) -> None:
        library = build("simulate.cpp")
        name = str(inputs.x.dtype).removeprefix("torch.")
        function = getattr(library, f"simulate_{name}")
        function.restype = ctypes.c_char_p
        problem = Problem(
            **pointers,
            num_nodes=len(inputs.x),
            num_edges=len(inputs.y),
            channels=inputs.x.shape[2],
            inputs=inputs.x.shape[1],
            harmonics=inputs.y.shape[1],
            outputs=inputs.table.num_outputs,
            num_paths=inputs.w.shape[1],
            nonzeros=len(inputs.table.rows),
        )
        degrees = torch.tensor(inputs.table.paths)
        paths = PathList(degrees.data_ptr(), len(degrees) // 3, inputs.table.concat)
        settings = Settings(
            self.seed,
            self.blocks,
            self.warps,
            self.unrolled,
            self.ignored_barrier.encode(),
        )
        error = function(
            ctypes.c_bool("messages" in pointers),
            ctypes.c_bool(tangents),
            ctypes.byref(problem),
            ctypes.byref(paths),
            ctypes.byref(settings),
        )
        if error is not None:
            raise RuntimeError(error.decode())


def barriers() -> Sequence[str]:
    """Names of the barriers that simulated threads have met in this process."""
    function = build("simulate.cpp").barriers
    function.restype = ctypes.c_char_p
    return function().decode().split()


def _is_absent(name: str, value: Tensor) -> bool:
    return name.endswith("_dot") and value.numel() == 0


def _with_margins(values: Tensor) -> Tensor:
    """The values in one dimension, between values that nobody must use."""
    bad = torch.nan if values.is_floating_point() else torch.iinfo(values.dtype).max
    margin = torch.full((MARGIN,), bad, dtype=values.dtype)
    return torch.cat([margin, values.flatten(), margin])
