"""What nvcc makes of the CUDA kernels, on a machine that needs no GPU."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cuda_resources
import pytest

ROOT = Path(__file__).parents[2]
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
OPS = ("convolve", "convolve_backward", "convolve_double_backward")

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc to compile kernels")


@pytest.fixture(scope="module")
def told():
    """What ptxas told when the library was built."""
    return cuda_resources.build()


@pytest.fixture(scope="module")
def budget():
    return json.loads(cuda_resources.BUDGET.read_text())


@needs_nvcc
@pytest.mark.slow
def test_every_kernel_is_compiled_for_every_architecture(told):
    kernels = cuda_resources.parse(told)

    products = {name.rsplit(" float", 1)[0] for name in kernels}
    assert {f"({n}, {n}, {n}) O(3)" for n in (1, 2, 3)} < products
    assert "any" in products
    assert len(kernels) == len(products) * 2 * len(cuda_resources.PASSES)
    for own in kernels.values():
        assert set(own) == set(cuda_resources.ARCHITECTURES)


@needs_nvcc
@pytest.mark.slow
def test_no_kernel_exceeds_its_budget(told, budget, record_property):
    version = subprocess.run([NVCC, "--version"], capture_output=True, check=True)
    if budget["compiler"] not in version.stdout.decode():
        pytest.skip(f"the budget is of another compiler: {budget['compiler']}")
    kernels = cuda_resources.parse(told)

    most = max(r.registers for own in kernels.values() for r in own.values())
    spilling = sum(r.spill_bytes > 0 for own in kernels.values() for r in own.values())
    record_property(
        "measured",
        f"CUDA kernels: at most {most} registers, {spilling} of "
        f"{sum(map(len, kernels.values()))} spill",
    )
    exceeded = cuda_resources.exceeded(budget["kernels"], kernels)
    assert not exceeded, "run scripts/cuda_resources.py if this is meant to be"


def test_a_kernel_that_needs_more_is_noticed(budget):
    name, own = next(iter(budget["kernels"].items()))
    found = {
        name: {
            architecture: cuda_resources.Resources(
                resources["registers"] + 1, resources["spill_bytes"] + 4
            )
            for architecture, resources in own.items()
        },
        "new": {"sm_90": cuda_resources.Resources(32, 0)},
    }

    lines = cuda_resources.exceeded(budget["kernels"], found)

    assert len(lines) == 2 * len(own) + 2
    assert cuda_resources.exceeded(budget["kernels"], {}) == []


def test_the_table_of_resources_is_up_to_date(budget):
    page = cuda_resources.PAGE.read_text(encoding="utf-8")

    written = cuda_resources.page_with(cuda_resources.table(budget), page)
    assert page == written, "run: python scripts/cuda_resources.py"


@needs_nvcc
@pytest.mark.slow
def test_the_library_registers_kernels_for_cuda(told, tmp_path):
    """Without CUDA in PyTorch it loads with a stand-in for the one missing symbol."""
    stub = tmp_path / "libtorch_cuda.so"
    source = tmp_path / "stub.c"
    source.write_text(
        "int aoti_torch_get_current_cuda_stream(int device, void** stream) {\n"
        "  (void)device, (void)stream;\n"
        "  return 1;\n"
        "}\n"
    )
    name = "-Wl,-soname,libtorch_cuda.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", name, str(source), "-o", str(stub)], check=True
    )
    script = f"""
import ctypes, torch
import equipot.ops
has = torch._C._dispatch_has_kernel_for_dispatch_key
ops = {OPS!r}
assert not any(has("equipot::" + op, "CUDA") for op in ops)
try:
    torch.ops.load_library({str(cuda_resources.BUILD / "equipot_cuda.so")!r})
except OSError:
    print("refused")
ctypes.CDLL({str(stub)!r}, ctypes.RTLD_GLOBAL)
torch.ops.load_library({str(cuda_resources.BUILD / "equipot_cuda.so")!r})
print(*(has("equipot::" + op, "CUDA") for op in ops))
x, y, w = torch.zeros(2, 1, 3), torch.zeros(0, 1), torch.zeros(0, 1, 3)
none, pointers = torch.zeros(0).long(), torch.zeros(3).long()
topology = none, none, pointers, none, pointers
table = [0, 0, 0], none.int(), none.int(), torch.zeros(0), 1, False
cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
for features in (x, x.half()):
    try:
        op = torch.ops.equipot.convolve.default
        op.redispatch(cuda, features, y, w, *topology, *table)
    except RuntimeError as error:
        print(str(error).splitlines()[0])
"""
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    lines = answer.stdout.splitlines()
    assert lines[:2] == ["refused", "True True True"]
    assert "x must be on the GPU" in lines[2]
    assert "x must be float32 or float64, got float16" in lines[3]
