"""How a potential is fitted."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from equipot.config.base import Config

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A number from 0 up to, but not including, 1."""


class WeightStep(Config):
    """Weight of a term from one epoch on."""

    from_epoch: NonNegativeInt
    """First epoch, counted from 0, that the weight holds for."""
    weight: NonNegativeFloat
    """Factor of the term."""


Weight = NonNegativeFloat | tuple[WeightStep, ...]
"""A number, or steps such as ``[{from_epoch: 0, weight: 1}, ...]``."""


class LossTermConfig(Config):
    """One property in the loss; see `equipot.training.loss` for the formula."""

    weight: Weight = 0.0
    """Factor of the term; 0 leaves the property out."""
    kind: Literal["mse", "mae", "huber"] = "mse"
    """Square, absolute value, or square up to `delta` and linear beyond."""
    delta: PositiveFloat = 0.01
    """Where the Huber loss turns linear, in the unit of the property."""

    @field_validator("weight")
    @classmethod
    def _steps_ascend_from_zero(cls, weight: Weight) -> Weight:
        if not isinstance(weight, tuple):
            return weight
        epochs = [step.from_epoch for step in weight]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ValueError(
                "the steps of a weight must start with from_epoch: 0 and ascend, "
                f"got {epochs}"
            )
        return weight


class EnergyLossConfig(LossTermConfig):
    """Energies in the loss, in eV/atom or eV."""

    weight: Weight = 10.0
    """Factor of the term; 0 leaves the property out."""
    per_atom: bool = True
    """Divide errors by the number of atoms before anything else."""


class ForcesLossConfig(LossTermConfig):
    """Forces in the loss, in eV/Å."""

    weight: Weight = 1.0
    """Factor of the term; 0 leaves the property out."""
    elements: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Factors of the force errors of elements, such as ``{H: 0.5}``; 1 for others."""

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, elements: dict[str, float]) -> dict[str, float]:
        from ase.data import atomic_numbers  # noqa: PLC0415 (slow)

        if unknown := [s for s in elements if not atomic_numbers.get(s)]:
            raise ValueError(f"{', '.join(unknown)} is no symbol of an element")
        return elements


class StressLossConfig(LossTermConfig):
    """Stress in the loss, in eV/Å^3."""


class HessianLossConfig(LossTermConfig):
    """Second derivatives in the loss, in eV/Å^2; see `equipot.training.hessian_loss`.

    Structures without a Hessian do not count.
    """

    mode: Literal["full", "rows", "probes", "subspace"] = "probes"
    """All entries; random rows; products with random signs, which estimate the mean
    square without bias; or the space of the lowest modes of the reference."""
    samples: PositiveInt = 1
    """Rows, products or modes of each structure and step."""

    @model_validator(mode="after")
    def _probes_estimate_squares(self) -> "HessianLossConfig":
        if self.mode == "probes" and self.kind != "mse":
            raise ValueError(
                f"mode probes estimates the mean square only, got kind {self.kind!r}; "
                "use kind mse, or mode rows"
            )
        return self


class LossConfig(Config):
    """Weighted sum of the errors of energies, forces, stress and Hessians."""

    energy: EnergyLossConfig = EnergyLossConfig()
    """Errors of energies."""
    forces: ForcesLossConfig = ForcesLossConfig()
    """Errors of force components."""
    stress: StressLossConfig = StressLossConfig()
    """Errors of stress components."""
    hessian: HessianLossConfig = HessianLossConfig()
    """Errors of second derivatives of the energy."""
    hessian_direct: HessianLossConfig = HessianLossConfig()
    """Errors of what the direct head predicts; needs `model.direct_hessian`."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> "LossConfig":
        terms = (
            self.energy,
            self.forces,
            self.stress,
            self.hessian,
            self.hessian_direct,
        )
        if all(term.weight == 0 for term in terms):
            raise ValueError(
                "all weights are 0; give energy, forces or stress a positive weight"
            )
        return self


class OptimizerConfig(Config):
    """Adam or AdamW."""

    kind: Literal["adam", "adamw"] = "adamw"
    """AdamW decays weights apart from the gradient, Adam as a part of it."""
    lr: PositiveFloat = 2e-3
    """Highest learning rate."""
    weight_decay: NonNegativeFloat = 1e-6
    """Decay of weight matrices; vectors, such as biases, never decay."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the running means of gradient and squared gradient."""
    amsgrad: bool = True
    """Divide by the largest second moment so far."""


