"""Molecular dynamics: what to run, in which ensemble, what to record, when to stop."""

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
    """Constant energy: velocity Verlet."""

    name: Literal["nve"] = "nve"


class LangevinConfig(Config):
    """Constant temperature: friction and noise on every atom; the center moves too."""

    name: Literal["langevin"] = "langevin"
    friction: PositiveFloat = 0.01
    """Friction coefficient in 1/fs."""


class BussiConfig(Config):
    """Constant temperature: stochastic rescaling of all velocities."""

    name: Literal["bussi"] = "bussi"
    taut: PositiveFloat = 100.0
    """Relaxation time of the temperature in fs."""


class NoseHooverChainConfig(Config):
    """Constant temperature: deterministic Nose-Hoover chain."""

    name: Literal["nose_hoover_chain"] = "nose_hoover_chain"
    taut: PositiveFloat = 100.0
    """Period of the thermostat in fs."""
    chain: PositiveInt = 3
    """Thermostats in the chain."""


class NPTConfig(Config):
    """Constant pressure and temperature: Martyna-Tobias-Klein, the true ensemble."""

    name: Literal["npt"] = "npt"
    pressure: float = 0.0
    """External pressure in GPa."""
    taut: PositiveFloat = 100.0
    """Period of the thermostat in fs."""
    taup: PositiveFloat = 1000.0
    """Period of the barostat in fs."""
    chain: PositiveInt = 3
    """Thermostats in the chains of the atoms and of the cell."""
    cell: Literal["isotropic", "full"] = "isotropic"
    """Whether only the volume fluctuates, or lengths and angles too."""


class NPTBerendsenConfig(Config):
    """Weak coupling to a pressure and a temperature: to equilibrate, not to sample."""

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
    """Where the atoms start."""

    file: Path
    """Extended XYZ or another format of ASE; see docs/inputs.md."""
    index: int = -1
    """Frame of the file; negative numbers count from its end."""
    replicate: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    """Copies along each lattice vector."""


class FixedConfig(Config):
    """Atoms that do not move, beside those that the structure file fixes."""

    indices: tuple[NonNegativeInt, ...] = ()
    """Numbers of atoms in the structure file, from 0; of all their copies where the
    structure is replicated."""
    elements: tuple[str, ...] = ()
    """All atoms of these elements, such as [Pt]."""
    file: bool = True
    """Keep atoms fixed that the structure file fixes."""


class VelocitiesConfig(Config):
    """How fast the atoms start."""

    source: Literal["auto", "maxwell_boltzmann", "file"] = "auto"
    """Drawn at random, or the momenta of the structure file. With auto those of the
    file if it has any that are not zero, unless the structure is replicated or a
    temperature is given here; the run says which."""
    temperature: NonNegativeFloat | None = None
    """Temperature of random velocities in K; the temperature of the run if left out."""
    remove_drift: bool = True
    """Remove motion of the center and, without periodic directions, rotation. Only nve
    and langevin can run with a drift."""

    @model_validator(mode="after")
    def _random_velocities_have_the_temperature(self) -> "VelocitiesConfig":
        if self.source == "file" and self.temperature is not None:
            raise ValueError(
                "velocities.temperature is that of random velocities, but "
                "velocities.source is 'file'; leave one of them out"
            )
        return self


class RampConfig(Config):
    """Targets that change linearly from step to step, and then stay."""

    steps: PositiveInt
    """Steps that the change takes."""
    start: NonNegativeInt = 0
    """Step after which it begins."""
    temperature: PositiveFloat | None = None
    """Temperature in K at the end; it begins at `temperature` of the run."""
    pressure: float | None = None
    """Pressure in GPa at the end; it begins at `pressure` of the ensemble."""

    @model_validator(mode="after")
    def _something_changes(self) -> "RampConfig":
        if self.temperature is None and self.pressure is None:
            raise ValueError(
                "ramp needs ramp.temperature or ramp.pressure, the value at its end"
            )
        return self


class RecordConfig(Config):
    """What is written, every so many steps."""

    trajectory: PositiveInt = 100
    """Steps between frames."""
    log: PositiveInt = 10
    """Steps between rows of the thermodynamic log."""
    checkpoint: PositiveInt = 1000
    """Steps between states that a run can resume from."""
    format: Literal["extxyz", "traj"] = "extxyz"
    """Format of the trajectory; traj keeps all digits, extxyz eight after the point."""


