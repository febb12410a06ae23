"""Errors of model files."""

from collections.abc import Sequence

from equipot.verify.result import Check


class CheckpointError(ValueError):
    """A file does not contain a potential that this version supports."""


class GoldenOutputError(CheckpointError):
    """The outputs of a potential differ from its golden outputs."""

    def __init__(self, message: str, checks: Sequence[Check] = ()) -> None:
        super().__init__(message)
        self.checks = tuple(checks)
