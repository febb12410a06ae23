"""Representations of rotations: the layout of features, harmonics, couplings."""
