"""Reader of files of `torch.package`."""

from pathlib import Path

import pytest
import torch
from torch.package import PackageExporter

from equipot.conversion.convert import find_source, read_model
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources import nequip
from equipot.conversion.torch_archive import is_torch_archive
from equipot.conversion.torch_package import (
    is_torch_package,
    read_package_text,
    read_torch_package,
)

RESOURCE = "model/eager_model.pkl"
# of torch.package itself
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.nequip.zip"
    with PackageExporter(path) as exporter:
        content = {"weight": torch.arange(6.0).reshape(2, 3), "names": ["Si", "H"]}
        exporter.save_pickle("model", "eager_model.pkl", content)
        exporter.save_text(
            "model", "package_metadata.txt", "versions:\n  nequip: 0.19.1\n"
        )
    return path


def test_tensors_and_texts_are_read(path):
    root = read_torch_package(path, RESOURCE).root

    torch.testing.assert_close(root["weight"], torch.arange(6.0).reshape(2, 3))
    assert root["names"] == ["Si", "H"]
    text = read_package_text(path, "model/package_metadata.txt")
    assert text.splitlines()[1] == "  nequip: 0.19.1"


def test_a_package_is_no_file_of_torch_save(path):
    saved = path.with_name("saved.pt")
    torch.save({}, saved)

    assert is_torch_package(path, RESOURCE)
    assert not is_torch_archive(path)
    assert not is_torch_package(saved, RESOURCE)
    assert not is_torch_package(path, "model/other.pkl")


def test_members_that_are_missing_are_named(path):
    with pytest.raises(
        ConversionError, match=r"no member small.nequip/model/other.txt"
    ):
        read_package_text(path, "model/other.txt")


def test_a_package_of_nequip_without_a_model_is_refused(path):
    assert find_source(path) is nequip.SOURCE
    with pytest.raises(ConversionError, match="expected sole_model"):
        read_model(path, nequip.SOURCE)
