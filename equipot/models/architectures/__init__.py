"""Architectures: one published model per file."""

from collections.abc import Callable, Sequence
from typing import Any

from equipot.models.architectures.mace import MACE
from equipot.models.architectures.nequip import NequIP
from equipot.models.architectures.nequip_original import OriginalNequIP
from equipot.models.architectures.nequix import Nequix
from equipot.models.architectures.sevennet import SevenNet
from equipot.models.architectures.tensornet import TensorNet
from equipot.models.backbone import Backbone
from equipot.models.products import Products

ARCHITECTURES: dict[str, Callable[[Any, Sequence[int], float, Products], Backbone]] = {
    "nequip": NequIP,
    "mace": MACE,
    "tensornet": TensorNet,
    "nequix": Nequix,
    "sevennet": SevenNet,
    "nequip_original": OriginalNequIP,
}
"""Architectures by name in configurations.

Each is called with its configuration section, the atomic numbers of its elements, the
mean number of neighbors, and the factories of products.
"""
