"""From node features to predictions."""

from equipot.heads.energy import EnergyHead as EnergyHead
from equipot.heads.zbl import ZBLRepulsion as ZBLRepulsion
