"""`equipot info`: contents of the header of a model file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipot.checkpoint.origin import ModelOrigin

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files


@explain_errors
def info(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    everything: Annotated[
        bool, typer.Option("--json", help="Print the complete header as JSON.")
    ] = False,
    backend: Annotated[
        str | None,
        typer.Option(help="Check whether this backend supports the model here."),
    ] = None,
) -> None:
    """Show architecture, training, errors and domain of validity of a model."""
    from equipot.checkpoint.file import read_header

    headers = {str(path): read_header(path) for path in model_files(model)}
    if backend is not None:
        from equipot.checkpoint.backends import describe_backend

        for name, header in headers.items():
            of = f"{name}: " if len(headers) > 1 else ""
            typer.echo(f"{of}{describe_backend(header, backend)}")
        return
    if everything:
        (first, *others) = headers.values()
        content = {"members": headers} if others else first
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    if len(headers) > 1:
        _show_committee(model, headers)
        return
    ((name, header),) = headers.items()
    _show(name, list(describe(header)))


def _show(title: str, lines: list[tuple[str, str]]) -> None:
    from equipot.system.terminal import in_columns

    typer.secho(title, bold=True)
    for line in in_columns(lines):
        typer.echo(line)


def _show_committee(folder: Path, headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Common entries of all members, then the differences of each member."""
    members = {name: list(describe(header)) for name, header in headers.items()}
    lists = list(members.values())
    common = [line for line in lists[0] if all(line in other for other in lists)]
    names = ", ".join(Path(name).parent.name for name in members)
    _show(str(folder), [("committee", f"{len(members)} members: {names}"), *common])
    for name, lines in members.items():
        _show(name, [line for line in lines if line not in common])


