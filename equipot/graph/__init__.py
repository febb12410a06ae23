"""Atomic graphs: atoms and directed edges."""
