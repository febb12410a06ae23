"""Molecular dynamics with alarms, and with restarts to the bit."""

from equipot.md.alarms import MDStoppedError
from equipot.md.build import read_structure
from equipot.md.driver import run_md
from equipot.md.summary import MDSummary

__all__ = ["MDStoppedError", "MDSummary", "read_structure", "run_md"]
