"""A package that saves potentials of equipot with `torch.save`: a source for tests."""

from dataclasses import replace
from pathlib import Path

import torch

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import parse_model
from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.converted import (
    Converted,
    Original,
    Source,
    hashes,
    statistics_without_training,
)
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive
from equipot.models import build_potential
from equipot.models.potential import Potential

MODEL = {
    "cutoff": 4.0,
    "channels": 4,
    "num_layers": 2,
    "lmax": 1,
    "readout_hidden": 4,
    "radial_hidden": [4],
    "backend": "clebsch_gordan",
}
ENERGIES = {1: -13.6, 6: -1029.5, 8: -2041.25}
STATISTICS = statistics_without_training(
    ENERGIES, scale=1.25, shift=-3.0, average_num_neighbors=12.0, cutoff=4.0
)
REMARK = "second derivatives jump at 3.5 Å"


def original(dtype: str = "float64") -> Potential:
    """The potential that the package trained."""
    config = parse_model({**MODEL, "dtype": dtype})
    return build_potential(config, STATISTICS, seed=3).eval()


def write(path: Path, dtype: str = "float64", **settings: object) -> Path:
    """The file of the package."""
    weights = original(dtype).state_dict()
    weights["step"] = torch.tensor(7)
    settings = {"activation": "silu", "who": "me", **settings}
    torch.save({"package": "fake", "weights": weights, "settings": settings}, path)
    return path


def matches(path: Path) -> bool:
    """Whether it is a file of the package."""
    if not is_torch_archive(path):
        return False
    root = read_torch_archive(path, numbers=False).root
    return isinstance(root, dict) and root.get("package") == "fake"


def read(path: Path, head: str | None) -> Converted:
    """Read a file of the package."""
    root = read_torch_archive(path).root
    tensors = SourceTensors(root["weights"])
    flags = Flags(root["settings"], "settings")
    flags.expect("activation", "silu")
    flags.without_effect("who", "a name")
    tensors.without_effect("step", "of the optimizer")
    weights = {name: tensors.take(name) for name in tensors.names() if name != "step"}
    return Converted(
        config=parse_model(MODEL),
        statistics=STATISTICS,
        weights=weights,
        origin=ModelOrigin(
            package="fake-package",
            architecture="FakeNet",
            files=hashes(path),
            dtype=tensors.dtype,
            version="1.2",
            head=head,
            training={"data set": "none at all"},
            without_effect=(*tensors.finish(), *flags.finish()),
            remarks=(REMARK,),
        ),
    )


ORIGINAL = Original(
    module="equipot",
    install="pip install fake-package",
    script="""
def calculator(path, head, dtype):
    from pathlib import Path
    import sys
    from equipot import EquipotCalculator
    from tests.conversion.fake_package import original

    potential = original(dtype)
    if head == "shifted":
        potential.shift = potential.shift + 1e-4
    return EquipotCalculator(potential)
""",
)
FAKE = Source("fake", "Fake 1, .fake", matches, read, ORIGINAL)
ABSENT = replace(
    FAKE, original=replace(ORIGINAL, module="a_package_that_nobody_installed")
)
BROKEN = replace(FAKE, original=replace(ORIGINAL, script="raise SystemExit('broken')"))
