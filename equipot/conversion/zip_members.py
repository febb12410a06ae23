"""Members of a zip file that stores without compression, with bounds on all sizes."""

import struct
import zipfile
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, final

from equipot.conversion.errors import ConversionError

MAX_FILE_BYTES = 2**33
"""Larger files are refused."""
MAX_MEMBERS = 100_000
"""Members of a file."""
MAX_DIRECTORY_BYTES = 2**26
"""Size of the directory at the end of the file."""
ENCRYPTED = 0x41
"""Flags of a member: encrypted, or strongly so."""
_END, _LOCATOR, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_BYTES, _LOCATOR_BYTES, _END_64_BYTES = 22, 20, 56


@final
class ZipMembers:
    """Names and sizes of the members, which can be read one by one.

    Args:
        path: A zip file.

    Raises:
        ConversionError: If it is no zip file, truncated, too large, or has members that
            are compressed, encrypted, there twice, or outside of their folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        try:
            _check_directory(self._file, path)
            self._zip = zipfile.ZipFile(self._file)
            self.sizes = _checked(self._zip.infolist(), path)
        except ConversionError:
            self._file.close()
            raise
        except Exception as error:  # zipfile leaks several types
            self._file.close()
            raise _damaged(path, error) from error
        """Bytes of each member by name."""

    def __enter__(self) -> "ZipMembers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> bytearray:
        """Content of a member.

        Raises:
            ConversionError: If it is missing, or does not match its checksum.
        """
        if name not in self.sizes:
            raise ConversionError(f"{self.path} has no member {name[:200]}")
        try:
            content = bytearray(self._zip.read(name))
        except Exception as error:  # zipfile leaks several types
            raise _damaged(self.path, error) from error
        if len(content) != self.sizes[name]:
            raise ConversionError(f"{self.path}: {name[:200]} is truncated")
        return content


def _checked(members: list[zipfile.ZipInfo], path: Path) -> dict[str, int]:
    """Sizes of members that are all as they should be."""
    for member in members:
        name = member.filename
        if member.flag_bits & ENCRYPTED:
            raise ConversionError(f"{path}: {name[:200]} is encrypted")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ConversionError(
                f"{path}: {name[:200]} is compressed; torch.save stores without "
                "compression, and a small compressed file can fill the memory"
            )
        if member.file_size != member.compress_size:
            raise ConversionError(f"{path}: {name[:200]} has two sizes")
        outside = ".." in PurePosixPath(name).parts or name.startswith("/")
        if outside or "\\" in name or ":" in name:
            raise ConversionError(f"{path}: {name[:200]} is outside of the archive")
    sizes = {member.filename: member.file_size for member in members}
    if len(sizes) != len(members):
        raise ConversionError(f"{path} has two members of one name")
    if sum(sizes.values()) > path.stat().st_size:
        raise ConversionError(f"{path} has members that overlap")
    return sizes


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Bounds of the directory, before zipfile reads all of it into memory."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConversionError(f"{path} has {size} bytes, more than {MAX_FILE_BYTES}")
    tail_bytes = min(size, _END_BYTES + _LOCATOR_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END):
        raise ConversionError(
            f"{path} is not a complete zip file: it is truncated, or of another kind"
        )
    count, length = struct.unpack("<10xHI6x", end)
    if tail.startswith(_LOCATOR):
        (offset,) = struct.unpack("<8xQ4x", tail[:_LOCATOR_BYTES])
        file.seek(min(offset, size))
        end_64 = file.read(_END_64_BYTES)
        if len(end_64) < _END_64_BYTES or not end_64.startswith(_END_64):
            raise ConversionError(f"{path} is damaged: its directory is not found")
        count, length = struct.unpack("<32xQQ8x", end_64)
    if count > MAX_MEMBERS or length > min(size, MAX_DIRECTORY_BYTES):
        raise ConversionError(
            f"{path} claims {count} members in a directory of {length} bytes"
        )
    file.seek(0)


def _damaged(path: Path, error: Exception) -> ConversionError:
    return ConversionError(f"{path} is a damaged zip file: {str(error)[:200]}")
