"""What reads an input, what it may raise, and what must hold for what it reads."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import (
    CheckpointError,
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
from equipot.data.reading.errors import DataError
from equipot.data.reading.hessians import highest_frequency
from equipot.data.reading.labeled import read_structures
from equipot.data.structure import Structure
from equipot.domain import Domain
from equipot.md.start import read_structure as read_for_md
from equipot.neighbors import build_graph
from equipot.storage.rotation import Generations, StateError
from equipot.tensor_products.base import BackendUnavailableError, UnsupportedSpecError
from fuzzing.archives import STRUCTURES
from fuzzing.configurations import TRAIN
from fuzzing.model_files import STATE_KIND, STATE_VERSION

READ, REFUSED = "read", "refused"
LONGEST_MESSAGE = 5000
KEYS = (
    KeysConfig(),
    KeysConfig.model_validate(
        {"energy": "energy", "forces": "forces", "stress": "stress"}
    ),
    KeysConfig.model_validate({"virials": "stress"}),
)
Reader = Callable[[Path], None]


class NonsenseError(Exception):
    """Something was read that must not be, or refused without a clear message."""


def read_input(kind: str, path: Path) -> tuple[str, str]:
    """Read a file as the package does.

    Args:
        kind: structures, hessians, configs or models.
        path: File; what it is called tells its format.

    Returns:
        `READ` or `REFUSED`, and the message of the refusal.

    Raises:
        NonsenseError: If what was read makes no sense, or the message is not clear.
        Exception: Whatever the package leaks.
    """
    reader, expected = TARGETS[kind]
    try:
        reader(path)
    except expected as error:
        _check_refusal(error, kind, path)
        return REFUSED, str(error)
    return READ, ""


def _check_refusal(error: Exception, kind: str, path: Path) -> None:
    message = str(error)
    backend = isinstance(error, BackendUnavailableError | UnsupportedSpecError)
    named = path.name in message or "--set" in message or str(path.parent) in message
    if not named and not backend:
        raise NonsenseError(f"the message names no file: {message[:300]}") from error
    if len(message) > LONGEST_MESSAGE:
        raise NonsenseError(f"the message has {len(message)} characters") from error
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MemoryError):
            raise NonsenseError(f"memory was asked for before a check: {message[:300]}")
        link = link.__cause__ or link.__context__


def _structures(path: Path) -> None:
    draw = zlib.crc32(path.read_bytes())
    match draw % 4:
        case 0:
            config = StructureConfig(file=path, index=-(draw >> 2 & 1))
            _check_atoms(read_for_md(config))
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


def _configs(path: Path) -> None:
    overrides: list[str] = []
    schema: Any = MDConfig if path.name.startswith("md") else TrainConfig
    config_path = path
    if path.suffix == ".overrides":
        text = path.read_bytes().decode(errors="surrogateescape")
        overrides = text.split("\n")[:20]
        config_path = path.with_name("train.yaml")
        config_path.write_text(dump_config(TrainConfig.model_validate(TRAIN)))
    try:
        config = load_config(config_path, overrides, schema)
        text = dump_config(config)
        again = path.with_name("again.yaml")
        again.write_text(text, encoding="utf-8")
        if load_config(again, [], schema) != config:
            raise NonsenseError("a written configuration is another one when read")
        again.unlink()
    finally:
        if config_path != path:
            config_path.unlink()
    _check_finite(config.model_dump(mode="python"))


def _models(path: Path) -> None:
    if path.name.startswith("state"):
        complaints: list[str] = []
        states = Generations(path.parent, STATE_KIND, STATE_VERSION)
        record, tensors = states.load(complaints.append)
        if not isinstance(record, dict) or not isinstance(tensors, dict):
            raise NonsenseError("a state without record or tensors")
        return
    header = read_header(path)
    statistics = read_statistics(header)
    if not statistics.elements:
        raise NonsenseError("a model without elements")
    samples = read_samples(header)
    for atoms in samples:
        _check_atoms(atoms)
    potential = load_potential(path, device="cpu", verify=False)
    for name, tensor in potential.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NonsenseError(f"loaded {name}, which is not finite")
    water = molecule("H2O")
    if set(water.numbers.tolist()) <= set(potential.elements):
        _predict(potential, load_domain(path), water)


def _predict(potential: Any, domain: Domain, atoms: Atoms) -> None:
    """Predictions are finite, or the calculator refuses them."""
    calculator = EquipotCalculator(potential, domain=domain, on_extrapolation="record")
    atoms = atoms.copy()
    atoms.calc = calculator
    try:
        values = (atoms.get_potential_energy(), atoms.get_forces())
    except Exception as error:
        if "not finite" in str(error):
            return
        raise
    if not all(np.isfinite(value).all() for value in values):
        raise NonsenseError("a prediction is not finite")


def _check_atoms(atoms: Atoms) -> None:
    if not len(atoms):
        raise NonsenseError("a structure without atoms")
    arrays = {
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "momenta": atoms.get_momenta(),
        "masses": atoms.get_masses(),
    }
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise NonsenseError(f"{name} are not finite numbers")
    if not (atoms.get_masses() > 0).all():
        raise NonsenseError("masses are not positive")
    if atoms.numbers.min() < 1 or atoms.numbers.max() > 118:
        raise NonsenseError("there is no such element")
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic):
        raise NonsenseError("a periodic cell without volume")
    if len(atoms) < 100:
        with suppress(ValueError):  # says that the cell is too small, for one
            build_graph(atoms, 2.0)


def _check_structure(structure: Structure) -> None:
    _check_atoms(structure.atoms)
    labels, count = structure.labels, len(structure.atoms)
    if not structure.config_type.isprintable():
        raise NonsenseError("the group of a structure cannot be printed")
    if labels.energy.isinf().any() or labels.forces.shape != (count, 3):
        raise NonsenseError("energy or forces make no sense")
    if labels.forces.isinf().any() or labels.stress.isinf().any():
        raise NonsenseError("forces or stress are not finite")
    if labels.forces.isnan().any() and not labels.forces.isnan().all():
        raise NonsenseError("some forces are not finite")
    if labels.hessian is not None:
        matrix = labels.hessian.matrices[0].numpy()
        if matrix.shape != (3 * count, 3 * count) or not np.isfinite(matrix).all():
            raise NonsenseError("a Hessian makes no sense")
        if not np.isfinite(highest_frequency(matrix, structure.atoms)):
            raise NonsenseError("a Hessian without frequencies")


def _check_finite(tree: Any) -> None:
    if isinstance(tree, dict):
        tree = [*tree, *tree.values()]
    if isinstance(tree, list | tuple):
        for value in tree:
            _check_finite(value)
    elif isinstance(tree, float) and not np.isfinite(tree):
        raise NonsenseError("a configuration holds a number that is not finite")
    elif isinstance(tree, str | Path) and not str(tree).isprintable():
        raise NonsenseError(f"a configuration holds the text {str(tree)[:50]!r}")
    elif isinstance(tree, int) and abs(tree) > 2**64:
        raise NonsenseError("a configuration holds a number that nothing can hold")


MODEL_ERRORS = (
    CheckpointError, StateError, BackendUnavailableError, UnsupportedSpecError,
)  # fmt: skip
TARGETS: dict[str, tuple[Reader, tuple[type[Exception], ...]]] = {
    "structures": (_structures, (DataError, ValueError)),
    "hessians": (_hessians, (DataError,)),
    "configs": (_configs, (ConfigError,)),
    "models": (_models, MODEL_ERRORS),
}
"""Readers, and the errors that they may refuse an input with."""

torch.set_num_threads(1)
