"""Least operations and traffic of the kernels, against counts by hand."""

import pytest
import torch

from benchmarks.roofline import KERNELS, STEP_KERNELS, Work, kernel_work
from equipot.bench.steps import STEPS
from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import TensorProductSpec

CONNECTIVITY = Connectivity(torch.zeros(2, 100, dtype=torch.int64), 10)
SPEC = TensorProductSpec(1, 1, 1)


def test_work_of_the_forward_product_counted_by_hand():
    """lmax 1: edge matrices take 48 operations, rotation 52; 4 weights, 4 harmonics."""
    least = kernel_work("convolve", SPEC, CONNECTIVITY, 8)

    assert least.operations == 100 * 8 * 48
    nodes, edges = 10 * 8 * (4 + 4), 100 * (4 + 8 * 4)
    assert least.bytes == 4 * (nodes + edges) + 8 * 100


def test_time_is_that_of_the_slower_of_arithmetic_and_memory():
    least = kernel_work("convolve", SPEC, CONNECTIVITY, 8)

    assert least.seconds(Work(1.0, 1e9)) == least.operations
    assert least.seconds(Work(1e9, 1.0)) == least.bytes


def test_steps_take_one_three_and_eight_products():
    assert set(STEP_KERNELS) == set(STEPS)
    products = [sum(KERNELS[k].products for k in STEP_KERNELS[s]) for s in STEPS]
    assert products == [1, 3, 8]
    forward = kernel_work("convolve", SPEC, CONNECTIVITY, 8)
    for kernel, passes in KERNELS.items():
        own = kernel_work(kernel, SPEC, CONNECTIVITY, 8)
        assert own.operations == pytest.approx(passes.products * forward.operations)
