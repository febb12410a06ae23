"""Potentials and the one factory that builds them."""
