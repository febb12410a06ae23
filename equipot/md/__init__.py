"""Molecular dynamics with run-time guards and bit-for-bit restarts."""

from equipot.md.alarms import MDStoppedError
from equipot.md.driver import run_md
from equipot.md.start import Start, read_start, read_structure
from equipot.md.summary import MDSummary

__all__ = [
    "MDStoppedError",
    "MDSummary",
    "Start",
    "read_start",
    "read_structure",
    "run_md",
]