def describe(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Summary of a model.

    Args:
        header: From `equipot.checkpoint.file.read_header`.

    Yields:
        Title and text of each line.
    """
    from ase.data import chemical_symbols

    from equipot.checkpoint.origin import parse_origin

    model, statistics = header["model"], header["statistics"]
    energies = {
        chemical_symbols[int(z)]: energy
        for z, energy in statistics["reference_energies"].items()
    }
    yield "elements", ", ".join(energies)
    yield "architecture", describe_architecture(model)
    origin = parse_origin(header.get("origin"))
    used = header["backend_used"]
    made = "trained" if origin is None else "converted"
    trained = "" if model["backend"] == used else f", {made} with {used}"
    yield "backend", f"{model['backend']}{trained}"
    if origin is not None:
        yield from describe_origin(origin)
    counts = statistics["label_counts"].items()
    labels = ", ".join(f"{n} of {name}" for name, n in counts if n)
    number = statistics["num_structures"]
    if number and origin is not None:
        yield "structures", f"{number}, given at conversion for the domain"
    elif number:
        yield "structures", f"{number}; labels: {labels or 'none'}"
    if len(statistics["config_types"]) > 1:
        groups = statistics["config_types"].items()
        yield "groups", ", ".join(f"{n} of {name}" for name, n in groups)
    yield from _training(header)
    if distances := statistics["minimum_distances"]:
        yield "shortest distances", _numbers(distances, ".2f", "Å")
    from equipot.report.training_domain import ranges

    for name, text in ranges(statistics):
        yield name.lower(), text
    source = statistics["reference_source"].replace("_", " ")
    if origin is not None:
        source = "the original"
    yield "reference energies", f"{_numbers(energies, '.4f', 'eV')}, from {source}"
    for warning in statistics["warnings"]:
        yield "warning", warning
    for name, digest in header.get("provenance", {}).get("data", {}).items():
        yield "data", f"{name}  {digest[:16]}"
    sizes = [len(sample["numbers"]) for sample in header["samples"]]
    carried = f"{len(sizes)} structures, {sum(sizes)} atoms" if sizes else "none"
    yield "test structures", f"{carried}, for equipot verify"
    yield "golden outputs", _golden(header["golden"])
    yield "units", ", ".join(f"{k} {v}" for k, v in header["units"].items())
    data = header.get("provenance", {}).get("config", {}).get("data", {})
    if stated := data.get("units"):
        from equipot.config.label_units import UnitsConfig

        if text := UnitsConfig.model_validate(stated).describe():
            yield "labels", f"converted on reading: {text} in the files"
    yield "written by", f"equipot {header['equipot_version']}"
    yield "sha256", header["sha256"]


def describe_architecture(model: Mapping[str, Any]) -> str:
    """Name, size and hyperparameters that matter most.

    Args:
        model: Section of the configuration.
    """
    parts = [
        str(model["architecture"]),
        f"{model['num_layers']} layers",
        f"{model['channels']} channels",
        *(
            f"{key} {model[key]}"
            for key in ("lmax", "lmax_hidden", "correlation")
            if model.get(key) is not None
        ),
        f"cutoff {model['cutoff']:g} Å",
        *([model["symmetry"]] if "symmetry" in model else []),
        str(model["dtype"]),
        *(["ZBL"] if model["zbl"] else []),
    ]
    return ", ".join(parts)


def describe_origin(origin: "ModelOrigin") -> Iterator[tuple[str, str]]:
    """Where a converted model comes from, its license, and what to know of it.

    Args:
        origin: From its header.

    Yields:
        Title and text of each line.
    """
    version = "" if origin.version is None else f" {origin.version}"
    head = "" if origin.head is None else f", head {origin.head}"
    what = f"{origin.package}{version}, {origin.architecture}{head}, {origin.dtype}"
    yield "converted from", what
    for name, digest in origin.files.items():
        yield "original file", f"{name}  {digest[:16]}"
    yield "license", origin.license or "not known; convert with --license to record it"
    if origin.source is not None:
        yield "published", origin.source
    for key, text in origin.training.items():
        yield "trained", f"{key}: {text}"
    for remark in origin.remarks:
        yield "remark", remark


def _golden(section: Mapping[str, Any] | None) -> str:
    """Golden outputs of the model."""
    if section is None:
        return "none, as in all files before format 4: edits are not detected"
    atoms = len(section["values"]["energies"])
    return f"{', '.join(section['values'])} of {atoms} atoms, checked at loading"


def _training(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Errors of each data set; only for models trained by `train-potential`."""
    training = header.get("training")
    if training is None:
        return
    yield "training", _length(header, training)
    epochs = f"weights after {training['best_epoch']:.4g} epochs"
    yield "best model", f"{epochs}, {training['steps']} steps"
    for name, errors in training["errors"].items():
        overall = [(key, groups["overall"]) for key, groups in errors.items()]
        texts = [f"{key} {e['rmse']:.1f} {e['unit']}" for key, e in overall]
        yield f"RMSE, {name}", ", ".join(texts)


def _length(header: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """How many epochs the run had, and why it ended before the last."""
    from equipot.training.progress import ALL_EPOCHS, OUT_OF_TIME, PLANNED_EPOCHS

    # headers of earlier versions say less
    history = training.get("history") or [{"epoch": training["epochs"]}]
    done = training.get("epochs_done", history[-1]["epoch"])
    config = header.get("provenance", {}).get("config", {}).get("training", {})
    asked = training.get("epochs_asked", config.get("epochs", training["epochs"]))
    text = f"{done:.4g} of {asked} epochs"
    match training.get("finished", ALL_EPOCHS if done >= asked else None):
        case ended if ended == ALL_EPOCHS:
            return text
        case ended if ended == PLANNED_EPOCHS:
            return (
                f"{text}, stopped by the time budget, with the schedule adapted to it"
            )
        case ended if ended == OUT_OF_TIME:
            return f"{text}, stopped by the time budget"
        case None:
            return f"{text}, not finished"
        case ended:
            return f"{text}, stopped early: {ended}"


def _numbers(values: Mapping[str, float], form: str, unit: str) -> str:
    items = (f"{key} {value:{form}}" for key, value in values.items())
    return f"{', '.join(items)} {unit}"
