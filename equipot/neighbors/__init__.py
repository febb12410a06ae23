"""Neighbour lists under any mix of periodic boundaries."""
