"""The simulator finds what is wrong with a kernel, and nothing else."""

import ctypes

import pytest
import torch

from tests.cuda.simulation import COMPILER, build

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs g++")

THREADS = 64
SEEDS = range(4)


def simulate(kernel: str, seed: int) -> torch.Tensor:
    function = build("planted_faults.cpp").simulate
    function.restype = ctypes.c_char_p
    out = torch.zeros(THREADS, dtype=torch.float64)
    error = function(kernel.encode(), ctypes.c_void_p(out.data_ptr()), seed)
    if error is not None:
        raise RuntimeError(error.decode())
    return out


def test_a_correct_kernel_gives_the_same_under_every_schedule():
    """Each thread ends with the number of the third after it, plus 0 + 1 + 2."""
    expected = (torch.arange(THREADS) + 3) % THREADS + 3.0

    for seed in SEEDS:
        assert torch.equal(simulate("correct", seed), expected.double())


@pytest.mark.parametrize("kernel", ["reads_too_early", "writes_too_early"])
def test_a_missing_barrier_is_found(kernel):
    right = simulate("correct", 0)

    assert any(not torch.equal(simulate(kernel, seed), right) for seed in SEEDS)


def test_shared_memory_that_nobody_wrote_is_nan():
    for seed in SEEDS:
        out = simulate("reads_unwritten", seed)

        assert out.isnan().nonzero().flatten().tolist() == [6]


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("diverges", "threads of a block do not meet: .* 24 have returned"),
        ("meets_elsewhere", "threads of a block do not meet: .* 32 elsewhere"),
        ("shuffles_half_a_warp", "lanes of a warp do not meet: .* 16 have returned"),
        ("forgets_a_lane", "lanes of a warp do not meet: .* 1 have returned"),
        ("writes_beyond", "wrote beyond its 512 bytes of shared memory"),
    ],
)
def test_what_is_undefined_on_a_gpu_is_an_error(kernel, message):
    for seed in SEEDS:
        with pytest.raises(RuntimeError, match=message):
            simulate(kernel, seed)
