"""The directory of a run: what each file is called."""

from pathlib import Path

from equipot.storage.provenance import ENVIRONMENT, note_start
from equipot.storage.run_folder import CONFIG


class RunDirectory:
    """Names of the files of a run.

    =====================  ==========================================================
    ``config.yaml``        the configuration with all defaults
    ``model.safetensors``  averaged weights with the lowest validation loss
    ``last.safetensors``   averaged weights of the last validation
    ``state.safetensors``  what a resume needs, raw weights among it; ``state.1`` the
                           generation before
    ``metrics.csv``        one row per epoch
    ``metrics.json``       errors of the best model on all sets, by group and element
    ``verification.json``   what a verification of the best model found on this machine
    ``train.log``          messages
    ``environment.json``   versions and machine of every start
    ``data.json``          SHA-256 of every file of data
    ``tensorboard/``       curves
    =====================  ==========================================================

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.best = path / "model.safetensors"
        self.last = path / "last.safetensors"
        self.table = path / "metrics.csv"
        self.metrics = path / "metrics.json"
        self.certificate = path / "verification.json"
        self.log = path / "train.log"
        self.environment = path / ENVIRONMENT
        self.data = path / "data.json"
        self.tensorboard = path / "tensorboard"
        self.bad_batch = path / "nonfinite_batch.extxyz"

    def note_environment(self) -> None:
        """Add this start to ``environment.json``; no run ends for a damaged note."""
        note_start(self.path)
