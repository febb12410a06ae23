"""`EquipotCalculator`: a potential for everything that works with ASE."""

import copy
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress

from equipot.calculators.canonical import CanonicalEdges, Edges
from equipot.calculators.domain import Domain, ExtrapolationError
from equipot.checkpoint import load_potential, read_header, read_statistics
from equipot.graph import AtomicGraph
from equipot.hessians import hessian
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction
from equipot.tensor_file import digest


class EquipotCalculator(Calculator):
    """Energy, forces, and stress of a potential, in eV, eV/Å and eV/Å^3.

    Results are the same to the bit for the same atoms, whatever was calculated before.
    They are kept until positions, cell, numbers, pbc or ``atoms.info`` change.

    Args:
        model: Trained model, or a potential, which is used where and as it is.
        device: Where to compute; "auto" takes a GPU if there is one.
        dtype: "float32" or "float64"; that of the model if left out.
        backend: Who computes tensor products; the model's own choice if left out,
            "auto" for the fastest on this machine.
        on_extrapolation: What to do where two atoms are closer than any such pair of
            the training set: "error", "warn" (once per pair of elements) or "ignore".
        minimum_distances: Smallest distance in Å of the training set by pair of
            elements (``"H-O"``); those of the model file if left out.
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
    ]

    def __init__(
        self,
        model: Path | str | Potential,
        *,
        device: str = "auto",
        dtype: str | None = None,
        backend: str | None = None,
        on_extrapolation: str = "error",
        minimum_distances: Mapping[str, float] | None = None,
        skin: float = 0.0,
        always: Collection[str] = (),
        verify: bool = True,
    ) -> None:
        super().__init__()
        if on_extrapolation not in ("error", "warn", "ignore"):
            raise ValueError(
                "on_extrapolation must be 'error', 'warn' or 'ignore', "
                f"got {on_extrapolation!r}"
            )
        if unknown := set(always) - set(self.implemented_properties):
            raise ValueError(
                f"always: unknown properties {sorted(unknown)}; choose among "
                f"{', '.join(self.implemented_properties)}"
            )
        if isinstance(model, Potential):
            _refuse_conversion(device, dtype, backend)
            self.potential = model
        else:
            self.potential = load_potential(
                model, device=device, dtype=dtype, backend=backend, verify=verify
            ).requires_grad_(False)
            if minimum_distances is None:
                minimum_distances = read_statistics(
                    read_header(model)
                ).minimum_distances
        self.on_extrapolation = on_extrapolation
        self.always = frozenset(always)
        self._domain = None if minimum_distances is None else Domain(minimum_distances)
        self._edges = CanonicalEdges(self.potential.cutoff, skin)
        self._info: dict[str, Any] = {}
        self._warned: set[str] = set()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return digest(self.potential.state_dict())

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation: exactly, ``atoms.info`` too."""
        last = self.atoms
        if last is None:
            return [*all_changes, "info"]
        pairs = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        changes = [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]
        return changes if _same(self._info, atoms.info) else [*changes, "info"]

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
            PropertyNotImplementedError: If stress is asked for without a volume.
            ExtrapolationError: If atoms are too close and that is an error.
            CalculationFailed: If a result is not finite.
        """
        if atoms is not None:
            self.atoms = atoms.copy()
            self._info = copy.deepcopy(atoms.info)
        atoms = self.atoms
        self.results = {}  # of other atoms, if this was called without ASE's cache
        edges = self._edges(atoms)
        prediction = self.potential(
            self._graph(atoms, edges),
            self._outputs(atoms, properties),
            create_graph=False,
        )
        self._check_domain(atoms, edges)
        self.results = _results(prediction)

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
            ExtrapolationError: If atoms are too close and that is an error.
            CalculationFailed: If a second derivative is not finite.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("there is no structure yet: give get_hessian the atoms")
        edges = self._edges(atoms)
        self._check_domain(atoms, edges)
        graph = self._graph(atoms, edges)
        if direct:
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
        if "stress" in properties and not atoms.pbc.all():
            raise PropertyNotImplementedError(
                "stress needs a volume, that is three periodic directions; the "
                f"structure has pbc={atoms.pbc.tolist()}: set atoms.pbc and "
                "atoms.cell, or do not ask for stress"
            )
        wanted = self.always | set(properties)
        if wanted & {"forces", "stress"}:
            outputs.add("forces")
        if "stress" in wanted and atoms.pbc.all():
            outputs.add("stress")
        return outputs

    def _graph(self, atoms: Atoms, edges: Edges) -> AtomicGraph:
        device = self.potential.device
        return AtomicGraph(
            positions=torch.from_numpy(atoms.get_positions()).to(device),
            atomic_numbers=torch.from_numpy(atoms.numbers.astype(np.int64)).to(device),
            cell=torch.from_numpy(atoms.cell.array.copy()[None]).to(device),
            pbc=torch.from_numpy(atoms.pbc.copy()[None]).to(device),
            batch=torch.zeros(len(atoms), dtype=torch.long, device=device),
            edge_index=torch.from_numpy(edges.index).to(device),
            edge_shift=torch.from_numpy(edges.shift).to(device),
            cutoff=self.potential.cutoff,
        )

    def _check_domain(self, atoms: Atoms, edges: Edges) -> None:
        if self._domain is None or self.on_extrapolation == "ignore":
            return
        found = self._domain.violation(atoms, edges.index, edges.distances)
        if found is None:
            return
        pair, message = found
        if self.on_extrapolation == "error":
            raise ExtrapolationError(
                f"{message}: the potential extrapolates. Start from another structure, "
                "train on such data, or allow it with on_extrapolation='warn'"
            )
        if pair not in self._warned:
            self._warned.add(pair)
            warnings.warn(f"{message}: the potential extrapolates", stacklevel=2)


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


def _same(a: Any, b: Any) -> bool:
    """Equality of nested values that may hold arrays."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
