"""First phase of a training run: read data and checkpoint, build the potential."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from ase import Atoms
from ase.data import chemical_symbols

from equipot.checkpoint.file import read_weights, resolve_device
from equipot.checkpoint.origin import ModelOrigin
from equipot.config.load import dump_config
from equipot.config.model import ModelConfig
from equipot.config.train import TrainConfig
from equipot.data.dataset import Dataset, load_dataset
from equipot.data.samples import choose_samples
from equipot.data.statistics import Statistics, compute_statistics
from equipot.models.build import build_potential
from equipot.models.potential import Potential
from equipot.models.products import AUTO
from equipot.models.workload import typical_problem
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.rotation import RotatingCheckpoints, StateError
from equipot.tensor_products.autotune import choose_backend
from equipot.training.adapters import add_adapters
from equipot.training.logs import Journal
from equipot.training.run_directory import RunDirectory
from equipot.training.same_run import check_same_config, check_same_data
from equipot.training.start import (
    Start,
    check_patterns,
    freeze,
    start_statistics,
    transfer,
)
from equipot.training.state import KIND, VERSION, State
from equipot.verify import check_backend
from equipot.verify.structures import generate_structures


@dataclass(frozen=True)
class Prepared:
    """Everything that a training run needs, before optimization."""

    config: TrainConfig
    files: RunDirectory
    states: RotatingCheckpoints
    """Rotating checkpoints."""
    state: State | None
    """Checkpoint to resume from; None for a new run."""
    dataset: Dataset
    statistics: Statistics
    """Statistics of the training set, with warnings about the data."""
    samples: list[Atoms]
    """Structures that are stored with the model, for its verification."""
    device: torch.device
    model: ModelConfig
    """Architecture with the backend of this run, never "auto"."""
    potential: Potential
    """Potential with initial weights, on the device of the run."""
    origin: ModelOrigin | None = None
    """Origin of the potential that training starts from, if it was converted."""

    @property
    def config_tree(self) -> dict[str, Any]:
        """Configuration as JSON."""
        return self.config.model_dump(mode="json")


def prepare(
    config: TrainConfig,
    files: RunDirectory,
    journal: Journal,
    start: Start | None = None,
    *,
    resume: bool,
) -> Prepared:
    """Read the checkpoint and the data, choose the backend, and build the potential.

    Writes configuration, environment and hashes of the data to the run directory. The
    file of a potential that training starts from counts as data.

    Raises:
        ValueError: If checkpoint or data do not match the configuration, or the backend
            is wrong on this machine.
    """
    device = resolve_device(config.training.device)
    states = RotatingCheckpoints(files.path, KIND, VERSION, config.training.keep)
    state = _read_state(config, files, states, journal) if resume else None
    write_atomically(files.config, dump_config(config).encode())
    files.note_environment()
    dataset = load_dataset(
        config.data,
        config.model.cutoff,
        config.seed,
        further_elements=() if start is None else start.kept_elements,
        progress=journal.say,
    )
    if start is not None:
        hashes = {**dataset.hashes, start.section.path: start.sha256}
        dataset = replace(dataset, hashes=hashes)
    if state is not None:
        check_same_data(state.record["data"], dataset.hashes)
    write_json(files.data, dataset.hashes)
    statistics = _measure(config, dataset)
    if start is not None:
        statistics = start_statistics(
            start, dataset.train, statistics, config.model.backend
        )
    samples = choose_samples(dataset.valid or dataset.train)
    model = _choose_backend(config, dataset, statistics, device, state, journal)
    potential = build_potential(model, statistics, seed=config.seed).to(device)
    if start is not None:
        _start_from(start, potential, statistics, config.seed, journal)
    verification = check_backend(potential, samples or generate_structures(statistics))
    if verification is not None:
        journal.say(str(verification))
    return Prepared(
        config=config,
        files=files,
        states=states,
        state=state,
        dataset=dataset,
        statistics=statistics,
        samples=samples,
        device=device,
        model=model,
        potential=potential,
        origin=None if start is None else start.origin,
    )


def _start_from(
    start: Start,
    potential: Potential,
    statistics: Statistics,
    seed: int,
    journal: Journal,
) -> None:
    """Copy the weights to start from, freeze those that stay, and add adapters."""
    before, section = start.statistics, start.section
    weights = read_weights(section.path)
    transfer(potential, weights, start.model, before, statistics)
    names = dict(potential.named_parameters())
    frozen = freeze(potential, section.frozen)
    check_patterns(tuple(section.lr_factors), names, "training.start_from.lr_factors")
    adapted: list[str] = []
    if (lora := section.lora) is not None:
        check_patterns(lora.parts, names, "training.start_from.lora.parts")
        adapted = add_adapters(potential, lora.rank, lora.parts, seed)
    new = set(statistics.elements) - set(before.elements)
    journal.say(
        f"starting from {section.path}"
        + (f"; {len(frozen)} weight tensors are frozen" if frozen else "")
        + (f"; {len(adapted)} have adapters" if adapted else "")
    )
    if new:
        symbols = ", ".join(chemical_symbols[z] for z in sorted(new))
        journal.warn(
            f"{section.path} does not have {symbols}: their weights are random"
        )


def _read_state(
    config: TrainConfig,
    files: RunDirectory,
    states: RotatingCheckpoints,
    journal: Journal,
) -> State | None:
    """Newest intact checkpoint; None if the run was stopped before its first one."""
    if not states.exist():
        if files.last.exists():
            raise StateError(
                f"{files.last} was written after the first checkpoint, but "
                f"{files.path} contains none: restore it to resume the run, "
                "or start a new one with another --output"
            )
        journal.warn("the run was stopped before its first checkpoint: starting again")
        return None
    record, tensors = states.load(journal.warn)
    finished = record["position"]["finished"] is not None
    tree = config.model_dump(mode="json")
    check_same_config(record["config"], tree, finished=finished)
    threads = record["threads"]
    if (now := torch.get_num_threads()) != threads:
        journal.warn(
            f"the run had {threads} threads and now has {now}: results will differ "
            "in the last digits from those of an uninterrupted run; set "
            f"training.num_threads or OMP_NUM_THREADS to {threads}"
        )
    return State(tensors, record)


def _measure(config: TrainConfig, dataset: Dataset) -> Statistics:
    statistics = compute_statistics(
        dataset.train,
        reference_energies=config.data.reference_energies,
        isolated=dataset.isolated,
    )
    return replace(statistics, warnings=(*dataset.warnings, *statistics.warnings))


def _choose_backend(
    config: TrainConfig,
    dataset: Dataset,
    statistics: Statistics,
    device: torch.device,
    state: State | None,
    journal: Journal,
) -> ModelConfig:
    """Architecture with the backend of this run; a resumed run keeps its backend."""
    model, training = config.model, config.training
    if model.backend != AUTO:
        return model
    if (backend := _recorded_backend(state)) is not None:
        journal.say(f"backend {backend}, as at the start of the run")
    else:
        problem = typical_problem(
            model,
            statistics,
            device,
            structures=min(training.batch_size, len(dataset.train)),
            max_edges=training.max_edges,
        )
        choice = choose_backend(problem)
        journal.say(str(choice))
        backend = choice.backend
    return model.model_copy(update={"backend": backend})


def _recorded_backend(state: State | None) -> str | None:
    """Backend at the start of a run; None for a new run."""
    if state is None:
        return None
    record: Mapping[str, Any] = state.record
    # States of early versions contain the configured backend, which was never auto
    backend: str = record.get("backend", record["config"]["model"].get("backend", AUTO))
    return None if backend == AUTO else backend
