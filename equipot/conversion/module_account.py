"""Account of a pickled module: all of its parts, their settings and their tensors."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record, module_tensors, modules

CONTAINERS = ("ModuleList", "ParameterList", "Sequential")
"""Classes of torch that only hold others."""


@final
class ModuleAccount:
    """What was read of a module and of the modules in it.

    Args:
        root: The module.
        without_effect: Settings that change no prediction, by class and name, and why;
            those of the class ``""`` are of all classes.

    Example::

        account = ModuleAccount(archive.root, {"": {"__codegen__": "is never run"}})
        linear = account.part("readouts.0.linear", "Linear")
        weight = linear.take("weight", (8,))
        lines = account.finish()
    """

    def __init__(
        self, root: Record, without_effect: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.tensors = SourceTensors(module_tensors(root))
        self._records = dict(modules(root))
        self._without_effect = without_effect
        self._parts: dict[str, Part] = {}
        self._ignored: set[str] = set()
        self._settings: dict[tuple[str, str], list[str]] = {}
        self._lines: dict[str, None] = {}

    def __contains__(self, path: object) -> bool:
        return path in self._records

    def part(self, path: str, *kinds: str) -> "Part":
        """A module, which counts as read; its settings and tensors do not.

        Args:
            path: As torch names it; empty for the root.
            kinds: Names of the classes that it may be of.

        Raises:
            ConversionError: If there is none, or it is of another class.
        """
        if path not in self._records:
            raise ConversionError(f"the model has no module {path}")
        record = self._records[path]
        if record.kind not in kinds:
            raise ConversionError(
                f"{path or 'the model'} is of class {record.kind[:100]}: the equations "
                f"that it is converted to have only {' or '.join(kinds)}"
            )
        if path not in self._parts:
            self._parts[path] = self._read(path, record)
        return self._parts[path]

    def ignore(self, path: str, reason: str) -> None:
        """Declare a module without tensors, and all in it, to have no effect.

        Args:
            path: As torch names it; there need not be such a module.
            reason: Why there is no effect; users read it.

        Raises:
            ConversionError: If it has a tensor.
        """
        prefix = f"{path}."
        if names := self.tensors.names(prefix):
            raise ConversionError(f"{names[0]} is a tensor where there should be none")
        for found in self._records:
            if found == path or found.startswith(prefix):
                self._ignored.add(found)
                self._lines[f"{self._records[path].kind}: {reason}"] = None

    def finish(self) -> tuple[str, ...]:
        """End of the account.

        Returns:
            A line for each declaration: for `Converted`.

        Raises:
            ConversionError: If a module, a setting or a tensor was neither used nor
                declared without effect.
        """
        left = [
            f"{path} ({record.kind[:60]})"
            for path, record in self._records.items()
            if path not in self._parts
            and path not in self._ignored
            and not self._is_container(path, record)
        ]
        if left:
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            raise ConversionError(
                f"modules unknown to this conversion: {', '.join(left[:5])}{more}"
            )
        for part in self._parts.values():
            self._lines.update(dict.fromkeys(part.flags.finish()))
        settings = (
            f"{', '.join(names)}{f' of {kind}' if kind else ''}: {reason}"
            for (kind, reason), names in self._settings.items()
        )
        return (*settings, *self._lines, *self.tensors.finish())

    def _read(self, path: str, record: Record) -> "Part":
        kept = {}
        for name, value in record.attributes().items():
            for kind in (record.kind, ""):
                if reason := self._without_effect.get(kind, {}).get(name):
                    names = self._settings.setdefault((kind, reason), [])
                    if name not in names:
                        names.append(name)
                    break
            else:
                kept[name] = value
        where = f"{path} ({record.kind})" if path else record.kind
        return Part(path, record.kind, Flags(kept, where), self)

    @staticmethod
    def _is_container(path: str, record: Record) -> bool:
        """Whether a module only holds others; it must say nothing else."""
        if record.kind not in CONTAINERS or not record.name.startswith("torch.nn."):
            return False
        Flags(
            {k: v for k, v in record.attributes().items() if k != "_size"}, path
        ).finish()
        return True


@final
class Part:
    """A module of the file.

    Args:
        path: As torch names it.
        kind: Name of its class.
        flags: Its plain attributes, without those known to have no effect.
        account: That it belongs to.
    """

    def __init__(
        self, path: str, kind: str, flags: Flags, account: ModuleAccount
    ) -> None:
        self.path = path
        self.kind = kind
        self.flags = flags
        self._account = account

    def has(self, name: str) -> bool:
        """Whether it has a module or a tensor of a name."""
        path = self._join(name)
        return path in self._account or path in self._account.tensors

    def part(self, name: str, *kinds: str) -> "Part":
        """A module in it; see `ModuleAccount.part`."""
        return self._account.part(self._join(name), *kinds)

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A tensor of it with floating-point numbers; see `SourceTensors.take`.

        Raises:
            ConversionError: If it is missing, not finite, or of another shape or type.
        """
        tensor = self._account.tensors.take(self._join(name), shape)
        if not tensor.is_floating_point():
            raise ConversionError(
                f"tensor {self._join(name)} holds {tensor.dtype}, expected "
                "floating-point numbers"
            )
        return tensor

    def integers(self, name: str) -> list[int]:
        """A tensor of it with whole numbers in a row.

        Raises:
            ConversionError: If it is missing, or of another shape or type.
        """
        tensor = self._account.tensors.take(self._join(name))
        if tensor.ndim != 1 or tensor.dtype != torch.int64:
            raise ConversionError(
                f"tensor {self._join(name)} is not a list of whole numbers"
            )
        return [int(value) for value in tensor]

    def number(self, name: str) -> float:
        """A tensor of it that holds one number, whole or not.

        Raises:
            ConversionError: If it is missing, or holds several.
        """
        tensor = self._account.tensors.take(self._join(name))
        if tensor.numel() != 1:
            raise ConversionError(
                f"tensor {self._join(name)} has the shape {tuple(tensor.shape)}, "
                "expected one number"
            )
        return float(tensor)

    def ignore(self, name: str, reason: str) -> None:
        """Declare a module in it to have no effect; see `ModuleAccount.ignore`."""
        self._account.ignore(self._join(name), reason)

    def without_effect(self, pattern: str, reason: str) -> None:
        """Declare tensors of it; see `SourceTensors.without_effect`."""
        self._account.tensors.without_effect(self._join(pattern), reason)

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name
