"""Training: loss, loop, weight average, checkpoints."""
