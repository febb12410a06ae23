"""Fitting of potentials."""