class AlarmsConfig(Config):
    """Limits that stop a run; numbers that are not finite always do."""

    max_temperature: PositiveFloat | None = 10_000.0
    """Highest temperature in K."""
    max_force: PositiveFloat | None = 100.0
    """Largest force on an atom in eV/Å."""
    min_distance: PositiveFloat | None = 0.5
    """Smallest distance between two atoms in Å."""
    max_energy_jump: PositiveFloat | None = 1.0
    """Largest change of the energy in one step beyond the work of the forces, in
    eV."""
    lost_distance: PositiveFloat | None = 10.0
    """Distance in Å from all others beyond which an atom is lost, if it was not so at
    first."""
    distance_interval: PositiveInt = 10
    """Steps between checks of distances."""
    max_drift: PositiveFloat | None = None
    """Slope of the conserved quantity in meV/atom/ps, after the first picosecond."""
    frames: PositiveInt = 10
    """Steps before an alarm that are written to a file of their own."""


class MDConfig(Config):
    """A run of molecular dynamics."""

    model: Path | tuple[Path, ...]
    """Trained potential: a file, or the folder of a run or of a committee; or a list of
    two or more: a committee, whose mean is used."""
    structure: StructureConfig
    ensemble: EnsembleConfig
    """What is constant: a section chosen by its `name`, or the name alone."""
    steps: NonNegativeInt
    """Steps in all; a resumed run may ask for more."""
    timestep: PositiveFloat = 0.5
    """Length of a step in fs."""
    temperature: PositiveFloat = 300.0
    """Temperature in K of the thermostat and of random initial velocities."""
    ramp: RampConfig | None = None
    """Temperature or pressure that changes during the run; constant if left out."""
    velocities: VelocitiesConfig = VelocitiesConfig()
    fixed: FixedConfig = FixedConfig()
    seed: NonNegativeInt = 0
    """Seed of initial velocities and thermostat noise."""
    record: RecordConfig = RecordConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    output: Path = Path("runs/md")
    """Folder for everything that the run writes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the potential is evaluated; auto takes a GPU if there is one."""
    dtype: Literal["float32", "float64"] | None = None
    """Arithmetic of the potential; its own if left out."""
    backend: Backend | None = None
    """Who computes tensor products; the model's own choice if left out. Another one is
    compared with the reference first."""
    num_threads: PositiveInt | None = None
    """Threads of PyTorch; its own choice if left out."""
    deterministic: bool = True
    """Ask PyTorch for algorithms that give the same bits every time."""
    skin: NonNegativeFloat = 0.5
    """Added to the cutoff of the neighbor list so that it lasts for steps, in Å."""
    on_extrapolation: Literal["error", "warn", "record", "ignore"] = "error"
    """What to do beyond the training set: stop; warn once and record; record; nothing.
    """
    max_spread: PositiveFloat | None = None
    """Standard deviation in eV/Å of the force on an atom between members of a committee
    beyond which it extrapolates."""
    check_neighbors: Literal["auto", "never"] | PositiveInt = "auto"
    """Evaluations between comparisons of two searches for neighbors; auto: the first,
    and in unusual cells every hundredth."""

    @field_validator("ensemble", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """``ensemble: nve`` is short for a section with a name."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("fixed", mode="before")
    @classmethod
    def _list_alone(cls, value: Any) -> Any:
        """``fixed: [0, 1, Pt]`` is short for numbers and elements."""
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
                "has none; leave it out or choose nve, bussi, nose_hoover_chain or npt"
            )
        if self.ramp is not None and self.ensemble.name != "bussi":
            raise ValueError(
                "alarms.max_drift needs a conserved quantity, and a ramp does work on "
                f"that of {self.ensemble.name}; leave one of them out or choose bussi"
            )
        return self

    @model_validator(mode="after")
    def _a_ramp_needs_something_that_follows(self) -> "MDConfig":
        if self.ramp is None:
            return self
        if self.ensemble.name == "nve":
            raise ValueError(
                "ramp needs a thermostat, nve has none; choose langevin, bussi, "
                "nose_hoover_chain, npt or npt_berendsen, or leave ramp out"
            )
        if self.ramp.pressure is not None and not isinstance(
            self.ensemble, NPTConfig | NPTBerendsenConfig
        ):
            raise ValueError(
                f"ramp.pressure needs a barostat, {self.ensemble.name} has none; "
                "choose npt or npt_berendsen, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _copies_do_not_move_in_step(self) -> "MDConfig":
        replicate = self.structure.replicate
        if self.velocities.source == "file" and max(replicate) > 1:
            raise ValueError(
                f"velocities.source is 'file' and structure.replicate is "
                f"{list(replicate)}: all copies would move in the same way for ever; "
                "choose maxwell_boltzmann, or replicate the structure beforehand and "
                "give each copy velocities of its own"
            )
        return self
