"""Expected errors reach the user as one message and exit status 1."""

import os
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

EXPECTED = (ValueError, OSError, ImportError)
"""Bad input, unreadable files, and optional packages that are not installed."""


def explain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that expected errors end it with a message.

    Anything else is a defect of ours and keeps its traceback. With the environment
    variable ``EQUIPOT_DEBUG`` set, expected errors show theirs as well::

        @app.command()
        @explain_errors
        def info(model: Path) -> None: ...

    Args:
        command: Function that typer calls; its signature is kept.

    Returns:
        The command; it exits with status 1 where `command` raises one of `EXPECTED`.
    """

    @wraps(command)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EXPECTED as error:
            if os.environ.get("EQUIPOT_DEBUG"):
                traceback.print_exc()
            message = str(error) or type(error).__name__
            typer.secho(f"error: {message}", fg="red", err=True)
            raise typer.Exit(1) from error

    return explained
