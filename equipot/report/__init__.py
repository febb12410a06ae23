"""Evaluation of potentials and its report."""
