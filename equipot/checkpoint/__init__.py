"""Model files: header, weights, and the certificate of a saved model."""
