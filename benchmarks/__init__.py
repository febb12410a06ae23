"""Benchmarks of equipot beside other packages: ``python -m benchmarks.NAME --help``."""
