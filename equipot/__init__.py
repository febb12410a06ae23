"""E(3)-equivariant interatomic potentials that are never silently wrong.

The names below are what most programs need; each is imported when it is first used,
so that `import equipot` and the command line start at once::

    from equipot import EquipotCalculator, load_potential
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipot.calculators import EquipotCalculator
    from equipot.checkpoint.file import load_potential, read_header, save_potential
    from equipot.checkpoint.verification import ModelReport, verify_model
    from equipot.graph.atomic_graph import AtomicGraph
    from equipot.models.build import with_backend
    from equipot.models.hessian_vector import hessian_vector_products
    from equipot.models.potential import Potential
    from equipot.models.prediction import Prediction
    from equipot.neighbors import (
        build_graph,
        check_complete,
        from_pyg,
        neighbor_list,
        to_pyg,
    )
    from equipot.verify import BackendMismatchError

__version__ = "0.1.0"

_HOME = {
    "AtomicGraph": "equipot.graph.atomic_graph",
    "BackendMismatchError": "equipot.verify",
    "EquipotCalculator": "equipot.calculators",
    "ModelReport": "equipot.checkpoint.verification",
    "Potential": "equipot.models.potential",
    "Prediction": "equipot.models.prediction",
    "build_graph": "equipot.neighbors",
    "check_complete": "equipot.neighbors",
    "from_pyg": "equipot.neighbors",
    "hessian_vector_products": "equipot.models.hessian_vector",
    "load_potential": "equipot.checkpoint.file",
    "neighbor_list": "equipot.neighbors",
    "read_header": "equipot.checkpoint.file",
    "save_potential": "equipot.checkpoint.file",
    "to_pyg": "equipot.neighbors",
    "verify_model": "equipot.checkpoint.verification",
    "with_backend": "equipot.models.build",
}

__all__ = [
    "AtomicGraph",
    "BackendMismatchError",
    "EquipotCalculator",
    "ModelReport",
    "Potential",
    "Prediction",
    "__version__",
    "build_graph",
    "check_complete",
    "from_pyg",
    "hessian_vector_products",
    "load_potential",
    "neighbor_list",
    "read_header",
    "save_potential",
    "to_pyg",
    "verify_model",
    "with_backend",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module 'equipot' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
