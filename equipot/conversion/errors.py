"""Error of a conversion."""


class ConversionError(ValueError):
    """A file of another package is damaged, hostile, or not accounted for in full."""
