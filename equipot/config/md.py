"""Configuration of molecular dynamics."""

from pathlib import Path
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
from equipot.config.model import Backend


class NVEConfig(Config):
    """NVE by velocity Verlet."""

    name: Literal["nve"] = "nve"


class LangevinConfig(Config):
    """NVT by Langevin dynamics; the center of mass is not fixed."""

    name: Literal["langevin"] = "langevin"
    friction: PositiveFloat = 0.01
    """Friction coefficient in 1/fs."""


class BussiConfig(Config):
    """NVT by stochastic velocity rescaling (Bussi)."""

    name: Literal["bussi"] = "bussi"
    taut: PositiveFloat = 100.0
    """Relaxation time of the temperature in fs."""


class NoseHooverChainConfig(Config):
    """NVT by a Nose-Hoover chain."""

    name: Literal["nose_hoover_chain"] = "nose_hoover_chain"
    taut: PositiveFloat = 100.0
    """Period of the thermostat in fs."""
    chain: PositiveInt = 3
    """Length of the chain."""


class NPTConfig(Config):
    """NPT by Martyna-Tobias-Klein, which samples the NPT ensemble."""

    name: Literal["npt"] = "npt"
    pressure: float = 0.0
    """External pressure in GPa."""
    taut: PositiveFloat = 100.0
    """Period of the thermostat in fs."""
    taup: PositiveFloat = 1000.0
    """Period of the barostat in fs."""
    chain: PositiveInt = 3
    """Length of the chains of the atoms and of the cell."""
    cell: Literal["isotropic", "full"] = "isotropic"
    """Fluctuations of the volume only, or of cell lengths and angles."""


class NPTBerendsenConfig(Config):
    """Berendsen weak coupling of pressure and temperature, for equilibration only."""

    name: Literal["npt_berendsen"] = "npt_berendsen"
    pressure: float = 0.0
    """External pressure in GPa."""
    taut: PositiveFloat = 100.0
    """Relaxation time of the temperature in fs."""
    taup: PositiveFloat = 1000.0
    """Relaxation time of the pressure in fs."""
    compressibility: PositiveFloat
    """Isothermal compressibility in 1/GPa; about 0.46 for water, 0.01 for metals."""


EnsembleConfig = Annotated[
    NVEConfig
    | LangevinConfig
    | BussiConfig
    | NoseHooverChainConfig
    | NPTConfig
    | NPTBerendsenConfig,
    Field(discriminator="name"),
]


class StructureConfig(Config):
    """Initial structure."""

    file: Path
    """Extended XYZ or another format of ASE; see docs/inputs.md."""
    index: int = -1
    """Index of the frame; negative numbers count from the end."""
    replicate: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    """Repetitions along each lattice vector."""


class FixedConfig(Config):
    """Fixed atoms, in addition to those fixed in the structure file."""

    indices: tuple[NonNegativeInt, ...] = ()
    """Indices of atoms in the structure file, from 0; includes all copies in a
    replicated structure."""
    elements: tuple[str, ...] = ()
    """All atoms of these elements, such as [Pt]."""
    file: bool = True
    """Whether to apply fixed atoms of the structure file."""


class VelocitiesConfig(Config):
    """Initial velocities."""

    source: Literal["auto", "maxwell_boltzmann", "file"] = "auto"
    """Random velocities, or momenta of the structure file. auto uses those of the file
    if any are nonzero, unless the structure is replicated or a temperature is given
    here; the run prints its choice."""
    temperature: NonNegativeFloat | None = None
    """Temperature of random velocities in K (default: temperature of the run)."""
    remove_drift: bool = True
    """Remove center-of-mass motion and, without periodic directions, rotation. Only nve
    and langevin can run with a drift."""

    @model_validator(mode="after")
    def _random_velocities_have_the_temperature(self) -> "VelocitiesConfig":
        if self.source == "file" and self.temperature is not None:
            raise ValueError(
                "velocities.temperature applies to random velocities, but "
                "velocities.source is 'file'; remove one of them"
            )
        return self


class RampConfig(Config):
    """Linear ramp of the target temperature or pressure."""

    steps: PositiveInt
    """Number of steps of the ramp."""
    start: NonNegativeInt = 0
    """Step at which the ramp begins."""
    temperature: PositiveFloat | None = None
    """Final temperature in K; the initial one is `temperature` of the run."""
    pressure: float | None = None
    """Final pressure in GPa; the initial one is `pressure` of the ensemble."""

    @model_validator(mode="after")
    def _something_changes(self) -> "RampConfig":
        if self.temperature is None and self.pressure is None:
            raise ValueError(
                "ramp needs a final value: ramp.temperature or ramp.pressure"
            )
        return self


class RecordConfig(Config):
    """Output intervals and format."""

    trajectory: PositiveInt = 100
    """Steps between frames."""
    log: PositiveInt = 10
    """Steps between rows of the thermodynamic log."""
    checkpoint: PositiveInt = 1000
    """Steps between checkpoints."""
    format: Literal["extxyz", "traj"] = "extxyz"
    """Format of the trajectory; traj stores full precision, extxyz eight decimals."""


