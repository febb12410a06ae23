"""What all sections of a configuration share."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen section of a configuration that rejects keys it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )
