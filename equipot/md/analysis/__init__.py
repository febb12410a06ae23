"""Analysis of trajectories: structure, diffusion, vibrations, averages."""

from equipot.md.analysis.analyze import Analysis, analyze
from equipot.md.analysis.trajectory import Trajectory, read_trajectory

__all__ = ["Analysis", "Trajectory", "analyze", "read_trajectory"]
