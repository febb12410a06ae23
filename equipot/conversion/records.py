"""Inert records: what the objects of a pickle would have been."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from torch import Tensor

from equipot.conversion.errors import ConversionError

MAX_DEPTH = 100
"""Modules inside of modules."""
OF_TORCH: Final = frozenset(
    {
        "_parameters",
        "_buffers",
        "_modules",
        "_non_persistent_buffers_set",
        "_backward_pre_hooks",
        "_backward_hooks",
        "_is_full_backward_hook",
        "_forward_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
        "training",
    }
)
"""Attributes that every `torch.nn.Module` has."""
_MISSING: Final = object()


@final
@dataclass(frozen=True)
class Global:
    """A class or function that the file names; nothing of that name was imported."""

    name: str
    """Module and name, such as ``torch.float32``."""

    def __repr__(self) -> str:
        return f"<{self.name[:100]}>"


@final
@dataclass(eq=False, repr=False)
class Record:
    """An object that the file describes, as data: nothing of it was called."""

    name: str
    """Class or function, such as ``mace.modules.models.ScaleShiftMACE``."""
    args: tuple[Any, ...] = ()
    """What it would have been called with."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """The same by name."""
    state: Any = None
    """What would have been given to ``__setstate__``; attributes by name in general."""
    items: list[Any] = field(default_factory=list)
    """What would have been appended, or pairs of keys and values."""

    def __repr__(self) -> str:
        return f"<{self.name[:100]}>"

    @property
    def kind(self) -> str:
        """Name of the class without its module, such as ``ScaleShiftMACE``."""
        return self.name.rpartition(".")[2]

    def attributes(self) -> dict[str, Any]:
        """Plain attributes, without tensors, children, and what each module has."""
        if not isinstance(self.state, dict):
            return {}
        return {
            name: value
            for name, value in self.state.items()
            if isinstance(name, str) and name not in OF_TORCH
        }

    def get(self, path: str, default: Any = _MISSING) -> Any:
        """Attribute, parameter, buffer or child, as torch would find it.

        Args:
            path: Names joined by dots, such as ``"interactions.0.linear_up.weight"``.
            default: Returned if there is none.

        Raises:
            ConversionError: If there is none, and no default.
        """
        found: Any = self
        for part in path.split("."):
            found = _own(found, part)
            if found is _MISSING:
                if default is _MISSING:
                    raise ConversionError(f"{self.kind} has no {path}")
                return default
        return found

    def children(self) -> dict[str, "Record"]:
        """Modules of this module by name.

        Raises:
            ConversionError: If one is no module.
        """
        found = _section(self, "_modules")
        modules = {name: value for name, value in found.items() if value is not None}
        for name, value in modules.items():
            if not isinstance(value, Record):
                raise ConversionError(f"{name} of {self.kind} is not a module")
        return modules


def modules(module: Record, prefix: str = "") -> Iterator[tuple[str, Record]]:
    """A module and all modules in it, with the paths that torch gives them.

    Args:
        module: The root; its own path is empty.
        prefix: Put before the paths.

    Raises:
        ConversionError: If they are nested without end.
    """
    stack = [(prefix, module, 0)]
    while stack:
        path, current, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ConversionError(f"modules are nested more than {MAX_DEPTH} deep")
        yield path, current
        children = list(current.children().items())
        for name, child in reversed(children):
            stack.append((f"{path}.{name}" if path else name, child, depth + 1))


def module_tensors(module: Record) -> dict[str, Tensor]:
    """Parameters and buffers of a module, by the names of its ``state_dict``.

    Buffers that are not persistent are among them.

    Raises:
        ConversionError: If one is no tensor that this reader knows.
    """
    found: dict[str, Tensor] = {}
    for path, current in modules(module):
        for section in ("_parameters", "_buffers"):
            for name, value in _section(current, section).items():
                full = f"{path}.{name}" if path else name
                if value is None:
                    continue
                if not isinstance(value, Tensor):
                    raise ConversionError(
                        f"{full} is of a kind of tensor that is not read: {value!r}"
                    )
                found[full] = value
    return found


def _section(module: Record, name: str) -> dict[str, Any]:
    """Part of the state of a module; empty if it has none."""
    state = module.state if isinstance(module.state, dict) else {}
    section = state.get(name, {})
    if not isinstance(section, dict) or not all(isinstance(k, str) for k in section):
        raise ConversionError(f"{name} of {module.kind} is not a dictionary of names")
    return section


def _own(value: Any, name: str) -> Any:
    """Attribute of one record; `_MISSING` if it has none of that name."""
    if not isinstance(value, Record) or not isinstance(value.state, dict):
        return _MISSING
    if name in value.state:
        return value.state[name]
    for section in ("_parameters", "_buffers", "_modules"):
        if name in (found := _section(value, section)):
            return found[name]
    return _MISSING
