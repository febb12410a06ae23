"""A mutated input: what it is, what its file is called, and how targets see it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One file to read."""

    kind: str
    """Which target reads it: structures, hessians, configs or models."""
    label: str
    """Format and mutation, for the table."""
    name: str
    """File name, which tells readers the format."""
    data: bytes
    """Contents."""
