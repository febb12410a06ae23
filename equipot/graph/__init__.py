"""Atoms and the directed edges between them."""
