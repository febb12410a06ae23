"""Exception for invalid files and labels."""


class DataError(ValueError):
    """Invalid file or label; the message names the file, the frame and the key."""
