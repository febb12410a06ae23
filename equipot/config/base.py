"""Base class of configuration sections."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen section that rejects unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        allow_inf_nan=False,
    )
