"""Integrators of molecular dynamics: NVE, NVT and NPT."""

from equipot.md.integrators.barostat import FullBarostat, IsotropicBarostat
from equipot.md.integrators.berendsen import WeakCoupling
from equipot.md.integrators.bussi import Bussi
from equipot.md.integrators.interface import Integrator
from equipot.md.integrators.langevin import Langevin
from equipot.md.integrators.nose_hoover import NoseHooverChain
from equipot.md.integrators.verlet import VelocityVerlet

__all__ = [
    "Bussi",
    "FullBarostat",
    "Integrator",
    "IsotropicBarostat",
    "Langevin",
    "NoseHooverChain",
    "VelocityVerlet",
    "WeakCoupling",
]
