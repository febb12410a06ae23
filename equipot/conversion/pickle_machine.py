"""Interpreter of pickles that has no operation which calls or imports anything.

A pickle is a program for a small stack machine. ``pickle.Unpickler`` runs it with all
of Python at hand, and a subclass that means to be safe must override what is dangerous.
This interpreter is written the other way round: ``pickletools.genops`` of the standard
library splits the bytes into operations and plain arguments, and a table has the few
operations that files of ``torch.save`` consist of. Naming a class makes a `Global`,
which holds a text; calling one makes a `Record`, which holds the name and arguments.
This module neither imports nor calls a value of the file, and an operation that is not
in the table is an error.

What a record stands for (a tensor, an ordered dictionary) is decided by the caller, in
`Meaning`, with code of its own.

Source:
    Python, `Lib/pickletools.py`, which documents each operation.
"""

import pickletools
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol, final, runtime_checkable

from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Global, Record

MAX_PICKLE_BYTES = 2**26
"""Larger pickles are refused."""
MAX_OPERATIONS = 5_000_000
"""Longer programs are refused; published models have a few ten thousand."""
MAX_INTEGER = 2**64
"""Larger integers are refused."""
MAX_KEY_PARTS = 16
"""Items of a tuple that is a key of a dictionary."""
LITERALS: Final = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
"""Operations that push their argument."""
CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
"""Operations that push a constant."""
_MARK: Final = object()


@runtime_checkable
class Meaning(Protocol):
    """What the names of a file stand for."""

    def call(self, record: Record) -> Any:
        """Value of a call: the record itself if it has no other meaning."""

    def build(self, record: Record) -> Any:
        """Value of a record whose state is now known: the record itself in general."""

    def persistent(self, identifier: Any) -> Any:
        """Value that is not in the pickle, by its identifier."""


def read_pickle(
    content: bytes, meaning: Meaning, known: Callable[[str], bool]
) -> tuple[Any, Collection[str]]:
    """Value of a pickle, made of plain values and records.

    Args:
        content: The pickle.
        meaning: Of the names in it.
        known: Whether a name, such as ``torch.float32``, is expected in such a file.

    Returns:
        value: What the pickle describes.
        names: All classes and functions that it names.

    Raises:
        ConversionError: If it is damaged, too large, or has a name or an operation that
            such files do not have.
    """
    if len(content) > MAX_PICKLE_BYTES:
        raise ConversionError(f"the pickle has more than {MAX_PICKLE_BYTES} bytes")
    machine = _Machine(meaning, known)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
            if count > MAX_OPERATIONS:
                raise ConversionError(f"more than {MAX_OPERATIONS} operations")
            machine.step(operation.name, argument)
    except ConversionError:
        raise
    except Exception as error:  # genops, and a stack too short, leak several types
        reason = f"{type(error).__name__}: {str(error)[:100]}"
        raise ConversionError(
            f"the pickle is damaged or truncated ({reason})"
        ) from error
    return machine.result(), machine.names


