"""The MODEL argument of commands: a file, a run, or a committee."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equipot.storage.provenance import ModelIdentity

MODEL = "model.safetensors"
MODEL_HELP = (
    "Model file (.safetensors), folder of a training run, or folder of a committee "
    "(with the runs member_1, member_2, ...)."
)


def model_files(model: Path) -> list[Path]:
    """Files of a model, or of the members of a committee.

    Args:
        model: A file, which need not exist; the folder of a run, with
            ``model.safetensors``; or a folder with folders ``member_*`` of runs.

    Raises:
        ValueError: If a folder holds neither, or a single member, or a member has not
            finished.
    """
    if not model.is_dir():
        return [model]
    if (model / MODEL).is_file():
        return [model / MODEL]
    members = sorted(
        (path for path in model.glob("member_*") if path.is_dir()),
        key=lambda path: (len(path.name), path.name),
    )
    if unfinished := [path for path in members if not (path / MODEL).is_file()]:
        raise ValueError(
            f"{unfinished[0]} has no {MODEL}: finish its training, or remove the "
            "folder to use the other members"
        )
    if len(members) < 2:
        raise ValueError(
            f"{model} is a folder without {MODEL}, and without the folders member_1, "
            "member_2, ... of a committee; expected a model file or such a folder"
        )
    return [path / MODEL for path in members]


def described_committee(models: "Sequence[ModelIdentity]") -> str:
    """Lines with the file and the hash of each member.

    Args:
        models: Of the members.
    """
    lines = [f"committee of {len(models)} members; results are means over the members:"]
    lines += [f"  {model.file}  {model.sha256[:16]}" for model in models]
    return "\n".join(lines)
