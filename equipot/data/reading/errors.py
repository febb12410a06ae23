"""The one error of files and labels."""


class DataError(ValueError):
    """Files or labels that cannot be used; the message names file, frame and key."""
