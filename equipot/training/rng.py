"""States of the random number generators as tensors and JSON."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed the generators of PyTorch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries may draw from it)
    random.seed(seed)


def random_tensors() -> dict[str, Tensor]:
    """States of PyTorch's generators, on the CPU and on the current GPU."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def random_record() -> dict[str, Any]:
    """States of the generators of NumPy and Python, JSON serializable."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore_random(tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Restore what `random_tensors` and `random_record` returned."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    name, keys, *rest = record["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = record["python"]
    random.setstate((version, tuple(internal), gauss))
