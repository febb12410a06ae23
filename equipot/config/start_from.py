"""Fine-tuning: training that starts from the weights of a potential."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from equipot.config.base import Config


class LowRankConfig(Config):
    """Low-rank adapters (LoRA), which are trained instead of matrices of weights."""

    rank: PositiveInt = 4
    """Rank of the change of each matrix."""
    parts: tuple[str, ...] = ("*",)
    """Names of weights to train, or patterns such as ``backbone.*``: matrices by
    adapters, vectors and small matrices themselves. All others are frozen."""


class StartFromConfig(Config):
    """Potential that training starts from; see docs/fine_tuning.md.

    Architecture and scales are those of the potential: the section ``model`` may only
    choose backends, ``dtype``, and a new ``direct_hessian``.
    """

    path: str
    """Model file."""
    reference_energies: Literal["refit", "keep", "data"] = "refit"
    """Reference energies of elements: those of the file, plus the least change that
    fits the energies of the training set; those of the file; or those that
    `data.reference_energies` gives for the training set."""
    elements: Literal["keep", "data"] = "keep"
    """Elements of the new potential besides those of the training set: those of the
    file as well, or no others."""
    frozen: tuple[str, ...] = ()
    """Names of weights that are not trained; patterns such as ``backbone.embedding.*``
    are allowed."""
    lr_factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Factors of the learning rate by name or pattern, such as ``{backbone.*: 0.1}``;
    the first that fits counts."""
    lora: LowRankConfig | None = None
    """Low-rank adapters, which are merged into the weights of the model files; null to
    train all weights."""


def section_of_path(value: Any) -> Any:
    """Section of a path alone: ``start_from: model.safetensors``."""
    return {"path": value} if isinstance(value, str) else value
