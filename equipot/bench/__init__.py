"""Measurements of tensor products: expressivity, operations, memory and time."""
