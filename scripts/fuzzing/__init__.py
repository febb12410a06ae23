"""Damaged inputs for every reader of the package; see `scripts/fuzz.py`."""
