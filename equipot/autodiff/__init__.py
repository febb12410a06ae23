"""Derivatives of energies, and functions with fast higher-order derivatives."""