@final
class _Machine:
    """Stack, memo, and what each operation does with them."""

    def __init__(self, meaning: Meaning, known: Callable[[str], bool]) -> None:
        self.names: set[str] = set()
        self._meaning = meaning
        self._known = known
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._places: dict[int, list[int]] = {}
        self._results: list[Any] = []
        self._operations: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "STOP": lambda _: self._results.append(self._pop()),
            "POP": lambda _: self._drop(),
            "MARK": lambda _: self._push(_MARK),
            "POP_MARK": lambda _: self._discard(),
            "PUT": self._put,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "GET": self._get,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "EMPTY_TUPLE": lambda _: self._push(()),
            "EMPTY_LIST": lambda _: self._push([]),
            "EMPTY_DICT": lambda _: self._push({}),
            "EMPTY_SET": lambda _: self._push(Record("builtins.set")),
            "TUPLE": lambda _: self._push(tuple(self._to_mark())),
            "LIST": lambda _: self._push(self._to_mark()),
            "DICT": lambda _: self._dict(),
            "FROZENSET": lambda _: self._push(
                Record("builtins.frozenset", (self._to_mark(),))
            ),
            "TUPLE1": lambda _: self._push(tuple(self._last(1))),
            "TUPLE2": lambda _: self._push(tuple(self._last(2))),
            "TUPLE3": lambda _: self._push(tuple(self._last(3))),
            "APPEND": lambda _: self._extend(self._last(1)),
            "APPENDS": lambda _: self._extend(self._to_mark()),
            "ADDITEMS": lambda _: self._extend(self._to_mark()),
            "SETITEM": lambda _: self._update(self._last(2)),
            "SETITEMS": lambda _: self._update(self._to_mark()),
            "GLOBAL": lambda text: self._name(*text.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(*self._last(2)),
            "REDUCE": lambda _: self._call(*self._last(2)),
            "NEWOBJ": lambda _: self._call(*self._last(2)),
            "NEWOBJ_EX": lambda _: self._call(*self._last(3)),
            "BUILD": lambda _: self._build(),
            "BINPERSID": lambda _: self._push(self._meaning.persistent(self._pop())),
        }

    def step(self, operation: str, argument: Any) -> None:
        """One operation."""
        if operation in LITERALS:
            if type(argument) is int and abs(argument) > MAX_INTEGER:
                raise ConversionError("an integer has more than 64 bits")
            self._push(argument)
        elif operation in CONSTANTS:
            self._push(CONSTANTS[operation])
        elif operation in self._operations:
            self._operations[operation](argument)
        else:
            raise ConversionError(
                f"the pickle has the operation {operation}, which torch.save does not "
                "write"
            )

    def result(self) -> Any:
        """The value, once all operations are done."""
        if len(self._results) != 1 or self._stack:
            raise ConversionError("the pickle is damaged: it leaves more than a value")
        return self._results[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ConversionError("the pickle is damaged: a mark in place of a value")
        return value

    def _drop(self) -> None:
        self._stack.pop()

    def _discard(self) -> None:
        self._to_mark()

    def _last(self, count: int) -> list[Any]:
        """Values on top, in the order in which they were pushed."""
        return [self._pop() for _ in range(count)][::-1]

    def _to_mark(self) -> list[Any]:
        """Values above the last mark, which is removed."""
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _put(self, index: int) -> None:
        value = self._pop()
        self._push(value)
        self._memo[index] = value
        if isinstance(value, Record):
            self._places.setdefault(id(value), []).append(index)

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ConversionError("the pickle is damaged: it recalls what was not kept")
        self._push(self._memo[index])

    def _dict(self) -> None:
        pairs = self._to_mark()
        self._push({})
        self._update(pairs)

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Record):
            target.items.extend(values)
        else:
            raise ConversionError("the pickle appends to what is no list")

    def _update(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if len(pairs) % 2:
            raise ConversionError("the pickle is damaged: a key without a value")
        items = list(zip(pairs[::2], pairs[1::2], strict=True))
        if isinstance(target, dict):
            for key, value in items:
                target[_checked_key(key)] = value
        elif isinstance(target, Record):
            target.items.extend(items)
        else:
            raise ConversionError("the pickle sets items of what is no dictionary")

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ConversionError("the pickle is damaged: a name that is no text")
        full = f"{module}.{name}"
        parts = full.split(".")
        if not all(part.isidentifier() for part in parts) or not self._known(full):
            raise ConversionError(
                f"the file names {full[:200]!r}, which no file of this kind needs: it "
                "may be an attempt to run code. Nothing of it was run"
            )
        self.names.add(full)
        self._push(Global(full))

    def _call(self, target: Any, args: Any, kwargs: Any = None) -> None:
        if not isinstance(target, Global) or type(args) is not tuple:
            raise ConversionError("the pickle calls what is no class or function")
        if not isinstance(kwargs, dict | None):
            raise ConversionError("the pickle is damaged: keywords that are none")
        self._push(self._meaning.call(Record(target.name, args, kwargs or {})))

    def _build(self) -> None:
        target, state = self._last(2)
        if isinstance(target, dict):
            # attributes of an OrderedDict: versions of modules in a state_dict
            if not isinstance(state, dict) or set(state) - {"_metadata"}:
                raise ConversionError("a dictionary of the file has attributes")
            self._push(target)
            return
        if not isinstance(target, Record) or target.state is not None:
            raise ConversionError("the pickle sets the state of what has none")
        target.state = state
        value = self._meaning.build(target)
        if value is not target:
            for index in self._places.pop(id(target), []):
                if self._memo[index] is target:
                    self._memo[index] = value
        self._push(value)


def _checked_key(key: Any) -> Any:
    """A key whose hash is cheap: that of nested tuples can take forever."""
    plain = (str, int, float, bytes, type(None), Record, Global)
    parts = key if type(key) is tuple else (key,)
    if len(parts) > MAX_KEY_PARTS or not all(isinstance(part, plain) for part in parts):
        raise ConversionError("a dictionary of the file has a key that is no name")
    return key