class AlarmsConfig(Config):
    """Limits that stop a run; values that are not finite always do."""

    max_temperature: PositiveFloat | None = 10_000.0
    """Maximum temperature in K."""
    max_force: PositiveFloat | None = 100.0
    """Maximum force on an atom in eV/Å."""
    min_distance: PositiveFloat | None = 0.5
    """Minimum distance of two atoms in Å."""
    max_energy_jump: PositiveFloat | None = 1.0
    """Maximum difference between energy change and work of the forces in one step, in
    eV."""
    lost_distance: PositiveFloat | None = 10.0
    """Distance in Å to the nearest atom beyond which an atom is lost, unless it was
    that far at the start."""
    distance_interval: PositiveInt = 10
    """Steps between checks of distances."""
    max_drift: PositiveFloat | None = None
    """Maximum drift of the conserved quantity in meV/atom/ps, after 1 ps."""
    frames: PositiveInt = 10
    """Number of frames before an alarm that are written to `alarm.extxyz`."""


class MDConfig(Config):
    """A run of molecular dynamics."""

    model: Path | tuple[Path, ...]
    """Trained potential: a model file, or the folder of a run or of a committee; or a
    list of two or more, which is used as a committee (mean of the members)."""
    structure: StructureConfig
    ensemble: EnsembleConfig
    """Ensemble: a section selected by its `name`, or the name alone."""
    steps: NonNegativeInt
    """Total number of steps; a resumed run may have more."""
    timestep: PositiveFloat = 0.5
    """Time step in fs."""
    temperature: PositiveFloat = 300.0
    """Temperature in K of the thermostat and of random initial velocities."""
    ramp: RampConfig | None = None
    """Ramp of temperature or pressure (default: none)."""
    velocities: VelocitiesConfig = VelocitiesConfig()
    fixed: FixedConfig = FixedConfig()
    seed: NonNegativeInt = 0
    """Seed of initial velocities and thermostat noise."""
    record: RecordConfig = RecordConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    output: Path = Path("runs/md")
    """Output folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; auto is CUDA if available."""
    dtype: Literal["float32", "float64"] | None = None
    """Floating-point precision (default: as trained)."""
    backend: Backend | None = None
    """Tensor-product backend (default: as trained). Another one is compared with the
    reference first."""
    frozen: bool | None = None
    """Evaluate compiled programs instead of the backend (default: where possible,
    unless a backend other than auto and fused is chosen)."""
    num_threads: PositiveInt | None = None
    """Number of PyTorch threads; null for its default."""
    deterministic: bool = True
    """Use deterministic algorithms of PyTorch."""
    skin: NonNegativeFloat = 0.5
    """Skin of the Verlet neighbor list in Å."""
    on_extrapolation: Literal["error", "warn", "record", "ignore"] = "error"
    """Action outside the domain of the training set: stop; warn once and record;
    record; no check."""
    max_spread: PositiveFloat | None = None
    """Standard deviation in eV/Å of the force on an atom between committee members
    above which the committee extrapolates."""
    check_neighbors: Literal["auto", "never"] | PositiveInt = "auto"
    """Evaluations between cross-checks of the neighbor list by a second algorithm;
    auto: the first, and in unusual cells every hundredth."""

    @field_validator("ensemble", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """Accept ``ensemble: nve`` for a section with that name."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("fixed", mode="before")
    @classmethod
    def _list_alone(cls, value: Any) -> Any:
        """Accept ``fixed: [0, 1, Pt]`` for indices and elements."""
        if not isinstance(value, list):
            return value
        return {
            "indices": [item for item in value if not isinstance(item, str)],
            "elements": [item for item in value if isinstance(item, str)],
        }

    @model_validator(mode="after")
    def _drift_needs_a_conserved_quantity(self) -> "MDConfig":
        without = ("langevin", "npt_berendsen")
        if self.alarms.max_drift is None:
            return self
        if self.ensemble.name in without:
            raise ValueError(
                f"alarms.max_drift needs a conserved quantity, {self.ensemble.name} "
                "has none; remove it, or use nve, bussi, nose_hoover_chain or npt"
            )
        if self.ramp is not None and self.ensemble.name != "bussi":
            raise ValueError(
                "alarms.max_drift needs a conserved quantity, but a ramp changes "
                f"that of {self.ensemble.name}; remove one of them, or use bussi"
            )
        return self

    @model_validator(mode="after")
    def _a_ramp_needs_something_that_follows(self) -> "MDConfig":
        if self.ramp is None:
            return self
        if self.ensemble.name == "nve":
            raise ValueError(
                "ramp needs a thermostat, but nve has none; use langevin, bussi, "
                "nose_hoover_chain, npt or npt_berendsen, or remove ramp"
            )
        if self.ramp.pressure is not None and not isinstance(
            self.ensemble, NPTConfig | NPTBerendsenConfig
        ):
            raise ValueError(
                f"ramp.pressure needs a barostat, but {self.ensemble.name} has none; "
                "use npt or npt_berendsen, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _copies_do_not_move_in_step(self) -> "MDConfig":
        replicate = self.structure.replicate
        if self.velocities.source == "file" and max(replicate) > 1:
            raise ValueError(
                f"velocities.source is 'file' and structure.replicate is "
                f"{list(replicate)}: all copies would move identically; use "
                "maxwell_boltzmann, or replicate the structure beforehand with "
                "different velocities"
            )
        return self
