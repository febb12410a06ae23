"""Criterion of the fuzzer: inputs are read to valid data or refused with a clear error.

A refusal is clear if it is an error of the package that names the file. Memory is
limited, and readers may neither execute an input nor change or add files.
"""

import resource
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.file import (
    load_domain,
    load_potential,
    read_header,
    read_samples,
    read_statistics,
)
from equipot.cli.structures import read_structure as read_from_command_line
from equipot.config.data import KeysConfig
from equipot.config.load import ConfigError, dump_config, load_config
from equipot.config.md import MDConfig, StructureConfig
from equipot.config.train import TrainConfig
from equipot.conversion.array_stream import read_array_stream
from equipot.conversion.convert import find_source
from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record, module_tensors
from equipot.conversion.torch_archive import read_torch_archive
from equipot.data.reading.errors import DataError
from equipot.data.reading.hessians import highest_frequency
from equipot.data.reading.labeled import read_structures
from equipot.data.structure import Structure
from equipot.md.start import read_structure as read_for_md
from equipot.neighbors import build_graph
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.tensor_products.base import BackendUnavailableError, UnsupportedSpecError
from fuzzing.archives import STRUCTURES
from fuzzing.configurations import TRAIN
from fuzzing.model_files import STATE_KIND, STATE_VERSION

MEMORY_BYTES = 256 << 20
"""Address space that one input may take; no input is larger than 256 KiB."""
MAX_MESSAGE_LENGTH = 5000
FORBIDDEN = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
    "pickle.find_class", "socket.connect",
}  # fmt: skip
"""Audit events that no input may cause."""
KEYS = (
    KeysConfig(),
    KeysConfig(energy="energy", forces="forces", stress="stress"),
    KeysConfig(virials="stress"),
)


class FuzzFault(AssertionError):
    """An input was read to invalid data, or failed without a clear error."""


def check_input(target: str, path: Path) -> str:
    """Read a file, alone in its folder, and apply the rule.

    Args:
        target: Key of `READERS`.
        path: File; its name tells the format.

    Returns:
        "read" or "refused".

    Raises:
        FuzzFault: If the rule is broken.
        Exception: Any other error that a reader lets through.
    """
    reader, expected = READERS[target]
    before = path.read_bytes()
    outcome = "read"
    _events.clear()
    with warnings.catch_warnings(), _limited_memory():
        warnings.simplefilter("ignore")
        try:
            reader(path)
        except expected as error:
            outcome = "refused"
            _check_refusal(error, path)
    _require(not _events, f"executed: {_events[:3]}")
    files = list(path.parent.iterdir())
    _require(files == [path], f"files were made or removed: {files}")
    _require(path.read_bytes() == before, "the input was changed")
    return outcome


@contextmanager
def _limited_memory() -> Iterator[None]:
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


_events: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        _events.append(f"{event}{arguments}"[:200])


sys.addaudithook(_note)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise FuzzFault(message)


def _check_refusal(error: Exception, path: Path) -> None:
    message = str(error)
    named = any(name in message for name in (path.name, str(path.parent), "--set"))
    backend = isinstance(error, BackendUnavailableError | UnsupportedSpecError)
    _require(named or backend, f"the message names no file: {message[:300]}")
    _require(
        len(message) <= MAX_MESSAGE_LENGTH, f"{len(message)} characters of message"
    )
    link: BaseException | None = error
    while link is not None:
        _require(not isinstance(link, MemoryError), f"no memory: {message[:300]}")
        link = link.__cause__ or link.__context__


def _structures(path: Path) -> None:
    draw = zlib.crc32(path.read_bytes())
    match draw % 4:
        case 0:
            _check_atoms(
                read_for_md(StructureConfig(file=path, index=-(draw >> 2 & 1)))
            )
        case 1:
            _check_atoms(read_from_command_line(str(path)))
        case _:
            for structure in read_structures(path, KEYS[draw % 3]):
                _check_structure(structure)


def _hessians(path: Path) -> None:
    structures = path.with_name("structures.extxyz")
    structures.write_bytes(STRUCTURES)
    try:
        for structure in read_structures(structures, KeysConfig(), path):
            _check_structure(structure)
    finally:
        structures.unlink()


def _configurations(path: Path) -> None:
    overrides: list[str] = []
    schema: Any = MDConfig if path.name.startswith("md") else TrainConfig
    file, again = path, path.with_name("again.yaml")
    try:
        if path.suffix == ".overrides":
            overrides = path.read_text(errors="surrogateescape").split("\n")[:20]
            file = path.with_name("train.yaml")
            file.write_text(dump_config(TrainConfig.model_validate(TRAIN)))
        config = load_config(file, overrides, schema)
        again.write_text(dump_config(config), encoding="utf-8")
        _require(load_config(again, [], schema) == config, "a copy is read differently")
        _check_values(config.model_dump(mode="python"))
    finally:
        again.unlink(missing_ok=True)
        if file != path:
            file.unlink()


