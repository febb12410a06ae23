"""Training of a potential."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from equipot.config.base import Config
from equipot.config.start_from import StartFromConfig, section_of_path

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A number from 0 up to, but not including, 1."""


class WeightStep(Config):
    """Weight of a loss term from some epoch on."""

    from_epoch: NonNegativeInt
    """First epoch of this weight, counted from 0."""
    weight: NonNegativeFloat
    """Weight of the term."""


Weight = NonNegativeFloat | tuple[WeightStep, ...]
"""A number, or a schedule such as ``[{from_epoch: 0, weight: 1}, ...]``."""


class LossTermConfig(Config):
    """One property in the loss; see `equipot.training.loss` for the formula."""

    weight: Weight = 0.0
    """Weight of the term; 0 omits the property."""
    kind: Literal["mse", "mae", "huber"] = "mse"
    """Squared error, absolute error, or Huber loss."""
    delta: PositiveFloat = 0.01
    """Transition of the Huber loss from quadratic to linear, in property units."""

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
    """Weight of the term; 0 omits the property."""
    per_atom: bool = True
    """Divide errors by the number of atoms."""


class ForcesLossConfig(LossTermConfig):
    """Forces in the loss, in eV/Å."""

    weight: Weight = 1.0
    """Weight of the term; 0 omits the property."""
    elements: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights of force errors by element, such as ``{H: 0.5}`` (default: 1)."""

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, elements: dict[str, float]) -> dict[str, float]:
        from ase.data import atomic_numbers  # noqa: PLC0415 (slow)

        if unknown := [s for s in elements if not atomic_numbers.get(s)]:
            raise ValueError(f"{', '.join(unknown)} is not a chemical symbol")
        return elements


class StressLossConfig(LossTermConfig):
    """Stress in the loss, in eV/Å^3."""


class HessianLossConfig(LossTermConfig):
    """Second derivatives in the loss, in eV/Å^2; see `equipot.training.hessian_loss`.

    Structures without a Hessian are ignored.
    """

    mode: Literal["full", "rows", "probes", "atoms", "subspace"] = "probes"
    """All elements; random rows; Hessian-vector products with random signs (an unbiased
    estimate of the mean square); those with one displaced atom of each chemical element
    (the same with less noise for crystals); or the subspace of the lowest reference
    modes."""
    samples: PositiveInt = 1
    """Number of rows, products or modes per structure and step."""

    @model_validator(mode="after")
    def _probes_estimate_squares(self) -> "HessianLossConfig":
        if self.mode in {"probes", "atoms"} and self.kind != "mse":
            raise ValueError(
                f"mode {self.mode} estimates the mean square only, kind is "
                f"{self.kind!r}; use kind mse, or mode rows"
            )
        return self


class LossConfig(Config):
    """Loss: weighted sum of the errors of energies, forces, stress and Hessians."""

    energy: EnergyLossConfig = EnergyLossConfig()
    """Errors of energies."""
    forces: ForcesLossConfig = ForcesLossConfig()
    """Errors of force components."""
    stress: StressLossConfig = StressLossConfig()
    """Errors of stress components."""
    hessian: HessianLossConfig = HessianLossConfig()
    """Errors of second derivatives of the energy."""
    hessian_direct: HessianLossConfig = HessianLossConfig()
    """Errors of the direct Hessian head; needs `model.direct_hessian`."""

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
                "all weights are 0; set a positive weight for energy, forces or stress"
            )
        return self


class OptimizerConfig(Config):
    """Adam, AdamW or Muon."""

    kind: Literal["adam", "adamw", "muon"] = "adamw"
    """Adam; AdamW (decoupled weight decay); or Muon, whose steps of matrices are
    orthogonal, with AdamW for vectors."""
    lr: PositiveFloat = 2e-3
    """Maximum learning rate."""
    relative_steps: bool = False
    """Multiply the learning rate of each tensor of weights by its root mean square at
    the start of the run, so that steps are fractions of the weights: for weights whose
    scales differ widely between tensors, as those of converted potentials do."""
    weight_decay: NonNegativeFloat = 1e-6
    """Weight decay of matrices; vectors, such as biases, have none."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay rates of the first and second moment of Adam and AdamW."""
    amsgrad: bool = True
    """Use the AMSGrad variant."""


class WarmupConfig(Config):
    """Linear warmup of the learning rate."""

    warmup_epochs: NonNegativeFloat = 0.0
    """Length of the linear warmup in epochs, not necessarily an integer."""


