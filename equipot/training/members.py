"""Training of a committee: models that differ in their seed, one after the other."""

from pathlib import Path

from rich.console import Console

from equipot.config.train import TrainConfig
from equipot.storage.run_folder import CONFIG, RunFolderError
from equipot.training.run import TrainingResult, run_training


def train_members(
    config: TrainConfig,
    directory: Path,
    number: int,
    resume: bool,
    console: Console,
) -> list[TrainingResult]:
    """Train the members of a committee, each a run of its own.

    Args:
        config: Of all members; ``training.max_minutes`` is the time of each.
        directory: Holds the folders ``member_1``, ``member_2`` and so on.
        number: Of members; they differ in initial weights and in the order of batches,
            and share the split of the data.
        resume: Go on with what is there; members that are not there are begun.
        console: Where to report.

    Returns:
        One result per member; fewer if a signal stopped one, whose result is the last.

    Raises:
        RunFolderError: If there is something to overwrite, or nothing to resume.
    """
    folders = [directory / f"member_{n}" for n in range(1, number + 1)]
    began = [(folder / CONFIG).is_file() for folder in folders]
    if resume and not any(began):
        raise RunFolderError(
            f"there is no committee in {directory} to resume; start it without --resume"
        )
    if not resume and any(folder.exists() for folder in folders):
        raise RunFolderError(
            f"{directory} holds members already; add --resume to go on with them, or "
            "name another folder with --output"
        )
    results = []
    for n, (folder, there) in enumerate(zip(folders, began, strict=True)):
        console.print(f"member {n + 1} of {number}: {folder}", highlight=False)
        member = member_config(config, n)
        results.append(run_training(member, folder, resume=there, console=console))
        if results[-1].position.finished is None:
            break
    return results


def member_config(config: TrainConfig, n: int) -> TrainConfig:
    """Configuration of a member: another seed, the same split of the data.

    Args:
        config: Of the committee.
        n: Number of the member, counted from 0.
    """
    data = config.data
    if data.split_seed is None:
        data = data.model_copy(update={"split_seed": config.seed})
    return config.model_copy(update={"seed": config.seed + n, "data": data})
