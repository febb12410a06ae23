"""From a file of another package to a potential, and to a model file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from equipot.checkpoint.file import save_potential
from equipot.checkpoint.header import check_weights
from equipot.checkpoint.origin import SECTION
from equipot.conversion.converted import Converted, Source
from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record
from equipot.conversion.sources import SOURCES
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive
from equipot.domain import FeatureCloud
from equipot.models.build import build_potential
from equipot.models.potential import Potential

DATA_SETS = (".xyz", ".extxyz", ".npz", ".db", ".traj", ".cif", ".vasp")
"""Endings of files of structures, which are no models."""


def find_source(
    path: Path, name: str | None = None, sources: Mapping[str, Source] = SOURCES
) -> Source:
    """Source of a file.

    Args:
        path: File or folder.
        name: Of the source; found from the content of the file if left out.
        sources: To choose from.

    Raises:
        FileNotFoundError: If there is no file.
        ConversionError: If the file is of none of the sources, or damaged.
        ValueError: If there is no such source.
    """
    if name is not None and name not in sources:
        raise ValueError(f"no source {name!r}; choose among {', '.join(sources)}")
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    if path.suffix in DATA_SETS:
        raise ConversionError(
            f"{path} holds structures, not a model; equipot data convert is for those"
        )
    if name is not None:
        return sources[name]
    found = [source for source in sources.values() if source.matches(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(source.name for source in found)
        raise ConversionError(f"{path} may be of {names}: choose one with --source")
    raise ConversionError(f"{_unknown(path)}; known are {_described(sources)}")


def read_model(path: Path, source: Source, head: str | None = None) -> Converted:
    """Read a file of a source, and compare its weights with the architecture.

    Args:
        path: File or folder.
        source: That it is of.
        head: Of the original, if it has several.

    Raises:
        ConversionError: If it is damaged, or not accounted for in full.
    """
    try:
        converted = source.read(path, head)
    except ConversionError as error:
        raise error.of(path) from error.__cause__
    if converted.config.cutoff != converted.statistics.cutoff:
        raise ConversionError(
            f"the cutoff is {converted.config.cutoff} Å in the model and "
            f"{converted.statistics.cutoff} Å in its statistics"
        )
    try:
        check_weights(converted.config, converted.statistics, converted.weights)
    except ValueError as error:
        raise ConversionError(f"{path}: {error}") from error
    return converted


def build(converted: Converted) -> Potential:
    """The potential in float64, in evaluation mode.

    Args:
        converted: What `read_model` returned.
    """
    config = converted.config.model_copy(update={"dtype": "float64"})
    potential = build_potential(config, converted.statistics)
    potential.load_state_dict(dict(converted.weights))
    return potential.eval().requires_grad_(False)


def save_converted(
    path: Path,
    converted: Converted,
    potential: Potential,
    *,
    dtype: str | None = None,
    samples: Sequence[Atoms] = (),
    features: FeatureCloud | None = None,
    data: Mapping[str, str] | None = None,
) -> str:
    """Write a model file with the origin in its header.

    Weights are stored in float64, so that factors of the original that were folded into
    them are not rounded; `dtype` is what the potential computes in where it is loaded.

    Args:
        path: File to replace.
        converted: Configuration, statistics and origin.
        potential: What `build` returned.
        dtype: ``"float32"`` or ``"float64"``; by default that of the original.
        samples: Small structures to verify on.
        features: Of the structures that its domain was made from.
        data: SHA-256 of the files with these structures.

    Returns:
        SHA-256 of header and weights, in hexadecimal.
    """
    config = converted.config.model_copy(
        update={"dtype": dtype or converted.origin.dtype}
    )
    extra: dict[str, Any] = {SECTION: converted.origin.model_dump(mode="json")}
    if data:
        extra["provenance"] = {"data": dict(data)}
    return save_potential(
        path,
        potential,
        config,
        converted.statistics,
        extra,
        samples=samples,
        features=features,
    )


def _unknown(path: Path) -> str:
    """What a file is that no source reads."""
    if not is_torch_archive(path):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(9)
            if start[:1] == b"\x80":
                read_torch_archive(path)  # says which kind of pickle it is
            if start[8:9] == b"{":
                return f"{path} is a safetensors file, of equipot or another package"
        return f"{path} is not a model file of another package"
    archive = read_torch_archive(path, numbers=False)  # says what is wrong with it
    root = archive.root
    holds = root.name if isinstance(root, Record) else f"a {type(root).__name__}"
    return f"{path} is a file of torch.save that holds {holds[:200]}"


def _described(sources: Mapping[str, Source]) -> str:
    return "; ".join(
        f"{source.name}: {source.describes}" for source in sources.values()
    )
