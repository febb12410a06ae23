"""File storage: atomic writes, checksums, rotating checkpoints."""
