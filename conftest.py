"""Run-time checks of types and shapes, limited to the first calls of each function.

jaxtyping would check every call (``--jaxtyping-packages`` in pyproject.toml), which
doubles the time of tests that evaluate potentials thousands of times. Calls are counted
anew in each test.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest

CHECKED_CALLS = 20
"""Number of checked calls of each function in each test."""


class _Tests:
    """Number of tests that have begun."""

    begun = 0


def _checked_at_first(
    checked: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Function that is replaced by its checked version for a few calls per test."""
    calls = test = 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls, test
        if test != _Tests.begun:
            calls, test = 0, _Tests.begun
        calls += 1
        if calls > CHECKED_CALLS:
            return function(*args, **kwargs)
        return checked(*args, **kwargs)

    return call


def _jaxtyped(function: Any = None, *, typechecker: Any) -> Any:
    """`jaxtyping.jaxtyped`, which the import hook applies to functions and classes."""
    if function is None:
        return functools.partial(_jaxtyped, typechecker=typechecker)
    checked = _EVERY_CALL(function, typechecker=typechecker)
    if not inspect.isfunction(function):
        return checked
    return _checked_at_first(checked, function)


_EVERY_CALL = jaxtyping.jaxtyped
jaxtyping.jaxtyped = _jaxtyped


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Count calls anew."""
    _Tests.begun += 1
