"""Error, warning and note messages of the commands."""

import errno
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer

from equipot.storage.atomic_file import check_can_be_made

OUTPUTS = ("output", "report", "report_file", "json", "json_file", "plot")
"""Options that name a file or folder to write; checked before a command begins."""

WRITE_A_FILE = ("relax", "evaluate", "convert")
"""Functions whose ``output`` is a file; that of the others is a folder."""

P = ParamSpec("P")
R = TypeVar("R")

EXPECTED = (ValueError, OSError, ImportError)
"""Bad input, unreadable files, and optional packages that are not installed."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left, no quota left, and files beyond the size that the system allows."""


def explain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that expected errors end it with a message.

    Files and folders that cannot be written are told of before the command begins.
    Anything else is a defect of ours and keeps its traceback. With the environment
    variable ``EQUIPOT_DEBUG`` set, expected errors show theirs as well, and warnings
    the line that they come from::

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
        debug = bool(os.environ.get("EQUIPOT_DEBUG"))
        try:
            with _plain_warnings(wanted=not debug), _notes():
                for option in OUTPUTS:
                    if isinstance(path := kwargs.get(option), Path):
                        file = option != "output" or command.__name__ in WRITE_A_FILE
                        check_can_be_made(path, folder=not file)
                return command(*args, **kwargs)
        except BrokenPipeError:
            raise  # the reader of a pipe, such as head, ended: typer exits silently
        except EXPECTED as error:
            if debug:
                traceback.print_exc()
            typer.secho(f"error: {_message(error)}", fg="red", err=True)
            raise typer.Exit(1) from error

    return explained


def _message(error: Exception) -> str:
    """What went wrong; for a full disk also that nothing is lost, and what to do."""
    if isinstance(error, OSError) and error.errno in FULL and error.filename:
        return (
            f"the disk is full: {error.strerror} for {error.filename}; files written "
            "before are intact: free disk space and repeat the command (runs continue "
            "with --resume)"
        )
    return str(error) or type(error).__name__


@contextmanager
def _plain_warnings(*, wanted: bool) -> Iterator[None]:
    """Show warnings as one line each, without the line of code that they come from."""
    with warnings.catch_warnings():
        if wanted:
            warnings.showwarning = _show_warning
        yield


@contextmanager
def _notes() -> Iterator[None]:
    """Show what the package logs: a choice that it made, a cache that it cannot use."""
    logger, handler = logging.getLogger("equipot"), _NoteHandler(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _NoteHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = "note" if record.levelno < logging.WARNING else "warning"
        typer.secho(f"{kind}: {record.getMessage()}", dim=True, err=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    text = " ".join(str(message).split())
    typer.secho(f"warning: {text}", fg="yellow", err=True)
