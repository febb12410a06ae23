"""Edges where frames and angles are singular or jump; products do neither."""

import torch

NASTY_EDGES = torch.tensor(
    [
        *([1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]),
        *([1e-6, 1, 0], [-1e-6, -1, 1e-6], [0, 1, -1e-8], [1e-8, -1, 0]),
        *([0.6, 0.0, 0.8], [-0.8, -0.0, 0.6], [0.8, -1e-17, -0.6], [0.6, 1e-9, -0.8]),
    ],
    dtype=torch.float64,
)
"""Along the axes, beside the poles, and on the equator or at either side of it."""
