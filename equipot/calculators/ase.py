"""`EquipotCalculator`: a potential for everything that works with ASE."""

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
from ase.stress import full_3x3_to_voigt_6_stress

from equipot.calculators.guard import Guard
from equipot.calculators.self_check import Every, SelfCheck
from equipot.checkpoint.file import load_domain, load_potential, read_header
from equipot.data.statistics import UNKNOWN_TRAINING_SET
from equipot.domain import Domain, ExtrapolationEvent
from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians import hessian
from equipot.models.committee import Committee, CommitteePrediction
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import CanonicalList, NeighborList, build_graph
from equipot.neighbors.cell import SMALLEST_VOLUME, complete_rows
from equipot.storage.provenance import ModelIdentity
from equipot.storage.tensor_file import digest

Model = Path | str | Potential


class EquipotCalculator(Calculator):
    """Energy, forces, and stress of a potential, in eV, eV/Å and eV/Å^3.

    Energies and stresses of atoms (``get_potential_energies``, ``get_stresses``) sum to
    those of the structure. The stress of a slab or a wire is along its periodic
    directions, per volume of the cell as it is given; `get_stress_per_area` and
    `get_stress_per_length` do not depend on the vacuum in it.

    Results depend on the atoms only, bit for bit, and not on previous calculations.
    They are kept until positions, cell, numbers or pbc change: nothing else of a
    structure, such as ``atoms.info``, enters a result.

    Several models are a committee: results are their means, and ``energy_spread`` (eV)
    and ``forces_spread`` (eV/Å, one number for each atom) in `results` are standard
    deviations between them.

    Args:
        model: Model file, or a potential, which is used as it is; or a list of two or
            more of them.
        device: "cpu", "cuda" or "auto" (CUDA if available).
        dtype: "float32" or "float64" (default: that of the model).
        backend: Tensor-product backend (default: that of the model), or "auto" for the
            fastest on this machine.
        on_extrapolation: Action for structures and predictions outside the domain of
            the training set, with the margins of `equipot.domain.margins`: "error";
            "warn", once for each kind; "record", in `extrapolation_events`; or
            "ignore", which skips the check.
        domain: Domain of validity (default: that of the model file).
            A potential in memory has none unless it is given.
        max_spread: Standard deviation in eV/Å of the force on an atom between members
            of a committee that is beyond the domain, too.
        check_neighbors: How often neighbors are searched a second time, by a search
            that shares no code with the first, and compared: every so many
            evaluations, "never", or "auto": at the first one, and in unusual cells
            (thin, flat, left-handed, periodic in part) at every hundredth.
        skin: Added to the cutoff of the neighbor list in Å, so that it lasts for
            several steps; use 0.5 for dynamics and relaxations.
        always: Properties that every evaluation computes, asked for or not. What needs
            forces and stress should say so, or each costs an evaluation.
        verify: Whether a backend is compared with the reference when a model is read;
            it is remembered when it has passed.

    Raises:
        BackendMismatchError: If the backend does not compute what the reference does.
        ValueError: If an argument is not one of its choices, or `device`, `dtype` or
            `backend` are given for a potential that is in memory.
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
        skin: float = 0.0,
        always: Collection[str] = (),
        verify: bool = True,
    ) -> None:
        super().__init__()
        if unknown := set(always) - set(self.implemented_properties):
            raise ValueError(
                f"always: unknown properties {sorted(unknown)}; choose among "
                f"{', '.join(self.implemented_properties)}"
            )
        models = [model] if isinstance(model, Model) else list(model)
        if any(isinstance(m, Potential) for m in models):
            _refuse_conversion(device, dtype, backend)
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
        """Where each member was trained; None where that is not known."""
        if on_extrapolation != "ignore":
            _warn_of_unknown(models, self.domains)
        self.potential: Potential | Committee = (
            potentials[0] if len(potentials) == 1 else Committee(potentials)
        )
        self._files = [
            None
            if isinstance(m, Potential)
            else ModelIdentity(str(m), read_header(m)["sha256"])
            for m in models
        ]
        self.always = frozenset(always)
        self.extrapolation_events: tuple[ExtrapolationEvent, ...] = ()
        """How the last structure lies beyond the training set."""
        self._guard = Guard(self.domains, on_extrapolation, max_spread)
        self.has_domain = self._guard.compares
        """Whether structures are compared with any domain of validity."""
        self._edges = CanonicalList(self.potential.cutoff, skin)
        self._self_check = SelfCheck(self.potential.cutoff, check_neighbors)
        self._evaluations = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return digest(self.potential.state_dict())

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Files of the members with the SHA-256 that they had when they were read.

        Potentials in memory have the SHA-256 of their weights as they are now.
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
        """What changed since the last calculation, by whatever little."""
        last = self.atoms
        if last is None:
            return list(all_changes)
        pairs = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        return [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute what is asked for; ASE calls this if it is not in the cache.

        Args:
            atoms: Structure; the last one if left out.
            properties: Among `implemented_properties`.
            system_changes: Not used.

        Raises:
            ValueError: If a coordinate is not finite or an element is unknown.
            PropertyNotImplementedError: If stress is asked for without a periodic
                direction or a volume.
            ExtrapolationError: If it lies beyond the training set and that is an error.
            NeighborMismatchError: If two searches find other neighbors.
            CalculationFailed: If a result is not finite.
        """
        if atoms is not None:
            self.atoms = atoms.copy()
            self.atoms.info = {}
        atoms = self.atoms
        self.results = {}  # of other atoms, if this was called without ASE's cache
        self.extrapolation_events = ()
        edges = self._checked_edges(atoms)
        outputs = self._outputs(atoms, properties)
        if self._guard.needs_features:
            outputs.add("features")
        prediction = self.potential(
            self._graph(atoms, edges), outputs, create_graph=False
        )
        self._watch(atoms, edges, prediction)
        self.results = _results(prediction)

    def get_stress_per_area(self, atoms: Atoms) -> np.ndarray:
        r"""In-plane stress of a slab, which does not depend on the vacuum in its cell.

        .. math:: \tau = \frac{1}{A} \frac{\partial E}{\partial \epsilon}
                       = \frac{V}{A} \, \sigma

        with the area A of the two periodic lattice vectors and strains in their plane.

        Args:
            atoms: Periodic along two directions.

        Returns:
            Voigt components xx yy zz yz xz xy in eV/Å^2, positive in tension; those
            out of the plane are zero. 1 eV/Å^2 is 16.0218 N/m.

        Raises:
            ValueError: If another number of directions is periodic.
        """
        return self._stress_per_measure(atoms, 2)

    def get_stress_per_length(self, atoms: Atoms) -> np.ndarray:
        r"""Tension of a wire, which does not depend on the vacuum in its cell.

        .. math:: \tau = \frac{1}{L} \frac{\partial E}{\partial \epsilon}

        Args:
            atoms: Periodic along one direction, with a lattice vector of length L.

        Returns:
            Voigt components xx yy zz yz xz xy in eV/Å, positive in tension; only those
            along the wire are not zero.

        Raises:
            ValueError: If another number of directions is periodic.
        """
        return self._stress_per_measure(atoms, 1)

    def _stress_per_measure(self, atoms: Atoms, dimension: int) -> np.ndarray:
        found = int(atoms.pbc.sum())
        if found != dimension:
            raise ValueError(
                f"stress per {'area' if dimension == 2 else 'length'} is of structures "
                f"that are periodic along {dimension} "
                f"direction{'s' if dimension > 1 else ''}, this one is along {found}: "
                "set atoms.pbc, or use get_stress"
            )
        if not _has_volume(atoms):  # what the free vectors are does not matter here
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

        They are exact for the potential, up to rounding, and not kept.

        Args:
            atoms: Structure; the last one if left out.
            direct: Ask the direct head instead, which is much faster: what it predicts
                is symmetric and obeys the sum rule, but is not the derivative of the
                energy.

        Returns:
            Shape ``(atoms, 3, atoms, 3)`` in eV/Å^2; atoms of a periodic structure
            feel all images of each other.

        Raises:
            ValueError: If there is no structure, a coordinate is not finite, an element
                is unknown, or there is no direct head.
            ExtrapolationError: If the structure lies beyond the training set and that
                is an error.
            NeighborMismatchError: If two searches find other neighbors.
            CalculationFailed: If a second derivative is not finite.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("there is no structure yet: give get_hessian the atoms")
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
            result = hessian(self.potential, graph)
        values: np.ndarray = result.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise CalculationFailed(_not_finite("a Hessian"))
        return values

    def _outputs(self, atoms: Atoms, properties: Collection[str]) -> set[Output]:
        outputs: set[Output] = {"energy"}
        has_stress = bool(atoms.pbc.any()) and _has_volume(atoms)
        if {"stress", "stresses"} & set(properties) and not has_stress:
            raise PropertyNotImplementedError(
                "stress needs a periodic direction and a cell with a volume; the "
                f"structure has pbc={atoms.pbc.tolist()} and a volume of "
                f"{atoms.cell.volume:g} Å^3: set atoms.pbc and atoms.cell, or do not "
                "ask for stress"
            )
        wanted = self.always | set(properties)
        if wanted & {"forces", "stress", "stresses"}:
            outputs.add("forces")
        if has_stress and "stress" in wanted:
            outputs.add("stress")
        if has_stress and "stresses" in wanted:
            outputs.add("stresses")
        return outputs

    def _graph(self, atoms: Atoms, edges: NeighborList) -> AtomicGraph:
        potential = self.potential
        return build_graph(
            atoms, potential.cutoff, device=potential.device, neighbors=edges
        )

    def _checked_edges(self, atoms: Atoms) -> NeighborList:
        edges = self._edges(atoms)
        if self._self_check.due(atoms, self._evaluations):
            self._self_check.compare(atoms, edges)
        self._evaluations += 1
        return edges

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


