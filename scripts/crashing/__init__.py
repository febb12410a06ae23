"""Runs that are stopped at chosen moments; see `scripts/crash_test.py`."""
