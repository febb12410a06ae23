"""Reader of files of ``torch.save`` that runs nothing of them.

Such a file is a zip, uncompressed: a pickle, and the numbers of each tensor. Here the
pickle describes, and does not act (`pickle_machine`): classes are inert records. Four
kinds of records are given a meaning, by the code below: tensors and parameters, arrays
of NumPy, ordered dictionaries, and bytes. Every size is compared with that of the file
before memory is used for it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.pickle_machine import MAX_PICKLE_BYTES, read_pickle
from equipot.conversion.records import Global, Record
from equipot.conversion.zip_members import ZipMembers

MAX_NUMBERS = 2**28
"""Numbers of all tensors together, as many views as there are of one storage."""
MAX_DIMENSIONS = 16
"""Indices of a tensor."""
PACKAGES: Final = frozenset(
    {"torch", "e3nn", "mace", "sevenn", "matgl", "nequip", "nequix", "allegro"}
    | {"numpy", "collections", "opt_einsum_fx", "cuequivariance_torch", "ase"}
    | {"argparse", "pathlib"}
)
"""Packages whose names a file may hold. None of them is imported on its behalf."""
BUILTINS: Final = frozenset(
    {"_codecs.encode"}
    | {
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "bytes", "getattr", "slice")
    }
)
"""Further names that a file may hold. With ``getattr``, pickles name functions such as
``torch.tanh``; a call of it for anything else is refused."""
FUNCTIONS: Final = "torch._C._VariableFunctionsClass"
"""Class that functions of torch are attributes of, in pickles."""
STORAGES: Final = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
"""Types of tensors."""
ARRAYS: Final = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}
"""Types of arrays of NumPy."""
NONLINEARITIES: Final = ("abs", "tanh")
"""Functions of torch that files may name as attributes."""
RECONSTRUCT: Final = frozenset(
    f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")
)
"""Functions of NumPy that make an empty array, whose state is set afterwards."""
LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of files of PyTorch before 1.6."""


@final
@dataclass(frozen=True)
class TorchArchive:
    """Content of a file of ``torch.save``."""

    root: Any
    """What was saved: a `Record` for a module; dictionaries, lists, tuples, texts,
    numbers, tensors on the CPU in their own type, and records for all other objects."""
    names: frozenset[str]
    """Classes and functions that the file names."""


def is_torch_archive(path: Path) -> bool:
    """Whether a file is a zip with a pickle in it, as ``torch.save`` writes them.

    Raises:
        ConversionError: If it is a zip that is damaged.
    """
    return is_zip_with(path, "data.pkl")


def is_zip_with(path: Path, *names: str) -> bool:
    """Whether a file is a zip with these members in its folder.

    Raises:
        ConversionError: If it is a zip that is damaged.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    with ZipMembers(path) as members:
        folder = folder_of(members)
        return all(f"{folder}{name}" in members.sizes for name in names)


def read_torch_archive(path: Path, *, numbers: bool = True) -> TorchArchive:
    """Read a file of ``torch.save``.

    Args:
        path: The file.
        numbers: Whether tensors are read; otherwise they are on the device ``meta``:
            shapes without numbers, to look at what a file is.

    Raises:
        FileNotFoundError: If there is no file.
        ConversionError: If it is damaged, of another format, too large, or names what
            no file of a model needs.
    """
    _check_kind(path)
    with ZipMembers(path) as members:
        folder = _checked_folder(members)
        return interpreted(members, f"{folder}data.pkl", f"{folder}data/{{}}", numbers)


def interpreted(
    members: ZipMembers, pickle: str, storage: str, numbers: bool
) -> TorchArchive:
    """Content of a pickle in an archive.

    Args:
        members: Of the archive.
        pickle: Member with the pickle.
        storage: Members with the numbers of tensors, with ``{}`` for their keys.
        numbers: Whether tensors are read.

    Raises:
        ConversionError: If it is damaged, too large, or names what no file of a model
            needs.
    """
    if members.sizes.get(pickle, 0) > MAX_PICKLE_BYTES:
        raise ConversionError(
            f"{members.path}: the pickle is larger than {MAX_PICKLE_BYTES}"
        )
    content = bytes(members.read(pickle))
    try:
        root, names = read_pickle(
            content, _Meaning(members, storage, numbers), _is_known
        )
    except ConversionError as error:
        raise error.of(members.path) from error.__cause__
    return TorchArchive(root, frozenset(names))


def _is_known(name: str) -> bool:
    return name in BUILTINS or name.split(".", maxsplit=1)[0] in PACKAGES


def _check_kind(path: Path) -> None:
    """Refuse older formats, and what is no zip."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open("rb") as file:
        start = file.read(300)
    if start.startswith(LEGACY):
        raise ConversionError(
            f"{path} is in the format of PyTorch before 1.6 (July 2020), which is not "
            "read: load it where you trust it, with the package that wrote it, and "
            "save it again with a newer PyTorch"
        )
    if start.startswith(b"\x80"):
        raise ConversionError(
            f"{path} is a bare pickle, not a file of torch.save; it is not read"
        )
    if start[257:262] == b"ustar":
        raise ConversionError(f"{path} is a tar archive, not a file of torch.save")
    if not start.startswith(b"PK\x03\x04"):
        raise ConversionError(f"{path} is not a file of torch.save")