def _check_values(tree: Any) -> None:
    if isinstance(tree, dict):
        tree = [*tree, *tree.values()]
    if isinstance(tree, list | tuple):
        for value in tree:
            _check_values(value)
    elif isinstance(tree, str | Path):
        _require(str(tree).isprintable(), f"holds the text {str(tree)[:50]!r}")
    elif isinstance(tree, int | float):
        _require(np.isfinite(float(tree)), "holds a number that is not finite")
        _require(isinstance(tree, float) or abs(tree) < 2**63, f"holds {tree}")


def _models(path: Path) -> None:
    if path.name.startswith("state"):
        states = RotatingCheckpoints(path.parent, STATE_KIND, STATE_VERSION)
        record, tensors = states.load(lambda message: None)
        _require(isinstance(record, dict) and isinstance(tensors, dict), "half a state")
        return
    header = read_header(path)
    _require(read_statistics(header).elements, "a model without elements")
    for atoms in read_samples(header):
        _check_atoms(atoms)
    potential = load_potential(path, device="cpu", verify=False)
    for name, tensor in potential.state_dict().items():
        finite = not tensor.is_floating_point() or tensor.isfinite().all()
        _require(finite, f"{name} is not finite")
    water = molecule("H2O")
    if not set(water.numbers.tolist()) <= set(potential.elements):
        return
    water.calc = EquipotCalculator(
        potential, domain=load_domain(path), on_extrapolation="record"
    )
    try:
        values = (water.get_potential_energy(), water.get_forces())
    except Exception as error:
        if "not finite" not in str(error):
            raise
    else:
        finite = all(np.isfinite(value).all() for value in values)
        _require(finite, "a prediction is not finite")


def _foreign(path: Path) -> None:
    if path.suffix == ".nqx":
        stream = read_array_stream(path)
        sizes = [array.numel() * array.element_size() for array in stream.arrays]
        _require(sum(sizes) <= path.stat().st_size, "arrays larger than the file")
        return
    root = read_torch_archive(path).root
    with suppress(ConversionError):  # of no package, or not in full
        find_source(path).read(path, None)
    if isinstance(root, Record):
        for name, tensor in module_tensors(root).items():
            _require(isinstance(name, str), "a tensor without a name")
            _require(tensor.is_contiguous(), f"{name[:50]} is a view")


def _check_atoms(atoms: Atoms) -> None:
    _require(len(atoms), "a structure without atoms")
    for name in ("positions", "momenta", "masses", "cell"):
        array = np.asarray(getattr(atoms, f"get_{name}")())
        finite = array.dtype.kind == "f" and np.isfinite(array).all()
        _require(finite, f"{name} are not finite numbers")
    _require((atoms.get_masses() > 0).all(), "masses are not positive")
    _require(((atoms.numbers > 0) & (atoms.numbers < 119)).all(), "no such element")
    periodic = atoms.cell.array[atoms.pbc]
    flat = len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic)
    _require(not flat, "a periodic cell without volume")
    if len(atoms) < 100:
        with suppress(ValueError):  # the cell is too small, for instance
            build_graph(atoms, 2.0)


def _check_structure(structure: Structure) -> None:
    _check_atoms(structure.atoms)
    labels, count = structure.labels, len(structure.atoms)
    _require(structure.config_type.isprintable(), "a group that cannot be printed")
    _require(labels.forces.shape == (count, 3), "forces of another shape")
    for values in (labels.energy, labels.forces, labels.stress):
        _require(not values.isinf().any(), "a label is infinite")
    missing = labels.forces.isnan()
    _require((missing.any(1) == missing.all(1)).all(), "a force has two components")
    if labels.hessian is not None:
        matrix = labels.hessian.matrices[0].numpy()
        _require(matrix.shape == (3 * count, 3 * count), "a Hessian of another shape")
        frequency = highest_frequency(matrix, structure.atoms)
        _require(np.isfinite(frequency), "a Hessian without frequencies")


Reader = Callable[[Path], None]
READERS: dict[str, tuple[Reader, tuple[type[Exception], ...]]] = {
    "structures": (_structures, (DataError,)),
    "hessians": (_hessians, (DataError,)),
    "configurations": (_configurations, (ConfigError,)),
    "models": (
        _models,
        (CheckpointError, StateError, BackendUnavailableError, UnsupportedSpecError),
    ),
    "foreign": (_foreign, (ConversionError,)),
}
"""Readers, and the errors with which they may refuse an input."""
