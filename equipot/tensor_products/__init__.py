"""Tensor products: what is computed () and who computes it (backends)."""