def folder_of(members: ZipMembers) -> str:
    """Folder that everything is in, with a slash."""
    return next(iter(members.sizes), "").split("/")[0] + "/"


def _checked_folder(members: ZipMembers) -> str:
    """The folder of an archive that has the layout of ``torch.save``."""
    path, folder = members.path, folder_of(members)
    if outside := [name for name in members.sizes if not name.startswith(folder)]:
        raise ConversionError(
            f"{path}: {outside[0][:200]} is outside of the folder {folder[:200]} that "
            "torch.save puts everything in"
        )
    if any(name.startswith(f"{folder}code/") for name in members.sizes) or (
        f"{folder}constants.pkl" in members.sizes
    ):
        raise ConversionError(
            f"{path} is a TorchScript archive: a compiled program, not the model. Use "
            "the file that it was compiled from"
        )
    if f"{folder}data.pkl" not in members.sizes:
        raise ConversionError(f"{path} has no data.pkl: torch.save did not write it")
    check_byte_order(members, folder)
    return folder


def check_byte_order(members: ZipMembers, folder: str) -> None:
    """Refuse archives of big-endian machines.

    Args:
        members: Of the archive.
        folder: That everything is in, with a slash.

    Raises:
        ConversionError: If its byte order is another one, or damaged.
    """
    path, order = members.path, f"{folder}byteorder"
    if order in members.sizes and members.sizes[order] > 16:
        raise ConversionError(f"{path} is damaged: its byte order is no word")
    if order in members.sizes and members.read(order) != b"little":
        raise ConversionError(
            f"{path} was written on a big-endian machine; save it again on another"
        )


@final
@dataclass(frozen=True)
class _Storage:
    """Numbers that tensors are views of."""

    dtype: torch.dtype
    member: str
    numel: int


