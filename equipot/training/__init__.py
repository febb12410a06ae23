"""Fitting a potential to labels: loss, loop, averaging, resumable state, errors."""
