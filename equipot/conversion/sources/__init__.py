"""Packages whose files can be converted: one module, and one line here, for each."""

from equipot.conversion.converted import Source
from equipot.conversion.sources import mace, matgl, nequip, nequix, sevennet

_ALL: tuple[Source, ...] = (
    mace.SOURCE,
    nequix.SOURCE,
    sevennet.SOURCE,
    matgl.SOURCE,
    nequip.SOURCE,
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
"""By the name in ``--source``."""
