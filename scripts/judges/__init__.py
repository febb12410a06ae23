"""Adapters to external test suites, for `scripts/judge_calculator.py`."""