class WarmupConfig(Config):
    """A learning rate that grows linearly at first."""

    warmup_epochs: NonNegativeFloat = 0.0
    """Length of the linear growth in epochs; fractions are fine."""


class ConstantScheduleConfig(WarmupConfig):
    """One learning rate for all epochs."""

    kind: Literal["constant"] = "constant"
    """Name of the schedule."""


class CosineScheduleConfig(WarmupConfig):
    """Half a cosine from the highest learning rate to a fraction of it."""

    kind: Literal["cosine"] = "cosine"
    """Name of the schedule."""
    warmup_epochs: NonNegativeFloat = 1.0
    """Length of the linear growth in epochs; fractions are fine."""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Learning rate at the end over the highest one."""


class PlateauScheduleConfig(WarmupConfig):
    """A learning rate that falls where the validation loss no longer does."""

    kind: Literal["plateau"] = "plateau"
    """Name of the schedule."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the learning rate is multiplied by."""
    patience: PositiveInt = 10
    """Validations without improvement before it falls."""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Lowest learning rate over the highest one."""


ScheduleConfig = Annotated[
    ConstantScheduleConfig | CosineScheduleConfig | PlateauScheduleConfig,
    Field(discriminator="kind"),
]


class EmaConfig(Config):
    """Exponential moving average of the weights: what is validated and kept."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Share of the old average in the new one; smaller at first, (1 + n) / (10 + n)."""
    start_epoch: NonNegativeInt = 0
    """First epoch that is averaged; until then the average follows the weights."""


class EarlyStopConfig(Config):
    """Stop where the validation loss no longer falls."""

    patience: PositiveInt = 50
    """Validations without improvement before training ends."""
    min_delta: NonNegativeFloat = 0.0
    """Relative decrease of the validation loss that counts as an improvement."""


class TrainingConfig(Config):
    """How a potential is fitted."""

    epochs: PositiveInt = 100
    """Passes over the training set; the learning rate is planned for all of them. A run
    that has ended can be resumed with more."""
    max_minutes: PositiveFloat | None = None
    """Wall-clock budget, over all resumes: when it is spent, validate, keep, and end.

    After the first epoch, or a fifth of the budget, a cosine schedule is fitted once to
    the epochs that the budget allows, so that the learning rate has fallen by then.
    """
    batch_size: PositiveInt = 8
    """Most structures of a batch."""
    max_edges: PositiveInt | None = None
    """Most edges of a batch; a larger structure is a batch of its own."""
    valid_batch_size: PositiveInt = 32
    """Most structures of a batch in validation."""
    loss: LossConfig = LossConfig()
    """What is minimized."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Who minimizes it."""
    schedule: ScheduleConfig = CosineScheduleConfig()
    """Course of the learning rate; a cosine unless `kind` says otherwise."""
    ema: EmaConfig | None = EmaConfig()
    """Average of the weights; null keeps the raw weights."""
    gradient_clip: PositiveFloat | None = 10.0
    """Largest norm of the gradient; longer ones are shortened."""
    early_stop: EarlyStopConfig | None = None
    """When to give up before the last epoch; null means never."""
    validate_every: PositiveInt = 1
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_minutes: PositiveFloat = 5.0
    """Minutes between states written in the middle of an epoch."""
    checkpoint_steps: PositiveInt | None = None
    """Steps between states written in the middle of an epoch."""
    keep: Annotated[int, Field(ge=2)] = 2
    """Generations of the state on disk; if the newest is damaged, the next is used."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one, and says so."""
    num_threads: PositiveInt | None = None
    """Threads of PyTorch; null leaves its choice. Resuming refuses another number."""
    deterministic: bool = True
    """Ask PyTorch for algorithms that give the same bits every time."""
    verify: bool = True
    """Verify the best model at the end, as `equipot verify` does, with the backend of
    the run; a failure keeps the model and ends the command with exit status 1."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _cosine_unless_named(cls, value: Any) -> Any:
        return {"kind": "cosine", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _warmup_ends(self) -> "TrainingConfig":
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs = {self.schedule.warmup_epochs} is longer "
                f"than epochs = {self.epochs}"
            )
        return self
