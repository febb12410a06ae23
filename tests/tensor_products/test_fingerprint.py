"""What measurements and verdicts are bound to: all code that computes, and no other."""

from pathlib import Path

import grimp
import pytest
import torch

import equipot
from equipot.ops import library
from equipot.tensor_products import fingerprint as module
from equipot.tensor_products.fingerprint import MODEL_CODE, PRODUCT_CODE, fingerprint

ROOT = Path(equipot.__file__).parent
NOT_COMPUTING = {
    "config/base.py",
    "data/errors.py",
    "data/labels.py",
    "data/ragged.py",
    "data/references.py",
    "hardware.py",
    "config/__init__.py",
    "data/__init__.py",
}
"""Imported by what computes, but without effect on a prediction or its time."""


@pytest.fixture(scope="module")
def imports():
    """Of the package, without what only modules import that do not compute."""
    graph = grimp.build_graph("equipot", exclude_type_checking_imports=True)
    for path in NOT_COMPUTING:
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        graph.remove_module(f"equipot.{name}")
    return graph


def file_of(name):
    place = ROOT.joinpath(*name.split(".")[1:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        (PRODUCT_CODE, ["tensor_products.trial", "tensor_products.fused"]),
        (MODEL_CODE, ["verify.backend", "verify.golden", "tensor_products.trial"]),
    ],
)
def test_everything_that_computes_is_hashed(imports, code, modules):
    needed = set()
    for name in modules:
        needed |= {f"equipot.{name}", *imports.find_upstream_modules(f"equipot.{name}")}
    hashed = {
        path.relative_to(ROOT).as_posix()
        for name in code
        for path in (
            (ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name]
        )
    }

    assert {file_of(name) for name in needed} - hashed - NOT_COMPUTING == set()
    assert not {"interrupt.py", "run_folder.py", "checkpoint.py"} & hashed


@pytest.mark.parametrize("change", ["edit", "rename"])
def test_an_edit_of_the_code_is_another_fingerprint(tmp_path, monkeypatch, change):
    package = tmp_path / "equipot"
    (package / "nn" / "deep").mkdir(parents=True)
    (package / "graph.py").write_text("a = 1\n")
    (package / "nn" / "deep" / "radial.py").write_text("b = 1\n")
    (package / "other.py").write_text("c = 1\n")
    monkeypatch.setattr(equipot, "__file__", str(package / "__init__.py"))

    def now():
        module._sources.cache_clear()
        return module._sources(("graph.py", "nn"))

    before = now()
    (package / "other.py").write_text("c = 2\n")
    assert now() == before

    if change == "edit":
        (package / "nn" / "deep" / "radial.py").write_text("b = 2\n")
    else:
        (package / "nn" / "deep" / "radial.py").rename(package / "nn" / "radial.py")

    assert now() != before
    module._sources.cache_clear()


def test_the_compiled_library_and_its_instructions_are_part_of_it():
    if library.unavailable(torch.device("cpu")) is not None:
        pytest.skip("the compiled ops are not built")

    found = fingerprint(torch.device("cpu"))

    assert len(found["compiled ops"]) == 16
    assert found["instructions"] == library.cpu_instruction_set()
    assert found["sources"] != fingerprint(torch.device("cpu"), MODEL_CODE)["sources"]


def test_another_library_file_is_another_fingerprint(tmp_path):
    path = tmp_path / "equipot_cpu.so"
    path.write_bytes(b"one")
    first = module._hash(path)
    (tmp_path / "other.so").write_bytes(b"two")

    assert module._hash(tmp_path / "other.so") != first
