"""Training of a committee: one run after another, with different seeds."""

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
    """Train the members of a committee, each as a separate run.

    Args:
        config: Configuration of all members; ``training.max_minutes`` applies to each.
        directory: Folder of the members' runs ``member_1``, ``member_2`` and so on.
        number: Number of members; they differ in initial weights and order of batches,
            and share the split of the data.
        resume: Resume existing members and start the others.
        console: Terminal for messages.

    Returns:
        One result per member; after an interruption, up to the interrupted member.

    Raises:
        RunFolderError: If members would be overwritten, or there are none to resume.
    """
    folders = [directory / f"member_{n}" for n in range(1, number + 1)]
    began = [(folder / CONFIG).is_file() for folder in folders]
    if resume and not any(began):
        raise RunFolderError(
            f"there is no committee in {directory} to resume; start it without --resume"
        )
    if not resume and any(folder.exists() for folder in folders):
        raise RunFolderError(
            f"{directory} already contains members; add --resume to continue them, or "
            "pass another directory with --output"
        )
    results = []
    for n, (folder, there) in enumerate(zip(folders, began, strict=True)):
        console.print(f"member {n + 1} of {number}: {folder}", highlight=False)
        member = member_config(config, n)
        results.append(run_training(member, folder, resume=there, console=console))
        if results[-1].progress.finished is None:
            break
    return results


def member_config(config: TrainConfig, n: int) -> TrainConfig:
    """Configuration of a member: its own seed, the shared split of the data.

    Args:
        config: Configuration of the committee.
        n: Index of the member, counted from 0.
    """
    data = config.data
    if data.split_seed is None:
        data = data.model_copy(update={"split_seed": config.seed})
    return config.model_copy(update={"seed": config.seed + n, "data": data})
