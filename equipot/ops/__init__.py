"""Compiled op families: definitions, derivatives, PyTorch reference, loading."""

from equipot.ops.convolution import convolve as convolve
from equipot.ops.library import unavailable as unavailable
from equipot.ops.so2_convolution import edge_rotations as edge_rotations
from equipot.ops.so2_convolution import so2_convolve as so2_convolve
