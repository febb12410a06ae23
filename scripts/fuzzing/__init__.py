"""Mutated inputs for every reader of the package; see `scripts/fuzz_inputs.py`."""
