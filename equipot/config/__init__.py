"""Configurations: frozen, typed, and without heavy imports."""
