"""Proof that every tensor and every flag of a file was used, or has no effect.

A conversion that overlooks a tensor or a flag gives another function, silently. Sources
read through these two classes, which remember what was taken. `finish` refuses the file
if anything is left over, by name.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, final

import torch
from torch import Tensor

from equipot.conversion.errors import ConversionError

SHOWN = 8
"""Names in a message, at most."""
_MISSING: Final = object()


@final
class SourceTensors:
    """Tensors of a file, and which of them were used.

    Args:
        tensors: By name, in any real type.

    Example::

        tensors = SourceTensors(module_tensors(archive.root))
        weight = tensors.take("readouts.0.linear.weight", (128,))
        tensors.without_effect("*.output_mask", "says which outputs are not zero")
        lines = tensors.finish()
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        self._taken: set[str] = set()
        self._ignored: dict[str, list[str]] = {}
        self._reasons: dict[str, str] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """All names that begin with a prefix, taken or not, in the order of the file.

        Args:
            prefix: Such as ``"interactions.0."``.
        """
        return tuple(name for name in self._tensors if name.startswith(prefix))

    @property
    def dtype(self) -> str:
        """Highest floating-point type of the file: ``"float64"`` or ``"float32"``.

        Types of 16 bits count as float32, in which equipot computes them.
        """
        kinds = {tensor.dtype for tensor in self._tensors.values()}
        return "float64" if torch.float64 in kinds else "float32"

    def dtype_of(self, name: str) -> str:
        """The same for one tensor; a file may hold constants in another type.

        Args:
            name: As in the file.
        """
        return SourceTensors({name: self._tensors[name]}).dtype

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A tensor, which counts as used; it may be taken more than once.

        Args:
            name: As in the file.
            shape: That it must have; any if left out.

        Returns:
            A copy in float64; in int64 or bool if it holds integers or truth values.

        Raises:
            ConversionError: If it is missing, not finite, or of another shape.
        """
        if name not in self._tensors:
            raise ConversionError(
                f"tensor {name} is missing: the file is not of the kind that this "
                "conversion is for"
            )
        tensor = self._tensors[name]
        if shape is not None and tuple(tensor.shape) != shape:
            raise ConversionError(
                f"tensor {name} has the shape {tuple(tensor.shape)}, expected {shape}"
            )
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float64, copy=True)
            if not bool(tensor.isfinite().all()):
                raise ConversionError(f"tensor {name} is not finite")
        elif tensor.dtype == torch.bool:
            tensor = tensor.clone()
        else:
            tensor = tensor.to(torch.int64, copy=True)
        self._taken.add(name)
        return tensor

    def take_if_present(
        self, name: str, shape: tuple[int, ...] | None = None
    ) -> Tensor | None:
        """As `take`; None if the file has no such tensor.

        Args:
            name: As in the file.
            shape: That it must have; any if left out.
        """
        return self.take(name, shape) if name in self._tensors else None

    def without_effect(self, pattern: str, reason: str) -> None:
        """Declare tensors that do not change any prediction.

        Args:
            pattern: A name, or a pattern such as ``"*.output_mask"``; it need not fit
                any tensor. What was taken already stays taken.
            reason: Why there is no effect; users read it.
        """
        for name in self._tensors:
            fits = name == pattern or fnmatchcase(name, pattern)
            if fits and name not in self._taken and name not in self._reasons:
                self._reasons[name] = reason
                self._ignored.setdefault(pattern, []).append(name)

    def finish(self) -> tuple[str, ...]:
        """End of the account.

        Returns:
            A line for each declaration that fits a tensor: for `Converted`.

        Raises:
            ConversionError: If a tensor was neither used nor declared without effect.
        """
        left = [
            f"{name} {tuple(self._tensors[name].shape)}"
            for name in self._tensors
            if name not in self._taken and name not in self._reasons
        ]
        if left:
            raise ConversionError(
                f"{_count(left, 'tensor')} of the file would have no effect here, but "
                f"may have in the original: {_listed(left)}"
            )
        return tuple(
            f"{pattern}: {self._reasons[names[0]]}"
            if names == [pattern]
            else f"{pattern} ({_count(names, 'tensor')}): {self._reasons[names[0]]}"
            for pattern, names in self._ignored.items()
        )


@final
class Flags:
    """Plain attributes of a file, such as settings, and which of them were looked at.

    Args:
        values: By name.
        where: Part of the model that they belong to, for messages: ``"products.0"``.

    Example::

        flags = Flags(record.attributes(), "ScaleShiftMACE")
        flags.expect("apply_cutoff", True, default=True)
        neighbors = float(flags.take("avg_num_neighbors"))
        flags.without_effect("lammps_mliap", "says who calls the model")
        lines = flags.finish()
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = dict(values)
        self._where = where
        self._seen: set[str] = set()
        self._lines: list[str] = []

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def take(self, name: str, default: Any = _MISSING) -> Any:
        """Value of a flag, which counts as used. The source must honor any value.

        Args:
            name: As in the file.
            default: Meaning of its absence, if it may be absent.

        Raises:
            ConversionError: If it is missing, and there is no default.
        """
        self._seen.add(name)
        if name in self._values:
            return self._values[name]
        if default is _MISSING:
            raise ConversionError(f"{self._where} has no {name}")
        return default

    def expect(self, name: str, values: Any, default: Any = _MISSING) -> Any:
        """Value of a flag that the equations have only certain values of.

        Args:
            name: As in the file.
            values: The only value that is supported, or a tuple of them.
            default: Meaning of its absence, if it may be absent.

        Returns:
            The value, one of `values`.

        Raises:
            ConversionError: If it has another value, or is missing without a default.
        """
        allowed = values if isinstance(values, tuple) else (values,)
        found = self.take(name, default)
        for value in allowed:
            if _same(found, value):
                return value
        raise ConversionError(
            f"{name} of {self._where} is {_shown(found)}: the equations that it is "
            f"converted to have only {' or '.join(map(_shown, allowed))}"
        )

    def without_effect(self, pattern: str, reason: str) -> None:
        """Declare flags that do not change any prediction, whatever their value.

        Args:
            pattern: A name, or a pattern such as ``"_lmp_*"``; it need not fit any.
            reason: Why there is no effect; users read it.
        """
        found = [
            name
            for name in self._values
            if name not in self._seen
            and (name == pattern or fnmatchcase(name, pattern))
        ]
        self._seen.update(found)
        if found:
            self._lines.append(f"{self._where}.{pattern}: {reason}")

    def finish(self) -> tuple[str, ...]:
        """End of the account.

        Returns:
            A line for each declaration that fits a flag: for `Converted`.

        Raises:
            ConversionError: If a flag was neither used nor declared without effect.
        """
        left = [
            f"{name}={_shown(value)}"
            for name, value in self._values.items()
            if name not in self._seen
        ]
        if left:
            raise ConversionError(
                f"{_count(left, 'setting')} of {self._where} unknown to this "
                f"conversion: {_listed(left)}"
            )
        return tuple(self._lines)


def _same(found: Any, value: Any) -> bool:
    """Equality that tensors and records have, too, and that separates 1 from True."""
    if isinstance(found, Tensor):
        found = found.item() if found.numel() == 1 else found.tolist()
    if isinstance(found, bool) != isinstance(value, bool):
        return False
    if not isinstance(found, bool | int | float | str | list | tuple | None):
        return False
    return bool(found == value)


def _shown(value: Any) -> str:
    """A value of a file in a message: short, whatever it is."""
    if isinstance(value, Tensor) and value.numel() > 1:
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, dict | list | tuple) and len(value) > SHOWN:
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} {_flat(value)[:60]}"
    return repr(value)[:60]


def _flat(values: Any) -> str:
    """Items of a short container, without what is nested in them."""
    parts = [
        f"<{type(v).__name__}>" if isinstance(v, dict | list | tuple) else repr(v)[:20]
        for v in values
    ]
    return ", ".join(parts)


def _listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - SHOWN
    shown = ", ".join(name[:200] for name in all_names[:SHOWN])
    return shown if more <= 0 else f"{shown}, and {more} more"


def _count(items: list[str], noun: str) -> str:
    return f"{len(items)} {noun}" + ("" if len(items) == 1 else "s")
