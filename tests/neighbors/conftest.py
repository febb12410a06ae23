"""The external suite of structures that break neighbor searches."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ORACLE = Path(__file__).parents[2] / "../shared/nl_oracle.py"


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """487 structures with their edges, and checks of batches and of skins."""
    if not ORACLE.exists():
        pytest.skip("the suite ../shared/nl_oracle.py is not beside this repository")
    spec = importlib.util.spec_from_file_location("nl_oracle", ORACLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["nl_oracle"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
