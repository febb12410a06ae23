"""Representations of rotations: layout of features, harmonics, couplings.

This is the only package that imports e3nn. It passes floating-point types explicitly,
since e3nn computes constants in the default type.
"""

from equipot.so3.coupling import wigner_3j as wigner_3j
from equipot.so3.harmonics import harmonic_derivatives as harmonic_derivatives
from equipot.so3.harmonics import spherical_harmonics as spherical_harmonics
from equipot.so3.layout import degree_of_component as degree_of_component
from equipot.so3.layout import degree_slice as degree_slice
from equipot.so3.layout import num_components as num_components
from equipot.so3.rotation import random_rotation as random_rotation
from equipot.so3.rotation import representation_matrix as representation_matrix
from equipot.so3.rotation import rotation_generators as rotation_generators
