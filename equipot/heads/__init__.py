"""From node features to predictions."""
