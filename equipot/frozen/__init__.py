"""Frozen potentials: compiled evaluation for constant weights."""

from equipot.frozen.agreement import FrozenMismatchError as FrozenMismatchError
from equipot.frozen.lowering import UnsupportedModelError as UnsupportedModelError
from equipot.frozen.potential import FrozenPotential as FrozenPotential
from equipot.frozen.potential import unsupported as unsupported
from equipot.frozen.splines import InaccurateTableError as InaccurateTableError
