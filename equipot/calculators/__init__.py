"""Potentials as calculators of simulation packages."""
