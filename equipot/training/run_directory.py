"""File names in a run directory."""

from pathlib import Path

from equipot.storage.provenance import ENVIRONMENT, note_start
from equipot.storage.run_folder import CONFIG


class RunDirectory:
    """Paths of the files of a training run.

    =====================  ==========================================================
    ``config.yaml``        configuration with all defaults
    ``model.safetensors``  averaged weights with the lowest validation loss
    ``last.safetensors``   averaged weights of the last validation
    ``state.safetensors``  state to resume from, with raw weights; ``state.1``: the
                           previous one
    ``metrics.csv``        one row per epoch
    ``metrics.json``       errors of the best model on all sets, by group and element
    ``before.json``        the same of the potential that training started from
    ``verification.json``   verification of the best model on this machine
    ``train.log``          messages
    ``environment.json``   versions and hardware at every start
    ``data.json``          SHA-256 of every data file
    ``tensorboard/``       TensorBoard events
    =====================  ==========================================================

    Args:
        path: Run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.best = path / "model.safetensors"
        self.last = path / "last.safetensors"
        self.table = path / "metrics.csv"
        self.metrics = path / "metrics.json"
        self.errors_before = path / "before.json"
        self.certificate = path / "verification.json"
        self.log = path / "train.log"
        self.environment = path / ENVIRONMENT
        self.data = path / "data.json"
        self.tensorboard = path / "tensorboard"
        self.bad_batch = path / "nonfinite_batch.extxyz"

    def note_environment(self) -> None:
        """Append this start to ``environment.json``; a damaged file is replaced."""
        note_start(self.path)
