"""Interpolated radial functions in training steps, and their errors."""

from typing import Any, Final, Literal, final

import torch
from torch import nn

from equipot.data.statistics import Statistics
from equipot.models.message_passing import MessagePassing
from equipot.models.potential import Potential
from equipot.nn.radial_table import SHORTEST, RadialTable, largest_error
from equipot.ops import unavailable
from equipot.training.logs import Journal
from equipot.training.observer import Observer
from equipot.training.progress import Row

AUTO_INTERVALS: Final = 128
"""Intervals for which errors are below the rounding errors of float32."""
ERROR_TO_WARN_OF: Final = 1e-5
"""Of interpolated functions, relative to their largest value, above which to warn."""


def interpolate_radial(
    model: nn.Module, intervals: int | Literal["auto"] | None, statistics: Statistics
) -> None:
    """Interpolate the radial functions of a potential in training mode.

    In evaluation mode they stay exact.

    Args:
        model: Potential, whose backbone is changed in place.
        intervals: Number of intervals; None for none; "auto" for `AUTO_INTERVALS` if
            this is accurate and fast.
        statistics: Statistics of the training set.

    Raises:
        ValueError: If the number is given, but radial functions cannot be interpolated.
    """
    if intervals is None:
        return
    problem = _problem(model, statistics)
    if intervals == "auto":
        if problem is not None or not _is_accurate_and_fast(model):
            return
        intervals = AUTO_INTERVALS
    elif problem is not None:
        raise ValueError(
            f"training.radial_intervals = {intervals}, but {problem}: set it to null"
        )
    backbone = _backbone(model)
    if backbone is not None:
        backbone.radial_table = RadialTable(backbone.cutoff, intervals)


def radial_error(model: nn.Module) -> float | None:
    """Largest error of interpolated radial functions, relative to their largest value.

    Args:
        model: Potential.

    Returns:
        The largest of all layers; None if they are not interpolated.
    """
    backbone = _backbone(model)
    if backbone is None or (table := backbone.radial_table) is None:
        return None
    like = next(backbone.parameters())
    with torch.no_grad():
        # one evaluation: products of other sizes have other rounding errors
        lengths = torch.cat([table.sites(like), table.halfway(like)])
        counts = [len(lengths) - table.intervals, table.intervals]
        return max(
            largest_error(table, *function.split(counts))
            for layer in backbone.radial_values(lengths)
            for function in layer
        )


@final
class RadialErrors(Observer):
    """Warns once if interpolated radial functions become inaccurate.

    Args:
        model: Potential that is trained.
        journal: Log for the warning.
    """

    def __init__(self, model: nn.Module, journal: Journal) -> None:
        self._model = model
        self._journal = journal
        self._warned = False

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Compare with exact values halfway between knots."""
        error = radial_error(self._model)
        if error is None or error <= ERROR_TO_WARN_OF or self._warned:
            return
        self._warned = True
        self._journal.warn(
            f"interpolated radial functions have errors of {error:.1e} of their "
            "largest value in training steps, though not in validation nor in the "
            "model: start a run with more training.radial_intervals, or null"
        )


def _problem(model: nn.Module, statistics: Statistics) -> str | None:
    """Reason why radial functions cannot be interpolated; None if they can."""
    backbone = _backbone(model)
    if backbone is None:
        return "the architecture has no radial functions that can be interpolated"
    if backbone.radial_inputs.transform is not None:
        return "the radial functions depend on elements"
    if any(radius < backbone.cutoff for radius in backbone.hessian_jumps):
        return "the envelope has a jump in its second derivative"
    shortest = min(statistics.minimum_distances.values(), default=backbone.cutoff)
    if shortest < SHORTEST:
        return f"two atoms are {shortest:.2g} Å apart, less than {SHORTEST} Å"
    return None


def _is_accurate_and_fast(model: nn.Module) -> bool:
    weight = next(model.parameters())
    compiled = unavailable(weight.device) is None
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and compiled


def _backbone(model: nn.Module) -> MessagePassing | None:
    """Message-passing backbone of a potential, if it has one."""
    backbone = model.backbone if isinstance(model, Potential) else None
    return backbone if isinstance(backbone, MessagePassing) else None
