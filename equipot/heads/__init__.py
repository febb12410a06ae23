"""Heads: predictions from node features."""

from equipot.heads.direct_hessian import DirectHessianHead as DirectHessianHead
from equipot.heads.energy import EnergyHead as EnergyHead
from equipot.heads.hessian_blocks import HessianBlocks as HessianBlocks
from equipot.heads.mace_repulsion import MACERepulsion as MACERepulsion
from equipot.heads.nequip_repulsion import NequIPRepulsion as NequIPRepulsion
from equipot.heads.zbl import ZBLRepulsion as ZBLRepulsion