@final
@dataclass
class _Meaning:
    """What names in files of ``torch.save`` stand for; see `pickle_machine.Meaning`."""

    members: ZipMembers
    storage: str
    numbers: bool
    made: int = 0
    read: dict[str, Tensor] = field(default_factory=dict)

    def call(self, record: Record) -> Any:
        """Value of a tensor, a dictionary or bytes; the record of all other calls."""
        made: dict[str, Callable[[tuple[Any, ...]], Any]] = {
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _first,
            "torch.Size": _size,
            "collections.OrderedDict": _ordered,
            "_codecs.encode": _encoded,
            "__builtin__.getattr": _function,
            "builtins.getattr": _function,
            "__builtin__.bytes": _no_bytes,
            "builtins.bytes": _no_bytes,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy._core.multiarray.scalar": self._scalar,
        }
        if record.name not in made:
            return record
        if record.kwargs:
            raise ConversionError(f"{record.name} is called with keywords")
        return made[record.name](record.args)

    def build(self, record: Record) -> Any:
        """Arrays of NumPy, whose numbers are in the state."""
        return self._array(record.state) if record.name in RECONSTRUCT else record

    def persistent(self, identifier: Any) -> _Storage:
        """Storage of a tensor: ``("storage", type, key, device, count)``."""
        if type(identifier) is not tuple or len(identifier) != 5:
            raise ConversionError("the file refers to what is no storage of a tensor")
        word, kind, key, _, numel = identifier
        if word != "storage" or not isinstance(kind, Global):
            raise ConversionError("the file refers to what is no storage of a tensor")
        if kind.name not in STORAGES:
            raise ConversionError(
                f"a tensor is of a type that is not read: {kind.name[:100]}"
            )
        if type(key) is int:  # in files of torch.package
            key = str(key)
        if type(key) is not str or not (key.isascii() and key.isdecimal()):
            raise ConversionError("a storage has a key that is no number")
        dtype, member = STORAGES[kind.name], self.storage.format(key)
        if type(numel) is not int or numel < 0:
            raise ConversionError(f"storage {key[:20]} has no valid size")
        if self.members.sizes.get(member) != numel * dtype.itemsize:
            raise ConversionError(
                f"storage {key[:20]} of {numel} numbers is missing, or of another size"
            )
        return _Storage(dtype, member, numel)

    def _tensor(self, args: tuple[Any, ...]) -> Tensor:
        """A contiguous copy of a view of a storage."""
        if len(args) < 4 or not isinstance(args[0], _Storage):
            raise ConversionError("a tensor without a storage")
        storage, offset, shape, stride = args[:4]
        if not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise ConversionError("a tensor without a shape")
        whole = (offset, *shape, *stride)
        if any(type(n) is not int or not 0 <= n < 2**62 for n in whole):
            raise ConversionError(
                "a tensor has an offset, a shape or a stride that is negative or no "
                "integer"
            )
        self._count(shape, stride)
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if math.prod(shape) and last >= storage.numel:
            raise ConversionError(
                f"a tensor of shape {shape} reaches beyond its storage of "
                f"{storage.numel} numbers"
            )
        if not self.numbers or not math.prod(shape):
            device = "cpu" if self.numbers else "meta"
            return torch.empty(shape, dtype=storage.dtype, device=device)
        return (
            self._storage(storage)
            .as_strided(shape, stride, offset)
            .clone(memory_format=torch.contiguous_format)
        )

    def _count(self, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        """Bound of all tensors together: a stride of zero repeats numbers."""
        if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
            raise ConversionError("a tensor has a shape that does not fit its strides")
        self.made += math.prod(shape)
        if self.made > MAX_NUMBERS:
            raise ConversionError(
                f"the tensors have more than {MAX_NUMBERS} numbers together"
            )

    def _storage(self, storage: _Storage) -> Tensor:
        """Numbers of a storage, read once."""
        if storage.member not in self.read:
            content = self.members.read(storage.member)
            self.read[storage.member] = torch.frombuffer(content, dtype=torch.uint8)
        return self.read[storage.member].view(storage.dtype)

    def _array(self, state: Any) -> Tensor:
        """Array of NumPy from ``(version, shape, dtype, fortran, bytes)``."""
        if type(state) is not tuple or len(state) != 5:
            raise ConversionError("an array of NumPy without a state")
        _, shape, kind, fortran, content = state
        dtype = _array_type(kind)
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise ConversionError("an array of NumPy without a shape")
        self._count(shape, shape)
        if type(content) is not bytes or (
            len(content) != math.prod(shape) * dtype.itemsize
        ):
            raise ConversionError("an array of NumPy does not have the size it claims")
        if not content:
            return torch.empty(shape, dtype=dtype)
        flat = torch.frombuffer(bytearray(content), dtype=dtype)
        if fortran is True:
            reverse = tuple(reversed(range(len(shape))))
            return flat.reshape(shape[::-1]).permute(reverse).contiguous()
        return flat.reshape(shape)

    def _scalar(self, args: tuple[Any, ...]) -> Any:
        """Number of NumPy as one of Python."""
        if len(args) != 2:
            raise ConversionError("a number of NumPy without a value")
        return self._array((1, (), args[0], False, args[1])).item()


def _array_type(kind: Any) -> torch.dtype:
    """Type of a record ``numpy.dtype``."""
    code = kind.args[0] if isinstance(kind, Record) and kind.args else None
    state = kind.state if isinstance(kind, Record) else None
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
    if type(code) is not str or code not in ARRAYS or order not in ("<", "|", "="):
        raise ConversionError(f"an array of NumPy of a type that is not read: {kind!r}")
    return ARRAYS[code]


def _function(args: tuple[Any, ...]) -> Global:
    """Name of a function of torch, which pickles hold as an attribute of a class."""
    if len(args) != 2 or args[0] != Global(FUNCTIONS) or args[1] not in NONLINEARITIES:
        raise ConversionError(
            "the file calls builtins.getattr on something else than a nonlinearity of "
            "torch: it may be an attempt to run code. Nothing of it was run"
        )
    return Global(f"torch.{args[1]}")


def _first(args: tuple[Any, ...]) -> Any:
    """The tensor of a parameter."""
    if not args or not isinstance(args[0], Tensor):
        raise ConversionError("a parameter without a tensor")
    return args[0]


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape."""
    if len(args) != 1 or not isinstance(args[0], list | tuple):
        raise ConversionError("a shape of the file is damaged")
    return tuple(args[0])


def _ordered(args: tuple[Any, ...]) -> dict[Any, Any]:
    """An ordered dictionary; older pickles have the pairs as an argument."""
    pairs = args[0] if len(args) == 1 else []
    if len(args) > 1 or not isinstance(pairs, list):
        raise ConversionError("a dictionary of the file is damaged")
    if not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise ConversionError("a dictionary of the file is damaged")
    if not all(isinstance(key, str) for key, _ in pairs):
        raise ConversionError("a dictionary of the file has a key that is no name")
    return {key: value for key, value in pairs}


def _no_bytes(args: tuple[Any, ...]) -> bytes:
    """Empty bytes, which pickles of protocol 2 call for."""
    if args:
        raise ConversionError("bytes of the file are made from something")
    return b""


def _encoded(args: tuple[Any, ...]) -> bytes:
    """Bytes, which pickles of protocol 2 hold as text."""
    if len(args) != 2 or type(args[0]) is not str or args[1] != "latin1":
        raise ConversionError("bytes of the file are in an unknown code")
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError as error:
        raise ConversionError("bytes of the file are in an unknown code") from error
