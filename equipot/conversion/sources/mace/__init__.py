"""MACE: files ``.model`` of mace-torch, which hold a whole module.

`read` maps the blocks of the published families: ``MACE`` and ``ScaleShiftMACE`` with
interactions of four kinds, hidden irreps of natural parity, any correlation order to 4,
three kinds of radial functions, distance transforms, ZBL, and one of several heads. All
numbers come from the file, nothing from a table of published hyperparameters.
"""

from equipot.conversion.sources.mace.read import SOURCE as SOURCE