class ConstantScheduleConfig(WarmupConfig):
    """Constant learning rate."""

    kind: Literal["constant"] = "constant"
    """Name of the schedule."""


class CosineScheduleConfig(WarmupConfig):
    """Cosine annealing of the learning rate."""

    kind: Literal["cosine"] = "cosine"
    """Name of the schedule."""
    warmup_epochs: NonNegativeFloat = 1.0
    """Length of the linear warmup in epochs, not necessarily an integer."""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Ratio of final and maximum learning rate."""
    stable_share: Fraction = 0.0
    """Fraction of the epochs after the warmup at the maximum learning rate, before
    annealing (warmup-stable-decay)."""


class PlateauScheduleConfig(WarmupConfig):
    """Reduction of the learning rate when the validation loss reaches a plateau."""

    kind: Literal["plateau"] = "plateau"
    """Name of the schedule."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor of the reduction."""
    patience: PositiveInt = 10
    """Validations without improvement before a reduction."""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Ratio of minimum and maximum learning rate."""


ScheduleConfig = Annotated[
    ConstantScheduleConfig | CosineScheduleConfig | PlateauScheduleConfig,
    Field(discriminator="kind"),
]


class EmaConfig(Config):
    """Exponential moving average of the weights, used for validation and output."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Decay per step; at most (1 + n) / (10 + n) at step n."""
    start_epoch: NonNegativeInt = 0
    """First epoch of averaging; before, the average equals the weights."""


class EarlyStopConfig(Config):
    """Early stopping."""

    patience: PositiveInt = 50
    """Validations without improvement before training ends."""
    min_delta: NonNegativeFloat = 0.0
    """Relative decrease of the validation loss that counts as an improvement."""


class TrainingConfig(Config):
    """Training of a potential."""

    start_from: Annotated[StartFromConfig | None, BeforeValidator(section_of_path)] = (
        None
    )
    """Potential to fine-tune, a model file; null for random weights."""
    epochs: PositiveInt = 100
    """Number of epochs, for which the learning rate is scheduled. A finished run can be
    resumed with more."""
    max_minutes: PositiveFloat | None = None
    """Wall-clock budget over all resumes; then the run validates, saves and ends.

    After the first epoch, or a fifth of the budget, a cosine schedule is adapted once
    to the number of epochs that the budget allows.
    """
    batch_size: PositiveInt = 8
    """Maximum number of structures in a batch."""
    max_edges: PositiveInt | None = None
    """Maximum number of edges in a batch; a larger structure is a batch by itself."""
    valid_batch_size: PositiveInt = 32
    """Maximum number of structures in a validation batch."""
    loss: LossConfig = LossConfig()
    """Loss function."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer."""
    schedule: ScheduleConfig = CosineScheduleConfig()
    """Learning-rate schedule (default `kind`: cosine)."""
    ema: EmaConfig | None = EmaConfig()
    """Exponential moving average of the weights; null uses the raw weights."""
    gradient_clip: PositiveFloat | None = 10.0
    """Maximum gradient norm (gradient clipping); null for none."""
    early_stop: EarlyStopConfig | None = None
    """Early stopping; null for none."""
    validate_every: PositiveInt = 1
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_minutes: PositiveFloat = 5.0
    """Minutes between checkpoints within an epoch."""
    checkpoint_steps: PositiveInt | None = None
    """Steps between checkpoints within an epoch."""
    keep: Annotated[int, Field(ge=2)] = 2
    """Number of rotating checkpoints; if the newest is damaged, the next is used."""
    radial_intervals: Annotated[int, Field(ge=16)] | Literal["auto"] | None = "auto"
    """Intervals of the length between which radial functions are interpolated in steps
    of training, instead of being evaluated for every pair of atoms.

    Validation and models are exact. auto is 128 on CPUs in float32, whose rounding
    errors are larger than those of the interpolation, and null otherwise, or if radial
    functions depend on the elements; null for exact steps.
    """
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; auto is CUDA if available."""
    num_threads: PositiveInt | None = None
    """Number of PyTorch threads; null for its default. Must not change on resume."""
    deterministic: bool = True
    """Use deterministic algorithms of PyTorch."""
    verify: bool = True
    """Verify the best model at the end, as `equipot verify` does, with the backend of
    the run; after a failure the model is kept and the exit status is 1."""

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
