"""Derivatives of energies, and functions with fast derivatives of higher order."""
