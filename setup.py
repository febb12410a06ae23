"""Adds the compiled ops to the package where they can be built.

``pip install --no-build-isolation .`` builds them with the PyTorch that is installed.
An isolated build has none, and one that it downloaded need not be the one in use: there
the package is pure Python, and `equipot doctor` names the command that adds the ops:
it takes the folder that the package was installed from.
The variable EQUIPOT_BUILD chooses: ``none``, ``cpu``, or ``cpu,cuda``.
"""

import os
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "cuda_ext"))

from build import TARGETS, obstacle  # noqa: E402


def targets() -> list[str]:
    """Libraries to build."""
    asked = os.environ.get("EQUIPOT_BUILD")
    if asked is not None:
        return [] if asked == "none" else asked.split(",")
    return [] if obstacle() else ["cpu"]


class BuildPackage(build_py):
    """Builds libraries beside the modules."""

    def run(self) -> None:
        """Copy modules, or not if they are edited in place; then build."""
        super().run()
        root = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        for target in targets():
            TARGETS[target](root / "equipot" / "ops" / "lib")
        if not targets():
            print(
                f"equipot: no compiled ops, {obstacle() or 'as asked'}; to add them: "
                "pip install --no-build-isolation --no-deps --force-reinstall "
                f"'{ROOT}'"
            )


class BuildWheel(bdist_wheel):
    """Tags wheels with libraries for the platform, and for any Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Language, ABI and platform."""
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class Package(Distribution):
    """Belongs to a platform if there are libraries."""

    def has_ext_modules(self) -> bool:
        """Whether files differ between platforms."""
        return bool(targets())


setup(distclass=Package, cmdclass={"build_py": BuildPackage, "bdist_wheel": BuildWheel})
