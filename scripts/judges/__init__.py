"""Adapters to checks that others wrote, for `scripts/judge_calculator.py`."""
