"""The CUDA kernels on an NVIDIA GPU: run by ``python scripts/gpu_check.py``."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from equipot.graph.connectivity import CompressedEdges
from equipot.ops import library, reference
from equipot.ops.convolution import Table, convolve
from equipot.tensor_products import TensorProductSpec
from tests.cuda.simulation import Inputs, random_inputs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

ROOT = Path(__file__).parents[2]
SPECS = [
    *(TensorProductSpec(0, n, n) for n in (1, 2, 3)),
    *(TensorProductSpec(n, n, 0) for n in (1, 2, 3)),
    *(TensorProductSpec(n, n, n) for n in (0, 1, 2, 3, 4, 6)),
    *(TensorProductSpec(n, n, n, symmetry="SO(3)") for n in (1, 2, 3)),
    TensorProductSpec(0, 1, 3),
    TensorProductSpec(2, 3, 1, accumulate="concat"),
    TensorProductSpec(3, 3, 3, accumulate="concat"),
    TensorProductSpec(2, 2, 2, weighting="per_degree"),
]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 3e-6}
ops = torch.ops.equipot


@pytest.fixture(autouse=True)
def _compiled():
    """Without the library, PyTorch would compute all of this, and rightly."""
    library.require(torch.device("cuda"))


def on_gpu(inputs: Inputs) -> Inputs:
    topology = CompressedEdges(*(t.cuda() for t in inputs.topology))
    table = Table(
        *(t.cuda() if isinstance(t, torch.Tensor) else t for t in inputs.table)
    )
    return Inputs(*(t.cuda() for t in inputs[:7]), topology, table)


def all_ops(functions, inputs: Inputs) -> list[torch.Tensor]:
    constants = (*inputs.topology, *inputs.table)
    return [
        functions.convolve(*inputs[:3], *constants),
        *functions.convolve_backward(*inputs[:4], *constants),
        *functions.convolve_double_backward(*inputs[:7], *constants),
    ]


def assert_equals_reference(inputs: Inputs, dtype: torch.dtype) -> None:
    results = all_ops(ops, on_gpu(inputs.to(dtype)))
    for result, expected in zip(results, all_ops(reference, inputs), strict=True):
        assert result.dtype == dtype
        scale = expected.abs().max().item() if expected.numel() else 0.0
        tolerance = TOLERANCES[dtype] * max(scale, 1.0)
        assert_close(result.cpu().double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_ops_equal_the_reference(spec, dtype):
    inputs = random_inputs(spec, channels=33, edges=300, nodes=40)

    assert_equals_reference(inputs, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("channels", [1, 31, 64, 100, 128])
@pytest.mark.parametrize("lmax", [1, 4], ids=["unrolled", "table"])
def test_any_number_of_channels(lmax, channels, dtype):
    spec = TensorProductSpec(lmax, lmax, lmax)

    assert_equals_reference(random_inputs(spec, channels=channels), dtype)


@pytest.mark.parametrize("lmax", [2, 4], ids=["unrolled", "table"])
def test_graphs_with_nothing_in_them(lmax):
    spec = TensorProductSpec(lmax, lmax, lmax)

    for size in ({"edges": 0}, {"channels": 0}):
        inputs = random_inputs(spec, **{"channels": 3, **size})
        assert_equals_reference(inputs, torch.float64)


def test_results_are_the_same_in_every_run():
    inputs = random_inputs(
        TensorProductSpec(2, 2, 2), channels=64, edges=20_000, nodes=500
    )
    inputs = on_gpu(inputs.to(torch.float32))
    first = all_ops(ops, inputs)

    for _ in range(3):
        for a, b in zip(first, all_ops(ops, inputs), strict=True):
            assert torch.equal(a, b)


def test_three_derivatives_are_right():
    inputs = on_gpu(random_inputs(TensorProductSpec(1, 1, 1), channels=2, edges=7))
    operands = [t.requires_grad_() for t in inputs[:3]]

    def function(*operands):
        return convolve(*operands, inputs.topology, inputs.table)

    assert torch.autograd.gradcheck(function, operands)
    assert torch.autograd.gradgradcheck(function, operands)

    def slope(*operands):
        energy = function(*operands).pow(2).sum()
        return torch.autograd.grad(energy, operands, create_graph=True)

    assert torch.autograd.gradgradcheck(slope, operands)


@pytest.mark.parametrize("lmax", [1, 4], ids=["unrolled", "table"])
def test_ops_keep_the_rules_of_pytorch(lmax):
    spec = TensorProductSpec(lmax, lmax, lmax)
    inputs = on_gpu(random_inputs(spec, channels=2))
    constants = (*inputs.topology, *inputs.table)

    for name, count in (
        ("convolve", 3),
        ("convolve_backward", 4),
        ("convolve_double_backward", 7),
    ):
        operands = [t.detach().requires_grad_() for t in inputs[:count]]
        torch.library.opcheck(getattr(ops, name).default, (*operands, *constants))


def test_kernels_run_on_the_stream_of_the_caller():
    """On a stream that waits, the default stream would compute with zeros."""
    inputs = on_gpu(random_inputs(TensorProductSpec(2, 2, 2), channels=64))
    expected = all_ops(ops, inputs)
    late = [torch.zeros_like(t) for t in inputs[:7]]
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        for target, source in zip(late, inputs[:7], strict=True):
            target.copy_(source)
        results = all_ops(ops, Inputs(*late, inputs.topology, inputs.table))
        torch.cuda.current_stream().synchronize()

    for a, b in zip(results, expected, strict=True):
        assert torch.equal(a, b)


def test_indices_of_more_than_32_bits():
    """Weights of 2^31 + some elements: the last edges need 64-bit addresses."""
    spec = TensorProductSpec(3, 3, 3)
    channels, nodes = 128, 4
    edges = 2**31 // (channels * len(spec.paths)) + 1000
    needed = 3 * 4 * edges * channels * len(spec.paths)
    free, _ = torch.cuda.mem_get_info()
    if free < needed:
        pytest.skip(f"needs {needed / 1e9:.0f} GB of GPU memory, {free / 1e9:.0f} free")
    few = 50
    small = random_inputs(spec, channels=channels, edges=few, nodes=nodes)
    small = on_gpu(small.to(torch.float32))
    # all other edges leave from and arrive at node 0, with weights of zero
    others = edges - few
    senders = torch.cat(
        [small.topology.senders.new_zeros(others), small.topology.senders]
    )
    receivers = torch.cat(
        [small.topology.receivers.new_zeros(others), small.topology.receivers]
    )
    order = torch.argsort(senders, stable=True)
    bounds = torch.arange(nodes + 1, device="cuda")
    topology = CompressedEdges(
        senders,
        receivers,
        torch.searchsorted(receivers, bounds),
        order,
        torch.searchsorted(senders[order], bounds),
    )
    y = torch.cat([small.y.new_ones(others, small.y.shape[1]), small.y])
    w = small.w.new_zeros(edges, *small.w.shape[1:])
    w[others:] = small.w
    constants = (*topology, *small.table)

    messages = ops.convolve(small.x, y, w, *constants)
    x_bar, y_bar, w_bar = ops.convolve_backward(small.x, y, w, small.g, *constants)

    constants = (*small.topology, *small.table)
    expected = ops.convolve(*small[:3], *constants)
    by_x, by_y, by_w = ops.convolve_backward(*small[:4], *constants)
    assert_close(messages, expected, rtol=0, atol=1e-4)
    assert_close(x_bar, by_x, rtol=0, atol=1e-3)
    assert_close(y_bar[others:], by_y, rtol=0, atol=1e-3)
    assert_close(w_bar[others:], by_w, rtol=0, atol=1e-3)


def test_operands_that_do_not_fit_are_refused():
    inputs = on_gpu(random_inputs(TensorProductSpec(1, 1, 1), channels=3))
    x, y, w = inputs[:3]
    constants = (*inputs.topology, *inputs.table)

    for operands, message in (
        ((x.half(), y, w), "x must be float32 or float64, got float16"),
        ((x, y.float(), w), "y must be float64, got float32"),
        ((x, y.cpu(), w), "y must be on the GPU that x is on"),
        ((x, y, w[:, :2].contiguous()), r"w must have shape \(edges, paths, channels"),
        ((x[:, :1].contiguous(), y, w), "x has 1 components, too few for a path"),
        ((x, y.mT.contiguous().mT, w), "y must be contiguous"),
    ):
        with pytest.raises(RuntimeError, match=message):
            ops.convolve(*operands, *constants)


def test_an_index_that_does_not_exist_ends_with_an_error():
    """In a process of its own: a GPU that has seen an error cannot be used again."""
    script = """
import torch
from equipot.tensor_products import TensorProductSpec
from tests.cuda.simulation import random_inputs
from tests.cuda.test_on_gpu import on_gpu
inputs = on_gpu(random_inputs(TensorProductSpec(1, 1, 1), channels=3))
topology = inputs.topology._replace(senders=inputs.topology.senders + 1000)
torch.ops.equipot.convolve(*inputs[:3], *topology, *inputs.table)
torch.cuda.synchronize()
"""
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert answer.returncode != 0
    told = answer.stdout + answer.stderr
    assert "senders and receivers must be nodes" in told
