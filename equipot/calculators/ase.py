"""ASE calculator of a potential or a committee."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)

from equipot.calculators.batch import Evaluated, evaluate_batches
from equipot.calculators.evaluation import Evaluation
from equipot.calculators.guard import Guard
from equipot.calculators.results import (
    ase_results,
    has_stress,
    has_volume,
    not_finite,
    requested_outputs,
)
from equipot.calculators.self_check import Every, SelfCheck
from equipot.checkpoint.file import load_domain, load_potential, read_header
from equipot.data.statistics import UNKNOWN_TRAINING_SET
from equipot.domain import Domain, ExtrapolationEvent
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.committee import Committee
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import CanonicalList, GraphReuse, NeighborList
from equipot.neighbors.cell import complete_rows
from equipot.storage.provenance import ModelIdentity
from equipot.storage.tensor_file import digest

Model = Path | str | Potential

BACKENDS_TO_FREEZE = (None, "auto", "fused")
"""Backends with which model files are frozen by default: programs replace them."""
ALWAYS = ("energy", "forces", "stress")
"""Properties that every evaluation computes by default."""
INPUTS = ("positions", "numbers", "cell", "pbc")
"""Arrays of a structure that enter a result."""


class EquipotCalculator(Calculator):
    """Energy, forces, and stress of a potential, in eV, eV/Å and eV/Å^3.

    Per-atom energies and stresses (``get_potential_energies``, ``get_stresses``) sum to
    those of the structure. The stress of a slab or a wire has components along its
    periodic directions, per volume of the given cell; `get_stress_per_area` and
    `get_stress_per_length` do not depend on the vacuum.

    Results depend on the structure only, bit for bit, not on previous calculations.
    They are cached until positions, cell, numbers or pbc change; no other data, such as
    ``atoms.info``, enters a result.

    Several models form a committee: results are means, and ``energy_spread`` (eV)
    and ``forces_spread`` (eV/Å, one number per atom) in `results` are standard
    deviations between members.

    Args:
        model: Model file, or a potential in memory, which is used unchanged; or a list
            of two or more of them.
        device: "cpu", "cuda" or "auto" (CUDA if available).
        dtype: "float32" or "float64" (default: that of the model).
        backend: Tensor-product backend (default: that of the model), or "auto" for the
            fastest on this machine.
        on_extrapolation: Action for structures and predictions outside the domain of
            the training set, with the margins of `equipot.domain.margins`: "error";
            "warn", once for each kind; "record", in `extrapolation_events`; or
            "ignore", which skips the check.
            domain: Domain of validity (default: that of the model file; none for a
                potential in memory).
        max_spread: Maximum standard deviation in eV/Å of the force on an atom between
            committee members; larger ones are extrapolation events.
        check_neighbors: Interval of cross-checks of the neighbor list by an independent
            search: a number of evaluations, "never", or "auto": the first evaluation,
            and in unusual cells (thin, flat, left-handed, partially periodic) every
            hundredth.
        skin: Skin of the neighbor list in Å, which is reused while atoms move less than
            half of it. Results do not depend on it, bit for bit; 0 saves a third of
            the memory of the list.
        always: Properties computed in every evaluation, so that a single one answers
            whatever ASE requests next; the stress if the structure has a periodic
            direction and a volume. With ``always=()`` an evaluation computes the energy
            and what is requested only, which is faster if only energies are used.
        verify: Whether to compare the backend with the reference when loading a model;
            a passed comparison is cached.
        frozen: Whether to evaluate energies, forces and stress by compiled programs for
            constant weights, several times faster than the potential itself; see
            `equipot.frozen` for their accuracy. By default model files are, where
            possible (`evaluation` has the reason if not) and unless another backend
            than "auto" and "fused" is chosen; potentials in memory are not, since their
            weights may change.

    Raises:
        BackendMismatchError: If the backend differs from the reference.
        UnsupportedModelError: If `frozen` is true and the model cannot be frozen.
        ValueError: If an argument is invalid, or `device`, `dtype` or
            `backend` are given for a potential in memory.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 - as in ASE
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    ]

    def __init__(
        self,
        model: Model | Sequence[Model],
        *,
        device: str = "auto",
        dtype: str | None = None,
        backend: str | None = None,
        on_extrapolation: str = "error",
        domain: Domain | None = None,
        max_spread: float | None = None,
        check_neighbors: Every = "auto",
        skin: float = 0.5,
        always: Collection[str] = ALWAYS,
        verify: bool = True,
        frozen: bool | None = None,
    ) -> None:
        super().__init__()
        if unknown := set(always) - set(self.implemented_properties):
            raise ValueError(_unknown_properties("always", unknown))
        models = [model] if isinstance(model, Model) else list(model)
        if any(isinstance(m, Potential) for m in models):
            _check_no_conversion(device, dtype, backend)
        potentials = [
            m
            if isinstance(m, Potential)
            else load_potential(
                m, device=device, dtype=dtype, backend=backend, verify=verify
            ).requires_grad_(False)
            for m in models
        ]
        self.domains: list[Domain | None] = [
            domain if domain is not None or isinstance(m, Potential) else load_domain(m)
            for m in models
        ]
        """Domain of validity of each member; None if unknown."""
        if on_extrapolation != "ignore":
            _warn_of_unknown(models, self.domains)
        self.potential: Potential | Committee = (
            potentials[0] if len(potentials) == 1 else Committee(potentials)
        )
        if frozen is None and (
            backend not in BACKENDS_TO_FREEZE
            or any(isinstance(m, Potential) for m in models)
        ):
            frozen = False
        self.evaluation = Evaluation(potentials, frozen)
        """Model in the form that it is evaluated in."""
        self._files = [
            None
            if isinstance(m, Potential)
            else ModelIdentity(str(m), read_header(m)["sha256"])
            for m in models
        ]
        self.always = frozenset(always)
        self.extrapolation_events: tuple[ExtrapolationEvent, ...] = ()
        """Extrapolation events of the last structure."""
        self._guard = Guard(self.domains, on_extrapolation, max_spread)
        self.has_domain = self._guard.compares
        """Whether structures are compared with any domain of validity."""
        self._edges = CanonicalList(self.potential.cutoff, skin)
        self._graphs = GraphReuse(self.potential.cutoff)
        self._structure: Atoms | None = None
        self._calculated: tuple[bytes, ...] = ()
        self._cell = b"", False
        self._self_check = SelfCheck(self.potential.cutoff, check_neighbors)
        self._evaluations = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return digest(self.potential.state_dict())

    @property
    def frozen(self) -> bool:
        """Whether energies and first derivatives are computed by compiled programs."""
        return self.evaluation.not_frozen is None

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Model files of the members, with their SHA-256 when they were loaded.

        Potentials in memory have the current SHA-256 of their weights.
        """
        potentials = (
            self.potential.potentials
            if isinstance(self.potential, Committee)
            else [self.potential]
        )
        return tuple(
            file or ModelIdentity(None, digest(potential.state_dict()))
            for file, potential in zip(self._files, potentials, strict=True)
        )

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Changes since the last calculation, compared exactly."""
        if self.atoms is None:
            return list(all_changes)
        arrays = zip(INPUTS, self._calculated, _bytes_of(atoms), strict=True)
        return [name for name, before, now in arrays if before != now]

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Property of a structure as in ASE; a cached one is compared only once."""
        if atoms is None or name not in self.results or self.check_state(atoms):
            return super().get_property(name, atoms, allow_calculation)
        result = self.results[name]
        return result.copy() if isinstance(result, np.ndarray) else result

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties; ASE calls this method if they are not cached.

        Args:
            atoms: Structure (default: the last one).
            properties: Subset of `implemented_properties`.
            system_changes: Ignored.

        Raises:
            ValueError: If a coordinate is not finite or an element is not supported.
            PropertyNotImplementedError: If stress is requested without a periodic
                direction or a volume.
            ExtrapolationError: If the structure is outside the domain of validity, with
                ``on_extrapolation="error"``.
            NeighborMismatchError: If two neighbor searches disagree.
            CalculationFailed: If a result is not finite.
        """
        if atoms is not None:
            self.atoms = self._remembered(atoms)
        atoms = self.atoms
        self.results = {}  # for direct calls, without ASE's cache
        self.extrapolation_events = ()
        edges = self._checked_edges(atoms)
        outputs = self._outputs(atoms, properties)
        if self._guard.needs_features:
            outputs.add("features")
        prediction = self.evaluation(self._graph(atoms, edges), outputs)
        self._watch(atoms, edges, prediction)
        self.results = ase_results(prediction)

    def evaluate(
        self,
        structures: Sequence[Atoms],
        properties: Collection[str] = ("energy", "forces", "stress"),
        *,
        max_edges: int | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Evaluated]:
        """Compute properties of many structures in few evaluations of the potential.

        Results are those of single calculations, up to rounding, with the same checks
        of neighbor lists, domain of validity and finite results. They are not cached,
        and the results of the last single calculation are not changed. The skin is not
        used.

        Args:
            structures: Any number of structures; periodic ones, molecules and single
                atoms may be mixed.
            properties: Subset of `implemented_properties`; the stress is computed of
                those structures that have one. Energies are always computed.
            max_edges: Largest number of edges in one evaluation, which limits the
                memory (default: 8,000 on a CPU, 50,000 on other devices); a larger
                structure is evaluated by itself.
            numbers: Numbers of the structures in error messages (default: 0, 1, ...).

        Returns:
            Results of each structure, in the order of `structures`.

        Raises:
            ValueError: As in `calculate`, or if a property is unknown.
            ExtrapolationError: As in `calculate`.
            NeighborMismatchError: As in `calculate`.
            CalculationFailed: As in `calculate`. All messages contain the number of
                the structure.
        """
        if unknown := set(properties) - set(self.implemented_properties):
            raise ValueError(_unknown_properties("properties", unknown))
        return evaluate_batches(
            self.evaluation,
            structures,
            properties,
            cutoff=self.potential.cutoff,
            device=self.potential.device,
            guard=self._guard,
            cross_check=self._cross_check,
            max_edges=max_edges,
            numbers=numbers,
        )

    def get_stress_per_area(self, atoms: Atoms) -> np.ndarray:
        r"""In-plane stress of a slab, which does not depend on the vacuum in its cell.

        .. math:: \tau = \frac{1}{A} \frac{\partial E}{\partial \epsilon}
                       = \frac{V}{A} \, \sigma

        with the area A of the two periodic lattice vectors and strains in their plane.

        Args:
            atoms: Structure with two periodic directions.

        Returns:
            Voigt components xx yy zz yz xz xy in eV/Å^2, positive in tension;
            out-of-plane components are zero. 1 eV/Å^2 is 16.0218 N/m.

        Raises:
            ValueError: If the number of periodic directions is not two.
        """
        return self._stress_per_measure(atoms, 2)

    def get_stress_per_length(self, atoms: Atoms) -> np.ndarray:
        r"""Tension of a wire, which does not depend on the vacuum in its cell.

        .. math:: \tau = \frac{1}{L} \frac{\partial E}{\partial \epsilon}

        Args:
            atoms: Structure with one periodic direction, of lattice vector length L.

        Returns:
            Voigt components xx yy zz yz xz xy in eV/Å, positive in tension; only those
            along the wire are nonzero.

        Raises:
            ValueError: If the number of periodic directions is not one.
        """
        return self._stress_per_measure(atoms, 1)

    def _stress_per_measure(self, atoms: Atoms, dimension: int) -> np.ndarray:
        found = int(atoms.pbc.sum())
        if found != dimension:
            raise ValueError(
                f"stress per {'area' if dimension == 2 else 'length'} needs "
                f"{dimension} periodic "
                f"direction{'s' if dimension > 1 else ''}, this structure has {found}: "
                "set atoms.pbc, or use get_stress"
            )
        if not has_volume(atoms):  # non-periodic vectors do not matter here
            atoms = atoms.copy()
            atoms.set_cell(complete_rows(atoms.cell.tolist(), atoms.pbc.tolist()))
        stress: np.ndarray = self.get_property("stress", atoms)
        rows = atoms.cell.array[atoms.pbc]
        measure = np.sqrt(np.linalg.det(rows @ rows.T))
        return stress * atoms.get_volume() / measure

    def get_hessian(
        self, atoms: Atoms | None = None, *, direct: bool = False
    ) -> np.ndarray:
        """Second derivatives of the energy, by differentiation of the forces.

        They are exact up to rounding, and not cached.

        Args:
            atoms: Structure (default: the last one).
            direct: Use the faster direct head. Its Hessian is symmetric and
                satisfies the acoustic sum rule, but is not the derivative of the
                energy.

        Returns:
            Shape ``(atoms, 3, atoms, 3)`` in eV/Å^2; summed over all periodic images.

        Raises:
            ValueError: If there is no structure, a coordinate is not finite, an element
                is not supported, or there is no direct head.
            ExtrapolationError: If the structure is outside the domain of validity, with
                ``on_extrapolation="error"``.
            NeighborMismatchError: If two neighbor searches disagree.
            CalculationFailed: If a second derivative is not finite.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("no previous structure: pass atoms to get_hessian")
        edges = self._checked_edges(atoms)
        self._watch(atoms, edges, None)
        graph = self._graph(atoms, edges)
        if direct:
            if isinstance(self.potential, Committee):
                raise ValueError(
                    "a committee has no direct Hessian; use one of its members"
                )
            (matrix,) = self.potential.hessian_direct(graph).matrices()
            result = matrix.view(len(atoms), 3, len(atoms), 3)
        else:
            result = self.evaluation.hessian(graph)
        values: np.ndarray = result.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise CalculationFailed(not_finite("a Hessian"))
        return values

    def _remembered(self, atoms: Atoms) -> Atoms:
        """Copy of what enters a result; the same object while the atoms are."""
        now, last = _bytes_of(atoms), self._structure
        if last is None or now[1:] != self._calculated[1:]:
            last = self._structure = Atoms(
                numbers=atoms.numbers, cell=atoms.cell, pbc=atoms.pbc
            )
        last.arrays["positions"][:] = atoms.arrays["positions"]
        self._calculated = now
        return last

    def _has_stress(self, atoms: Atoms) -> bool:
        """Whether the structure has a periodic direction and a volume."""
        key = atoms.cell.array.tobytes() + atoms.pbc.tobytes()
        if key != self._cell[0]:
            self._cell = key, has_stress(atoms)
        return self._cell[1]

    def _outputs(self, atoms: Atoms, properties: Collection[str]) -> set[Output]:
        with_stress = self._has_stress(atoms)
        if {"stress", "stresses"} & set(properties) and not with_stress:
            raise PropertyNotImplementedError(
                "stress needs a periodic direction and a cell with a volume; the "
                f"structure has pbc={atoms.pbc.tolist()} and a volume of "
                f"{atoms.cell.volume:g} Å^3: set atoms.pbc and atoms.cell, or do not "
                "request the stress"
            )
        wanted = self.always | set(properties)
        return requested_outputs(wanted, with_stress=with_stress)

    def _graph(self, atoms: Atoms, edges: NeighborList) -> AtomicGraph:
        return self._graphs(atoms, edges, self.potential.device)

    def _checked_edges(self, atoms: Atoms) -> NeighborList:
        edges = self._edges(atoms)
        self._cross_check(atoms, edges)
        return edges

    def _cross_check(self, atoms: Atoms, edges: NeighborList) -> None:
        if self._self_check.due(atoms, self._evaluations):
            self._self_check.compare(atoms, edges)
        self._evaluations += 1

    def _watch(
        self, atoms: Atoms, edges: NeighborList, prediction: Prediction | None
    ) -> None:
        self.extrapolation_events = self._guard.watch(atoms, edges, prediction)
        self._guard.act(self.extrapolation_events)


def _warn_of_unknown(models: Sequence[Model], domains: Sequence[Domain | None]) -> None:
    """Say which files have no domain, once for all of them."""
    files = [
        str(model)
        for model, domain in zip(models, domains, strict=True)
        if domain is not None
        and not domain.is_known
        and not isinstance(model, Potential)
    ]
    if files:
        warnings.warn(f"{', '.join(files)}: {UNKNOWN_TRAINING_SET}", stacklevel=3)


def _bytes_of(atoms: Atoms) -> tuple[bytes, ...]:
    """Arrays that enter a result, in the order of `INPUTS`, for exact comparisons."""
    return (
        atoms.positions.tobytes(),
        atoms.numbers.tobytes(),
        atoms.cell.array.tobytes(),
        atoms.pbc.tobytes(),
    )


def _unknown_properties(argument: str, unknown: Collection[str]) -> str:
    return (
        f"{argument}: unknown properties {sorted(unknown)}; supported are "
        f"{', '.join(EquipotCalculator.implemented_properties)}"
    )


def _check_no_conversion(device: str, dtype: str | None, backend: str | None) -> None:
    if device != "auto" or dtype is not None or backend is not None:
        raise ValueError(
            "device, dtype and backend apply to model files; convert the potential "
            "with potential.to(device, dtype), or with_backend(potential, backend), "
            "before passing it to the calculator"
        )
