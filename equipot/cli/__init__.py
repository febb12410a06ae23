"""Command line: parse, load, call one function."""