def _has_volume(atoms: Atoms) -> bool:
    """Whether the three lattice vectors are independent."""
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    return bool(atoms.cell.volume > SMALLEST_VOLUME * lengths.prod())


def _results(prediction: Prediction) -> dict[str, Any]:
    """Results as ASE names them, all of them finite."""
    energy = float(prediction.energy[0])
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "energies": prediction.energies.cpu().numpy(),
    }
    if prediction.forces is not None:
        results["forces"] = prediction.forces.double().cpu().numpy()
    if prediction.stress is not None:
        stress = prediction.stress[0].double().cpu().numpy()
        results["stress"] = full_3x3_to_voigt_6_stress(stress)
    if prediction.stresses is not None:
        stresses = prediction.stresses.double().cpu().numpy()
        results["stresses"] = full_3x3_to_voigt_6_stress(stresses)
    if isinstance(prediction, CommitteePrediction):
        results["energy_spread"] = float(prediction.energy_spread[0])
        if (spread := prediction.forces_spread) is not None:
            results["forces_spread"] = spread.double().cpu().numpy()
    bad = [name for name, value in results.items() if not np.isfinite(value).all()]
    if bad:
        raise CalculationFailed(_not_finite(", ".join(bad)))
    return results


def _not_finite(names: str) -> str:
    return (
        f"the potential returned {names} with values that are not finite; the "
        "structure is far from the training set, or the model is damaged"
    )


def _refuse_conversion(device: str, dtype: str | None, backend: str | None) -> None:
    if device != "auto" or dtype is not None or backend is not None:
        raise ValueError(
            "device, dtype and backend are for models on disk; convert the potential "
            "with potential.to(device, dtype), or with_backend(potential, backend), "
            "before giving it to the calculator"
        )
