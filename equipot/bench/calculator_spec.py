"""How a calculator of a comparison is made: factory, arguments, Python and label."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equipot

EXPECTED_AGAINST = "expected MODULE:FACTORY[,KEY=VALUE...], such as package:make"


@dataclass(frozen=True)
class CalculatorSpec:
    """A factory of an ASE calculator, in an environment of its own."""

    label: str
    """Name in tables and plots."""
    module: str
    """Module of the factory."""
    factory: str
    """Function or class in the module."""
    arguments: dict[str, Any]
    """Keyword arguments of the factory; JSON values."""
    path: tuple[str, ...] = ()
    """Folders in which the module is looked up first."""
    python: str = sys.executable
    """Python interpreter."""


def equipot_calculator(
    text: str, files: Sequence[Path], **defaults: Any
) -> CalculatorSpec:
    """Calculator of a model file, or of a committee.

    Args:
        text: ``MODEL[,KEY=VALUE...]``; keys are arguments of `EquipotCalculator`, and
            ``label``.
        files: Files of the model.
        defaults: Arguments that `text` may replace.
    """
    name, options = split_options(text)
    label = options.pop("label", _model_name(Path(name)))
    arguments = {"on_extrapolation": "record", **defaults, **options}
    arguments["model"] = [str(file.absolute()) for file in files]
    root = str(Path(equipot.__file__).parents[1])
    return CalculatorSpec(
        str(label), "equipot.calculators", "EquipotCalculator", arguments, (root,)
    )


def foreign_calculator(text: str) -> CalculatorSpec:
    """Calculator of another package.

    Args:
        text: ``MODULE:FACTORY[,KEY=VALUE...]``; the keys ``python``, ``path`` and
            ``label`` are not arguments of the factory.

    Raises:
        ValueError: If it has another form, or names a Python or folder that is absent.
    """
    name, options = split_options(text)
    module, colon, factory = name.partition(":")
    if not (module and colon and factory):
        raise ValueError(f"--against {name}: {EXPECTED_AGAINST}")
    # links are not followed: the Python of an environment is one
    python = Path(str(options.pop("python", sys.executable))).expanduser().absolute()
    if not python.is_file():
        raise ValueError(f"--against {name}: there is no Python interpreter {python}")
    folders = []
    if "path" in options:
        folder = Path(str(options.pop("path"))).expanduser().absolute()
        if not folder.is_dir():
            raise ValueError(f"--against {name}: there is no folder {folder}")
        folders.append(str(folder))
    label = str(options.pop("label", name))
    return CalculatorSpec(label, module, factory, options, tuple(folders), str(python))


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of ``NAME[,KEY=VALUE...]``.

    Numbers, ``true``, ``false`` and ``null`` are JSON values; others are strings.

    Raises:
        ValueError: If an option has no value or is repeated.
    """
    name, *parts = text.split(",")
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key.isidentifier() and equals):
            raise ValueError(f"{text}: expected KEY=VALUE after the comma, got {part}")
        if key in options:
            raise ValueError(f"{text}: {key} is given twice")
        options[key] = _value(value)
    return name, options


def check_labels(specs: Sequence[CalculatorSpec]) -> None:
    """Check that calculators can be told apart.

    Raises:
        ValueError: If two have the same label.
    """
    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"two calculators are called {label}: append ,label=NAME to one of them"
            )


def _model_name(model: Path) -> str:
    """Name of the run of ``model.safetensors``, else of the file or folder."""
    if model.name == "model.safetensors" and model.parent.name:
        return model.parent.name
    return model.stem if model.suffix == ".safetensors" else model.name


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, str | list | dict) else value
