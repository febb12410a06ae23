"""Libraries are used if they fit, and refused with what to do if not."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from equipot.graph.connectivity import Connectivity
from equipot.ops import library
from equipot.ops.library import Library, LibraryUnavailableError
from equipot.tensor_products import Fused, TensorProductSpec, unavailable
from equipot.tensor_products.base import BackendUnavailableError

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def test_ops_for_the_cpu_are_compiled_from_the_present_sources():
    """What `make setup` leaves behind; tests of kernels would else test nothing."""
    assert library.LIBRARIES["cpu"].problem is None
    assert library.cpu_instruction_set() in library.LIBRARIES["cpu"].manifest["isas"]
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    for name in ("convolve", "convolve_backward", "convolve_double_backward"):
        assert has_kernel(f"equipot::{name}", "CPU")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package with sources and a library that was built from them."""
    sources = tmp_path / "cuda_ext" / "cpu"
    sources.mkdir(parents=True)
    (sources / "kernels.cpp").write_text("int one() { return 1; }")
    (tmp_path / "cuda_ext" / "build.py").touch()
    monkeypatch.setattr(library, "ROOT", tmp_path)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    write_library(tmp_path)
    return tmp_path


def write_library(tree, **changes):
    sources = {
        path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tree / "cuda_ext" / "cpu").iterdir()
    }
    manifest = {"abi": library.ABI, "sources": sources, **changes}
    content = b"ELF\0equipot-manifest:" + json.dumps(manifest).encode() + b"\0code"
    (tree / "equipot_cpu.so").write_bytes(content)


def test_library_of_the_present_sources_is_loaded(tree):
    loaded = library._load("cpu")

    assert loaded.problem is None
    assert list(loaded.manifest["sources"]) == ["cuda_ext/cpu/kernels.cpp"]


def test_missing_library(tree):
    (tree / "equipot_cpu.so").unlink()

    assert library._load("cpu") == Library("cpu", "are not built", {})


def test_changed_source(tree):
    (tree / "cuda_ext" / "cpu" / "kernels.cpp").write_text("int one() { return 2; }")

    assert library._load("cpu").problem == (
        "were not built from the present cuda_ext/cpu/kernels.cpp"
    )


@pytest.mark.parametrize("change", ["added", "removed"])
def test_other_sources(tree, change):
    sources = tree / "cuda_ext" / "cpu"
    if change == "added":
        (sources / "more.cpp").touch()
    else:
        (sources / "kernels.cpp").unlink()

    assert str(library._load("cpu").problem).startswith("were not built from the prese")


def test_other_version_of_the_ops(tree):
    write_library(tree, abi=library.ABI + 1)

    assert library._load("cpu").problem == (
        f"were built for ABI version {library.ABI + 1}, but this package needs "
        f"version {library.ABI}"
    )


def test_file_that_is_no_library_of_ours(tree):
    (tree / "equipot_cpu.so").write_bytes(b"ELF")

    assert "were built for ABI version None" in str(library._load("cpu").problem)


def test_library_that_does_not_load(tree, monkeypatch):
    def fail(path):
        raise OSError("undefined symbol: nonsense")

    monkeypatch.setattr(torch.ops, "load_library", fail)

    assert library._load("cpu").problem == (
        "cannot be loaded (undefined symbol: nonsense)"
    )


def test_installed_package_has_no_sources_to_compare(tree):
    shutil.rmtree(tree / "cuda_ext")

    assert library._load("cpu").problem is None


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "FOLDER_OF_THE_SOURCES"),
        ('{"url": "file:///nowhere/equipot", "dir_info": {}}', "FOLDER_OF_THE_SOURCES"),
        ("sources", "'{}'"),
        (
            '{"url": "https://x/e.git", "vcs_info": {"vcs": "git", "commit_id": "a1"}}',
            "'git+https://x/e.git@a1'",
        ),
    ],
)
def test_the_command_of_an_installed_package_names_its_sources(
    tree, tmp_path, monkeypatch, origin, expected
):
    shutil.rmtree(tree / "cuda_ext")
    sources = tmp_path / "my sources"
    (sources / "cuda_ext").mkdir(parents=True)
    (sources / "cuda_ext" / "build.py").touch()
    if origin == "sources":
        origin = json.dumps({"url": sources.as_uri(), "dir_info": {}})
    distribution = type("D", (), {"read_text": lambda self, name: origin})
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: distribution())

    command = library._load("cpu").command

    assert command.endswith(f"--force-reinstall {expected.format(sources)}")
    assert "EQUIPOT_BUILD=cpu pip install --no-build-isolation" in command


def test_the_command_holds_in_any_folder(tmp_path, monkeypatch):
    problem = Library("cpu", "are not built", {})
    monkeypatch.chdir(tmp_path)
    assert problem.command == f"python {ROOT}/cuda_ext/build.py cpu"
    monkeypatch.chdir(ROOT)
    assert problem.command == "python cuda_ext/build.py cpu"


def test_no_message_tells_to_install_a_package_of_our_name_from_an_index():
    pattern = re.compile(r"pip install[^\n]*\bequipot\b(?!/)")
    texts = [*ROOT.glob("equipot/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    found = [
        f"{path}: {match[0]}"
        for path in texts
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_problem_is_told_with_the_command_that_mends_it(monkeypatch):
    problem = Library("cpu", "are not built", {})
    monkeypatch.setitem(library.LIBRARIES, "cpu", problem)
    message = (
        "the compiled ops for cpu are not built: run `python cuda_ext/build.py cpu`, "
        "or choose another backend, such as 'clebsch_gordan'"
    )

    assert unavailable("fused", CPU) == message
    with pytest.raises(LibraryUnavailableError, match="are not built: run `python"):
        library.require(CPU)


def test_device_without_kernels():
    assert "no compiled ops for device 'mps', only for cpu, cuda" in str(
        library.unavailable(torch.device("mps"))
    )
    assert library.unavailable(torch.device("meta")) is None


def test_backend_never_falls_back_to_the_reference(monkeypatch):
    spec = TensorProductSpec(1, 1, 1)
    backend = Fused(spec)
    connectivity = Connectivity(torch.tensor([[0], [1]]), 2)
    edges = backend.prepare(torch.tensor([[1.0, 0.0, 0.0]]), connectivity)
    x, weights = torch.ones(2, 4, 3), torch.ones(1, spec.num_weights, 3)
    assert backend(x, edges, weights).any()
    for device in ("cpu", "cuda"):
        problem = Library(device, "are not built", {})
        monkeypatch.setitem(library.LIBRARIES, device, problem)

    with pytest.raises(BackendUnavailableError, match="'fused': the compiled ops"):
        backend(x, edges, weights)
    with pytest.raises(BackendUnavailableError, match=r"build\.py cpu`, or choose"):
        Fused(spec)


def run_build(*arguments, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "cuda_ext" / "build.py", *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_build_without_compiler_says_how_to_get_one(tmp_path):
    result = run_build("cpu", "--output", tmp_path, CXX="no-such-compiler")

    assert result.returncode == 1
    assert "no C++ compiler: 'no-such-compiler' is not on PATH; inst" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_build_again_does_nothing():
    path = ROOT / "equipot" / "ops" / "lib" / "equipot_cpu.so"
    before = path.read_bytes()

    result = run_build("cpu")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert path.read_bytes() == before
