"""Reader of files of ``torch.package`` that runs nothing of them.

Such a file is a zip with pickles, the numbers of their tensors, texts, and the source
code of the classes that the pickles name. The code is never looked at.
"""

from pathlib import Path
from typing import Final

from equipot.conversion.errors import ConversionError
from equipot.conversion.torch_archive import (
    TorchArchive,
    check_byte_order,
    folder_of,
    interpreted,
    is_zip_with,
)
from equipot.conversion.zip_members import ZipMembers

MARK: Final = ".data/extern_modules"
"""Member that every such file has."""
MAX_TEXT_BYTES = 2**20
"""Bytes of a text."""


def is_torch_package(path: Path, resource: str) -> bool:
    """Whether a file is of ``torch.package`` and has a resource.

    Args:
        path: The file.
        resource: Such as ``model/model.pkl``.

    Raises:
        ConversionError: If it is a zip that is damaged.
    """
    return is_zip_with(path, MARK, resource)


def read_torch_package(
    path: Path, resource: str, *, numbers: bool = True
) -> TorchArchive:
    """Read a pickle of a file of ``torch.package``.

    Args:
        path: The file.
        resource: Of the pickle, such as ``model/model.pkl``.
        numbers: As of `read_torch_archive`.

    Raises:
        ConversionError: If it is damaged, too large, or names what no file of a model
            needs.
    """
    with ZipMembers(path) as members:
        folder = folder_of(members)
        check_byte_order(members, folder)
        storage = f"{folder}.data/{{}}.storage"
        return interpreted(members, f"{folder}{resource}", storage, numbers)


def read_package_text(path: Path, resource: str) -> str:
    """A text of a file of ``torch.package``.

    Args:
        path: The file.
        resource: Such as ``model/config.yaml``.

    Raises:
        ConversionError: If it is missing, too long, or no text.
    """
    with ZipMembers(path) as members:
        name = f"{folder_of(members)}{resource}"
        if members.sizes.get(name, 0) > MAX_TEXT_BYTES:
            raise ConversionError(f"{path}: {resource} is longer than {MAX_TEXT_BYTES}")
        try:
            return members.read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConversionError(f"{path}: {resource} is no text") from error
