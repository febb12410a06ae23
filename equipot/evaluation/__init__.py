"""Errors of a potential on labeled structures."""
