"""Error of a conversion."""

from pathlib import Path


class ConversionError(ValueError):
    """A file of another package is damaged, hostile, or not accounted for in full."""

    def of(self, path: Path) -> "ConversionError":
        """The same error with the name of the file, unless it is there already."""
        text = str(self)
        return self if str(path) in text else ConversionError(f"{path}: {text}")
