"""Origin of a converted model: the section ``origin`` of its header."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from equipot.config.base import Config

Text = Annotated[str, Field(max_length=1000)]
"""A sentence that a file may hold."""
Name = Annotated[str, Field(max_length=200)]
"""A name or version that a file may hold."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""


class ModelOrigin(Config):
    """Where a converted model comes from."""

    package: Name
    """Package that wrote the file, as it is installed: ``mace-torch``."""
    architecture: Name
    """What the package calls the model, such as ``ScaleShiftMACE``."""
    files: dict[Name, Sha256] = Field(min_length=1, max_length=100)
    """SHA-256 of each file that was read, by name without folder."""
    dtype: Literal["float32", "float64"]
    """Floating-point type of the weights in the file."""
    version: Name | None = None
    """Version of the package, if the file states it."""
    head: Name | None = None
    """Head of the original that was converted, if it has several."""
    license: Text | None = None
    """License of the weights, if the file or the user states it."""
    source: Text | None = None
    """Where the weights were published; None if not known."""
    training: dict[Name, Text] = Field(default_factory=dict, max_length=100)
    """Information on the training in the file, such as the data set."""
    without_effect: tuple[Text, ...] = Field((), max_length=10_000)
    """Tensors and settings of the file that change no prediction, and why."""
    remarks: tuple[Text, ...] = Field((), max_length=100)
    """Limitations of the original, such as discontinuous derivatives."""


SECTION = "origin"
"""Name of the section."""


def parse_origin(section: Any) -> ModelOrigin | None:
    """Origin of a model from its header; None for a model that equipot trained.

    Raises:
        ValueError: If it is invalid, or too long.
    """
    if section is None:
        return None
    try:
        return ModelOrigin.model_validate(section)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"])
        raise ValueError(f"origin: {where}: {first['msg'][:300]}") from error
