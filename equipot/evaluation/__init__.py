"""Evaluation of a potential on labeled structures."""
