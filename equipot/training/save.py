"""Model files of a training run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipot.checkpoint.file import save_potential
from equipot.checkpoint.origin import SECTION
from equipot.domain import FeatureDistribution
from equipot.models.potential import Potential
from equipot.training.prepare import Prepared
from equipot.verify.golden import GoldenOutputs


def provenance(prepared: Prepared, epoch: float) -> dict[str, Any]:
    """Header entry with the provenance of a model.

    Args:
        prepared: The run.
        epoch: Number of epochs that the weights were trained for.
    """
    return {
        "provenance": {
            "epoch": epoch,
            "seed": prepared.config.seed,
            "data": prepared.dataset.hashes,
            "config": prepared.config_tree,
        }
    }


def save_model(
    prepared: Prepared,
    path: Path,
    model: Potential,
    extra: Mapping[str, Any],
    *,
    features: FeatureDistribution | None = None,
    golden: GoldenOutputs | None = None,
) -> None:
    """Write a model with the statistics and sample structures of its run.

    Args:
        prepared: The run.
        path: File to replace.
        model: Model to write.
        extra: Further entries of the header.
        features: Learned features of the training set.
        golden: Outputs on the sample structures, to compare with on other machines.
    """
    origin: dict[str, Any] = {}
    if prepared.origin is not None:
        origin = {SECTION: prepared.origin.model_dump(mode="json")}
    save_potential(
        path,
        model,
        prepared.config.model,
        prepared.statistics,
        {**extra, **origin},
        samples=prepared.samples,
        features=features,
        golden=golden,
    )
