"""Measures tensor products: what they can express, what they cost, and how fast."""
