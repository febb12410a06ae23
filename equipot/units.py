"""Units of the package: eV, Å, fs, K, and the few conversions that output needs."""

from typing import Final

GPA_PER_EV_PER_A3: Final = 160.21766208
"""One eV/Å^3 in GPa (CODATA 2014, as ASE)."""

MEV_PER_EV: Final = 1000.0
"""Errors are reported in meV/atom and meV/Å."""

FS_PER_PS: Final = 1000
"""Time steps are in fs, times of runs in ps."""
