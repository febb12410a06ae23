"""Model files: header, weights, and the verification of a saved model."""
