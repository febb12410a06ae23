"""NequIP, as of version 0.17: checkpoints ``.ckpt`` and packages ``.nequip.zip``.

`read` maps `NequIPGNNModel` and its presets: features of natural or both parities,
channels per degree, any depth of the radial MLP and of the readout, numbers of
neighbors and scales per element, trained radial functions, and the ZBL repulsion.
"""

from equipot.conversion.sources.nequip.read import SOURCE as SOURCE
