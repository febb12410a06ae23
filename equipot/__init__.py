"""E(3)-equivariant interatomic potentials that are never silently wrong."""

__version__ = "0.1.0"
