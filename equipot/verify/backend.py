"""Comparison of a backend with the reference backend and with finite differences."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ase import Atoms

from equipot.graph.atomic_graph import collate
from equipot.models.build import as_reference, with_backend
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.models.products import is_reference
from equipot.neighbors import build_graph
from equipot.nn import RadialMLP
from equipot.tensor_products import REFERENCE
from equipot.tensor_products.agreement import (
    FLOAT64_TOLERANCE,
    ROUNDING_FACTOR,
    ROUNDING_FLOOR,
    difference,
    rounding_tolerance,
)
from equipot.tensor_products.trial import large_edges
from equipot.verify.consistency import consistency_checks
from equipot.verify.quantities import (
    UNITS,
    Probe,
    Values,
    evaluate,
    smallest_scales,
)
from equipot.verify.result import BackendReport, Check

SEARCH_MARGIN = 0.1
"""Additional search radius in Å, so that no pair is missing for displaced atoms."""
QUICK_STRUCTURES = 2
"""Number of structures of the check at loading."""
LARGE_BATCH = "edges in one batch"
"""Location of the comparison on a large batch in a `Check`."""
MAX_RADIAL_WEIGHTS = 2**28
"""Maximum number of radial weights of all layers in the large batch: 1 GiB in
float32."""


class BackendMismatchError(ValueError):
    """The results of a backend differ from those of the reference."""

    def __init__(self, message: str, report: BackendReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Expected:
    """Results of the reference backend for a potential."""

    potential: Potential
    """The network of the potential, without reference energies and repulsion."""
    probes: tuple[Probe, ...]
    """Structures and directions."""
    values: dict[torch.dtype, Values]
    """Results in the precision of the potential, and in float64 (last)."""
    scales: dict[str, float]
    """Magnitude below which a quantity counts as zero."""


def expect(
    potential: Potential,
    structures: Sequence[Atoms],
    *,
    directions: int = 2,
    seed: int = 0,
) -> Expected:
    """Evaluate the reference backend, once for all backends compared with it.

    Energies and their derivatives are those of the network only: reference energies,
    shift and repulsion are computed by the same code with every backend, and would
    hide differences by their size.

    Args:
        potential: Potential; not modified.
        structures: Test structures; the stress needs a 3D-periodic one.
        directions: Random directions of derivatives for each structure.
        seed: Seed of the directions.

    Raises:
        ValueError: If there are no atoms, or unsupported elements.
    """
    if not any(len(atoms) for atoms in structures):
        raise ValueError("no atoms to verify on; pass structures with atoms")
    potential = potential.network_alone()
    probes = make_probes(potential, structures, directions, seed)
    dtypes = dict.fromkeys([potential.dtype, torch.float64])
    values = {
        dtype: evaluate(as_reference(potential, dtype), probes) for dtype in dtypes
    }
    return Expected(
        potential, tuple(probes), values, smallest_scales(_unit(potential), probes)
    )


def verify_backend(
    expected: Expected, backend: str, *, differences: bool = True
) -> BackendReport:
    """Compare a backend with the reference and with finite differences.

    Energy, forces, stress and Hessian-vector products are compared in the precision of
    the potential and in float64; then, in the precision of the potential, on a batch of
    many copies of one structure, with thousands of edges. In float64, forces and stress
    are also compared with central differences of the energy, and Hessian-vector
    products with those of the forces.

    Args:
        expected: Result of `expect`.
        backend: Name of the backend.
        differences: Whether to compare derivatives with finite differences, on
            `QUICK_STRUCTURES` of the structures.

    Returns:
        All checks. An error raised by the backend is a failure.

    Raises:
        ValueError: If the backend is unknown.
        UnsupportedSpecError: If the backend does not support the product of a layer.
        BackendUnavailableError: If the backend cannot run here.
    """
    start = time.perf_counter()
    potential, probes = expected.potential, expected.probes
    # raises an error if a product is not supported
    same = is_reference(with_backend(potential, backend))
    checks: list[Check] = []
    error = None
    try:
        for dtype in () if same else expected.values:
            values = evaluate(with_backend(potential, backend, dtype), probes)
            checks += _agreement_checks(dtype, values, expected)
            if dtype == potential.dtype and all(check.passed for check in checks):
                checks += _large_checks(backend, dtype, expected)
        if differences:
            exact = with_backend(potential, backend, torch.float64)
            sizes = [p.graph.num_atoms for p in probes]
            few = quick_choice(sizes, [p.periodic for p in probes])
            checks += consistency_checks(
                exact, [probes[n] for n in few], _unit(potential)
            )
    except RuntimeError as raised:
        error = f"{type(raised).__name__}: {raised}"
    return BackendReport(
        backend=backend,
        reference=REFERENCE,
        device=str(potential.device),
        structures=len(probes),
        atoms=sum(p.graph.num_atoms for p in probes),
        checks=tuple(checks),
        error=error,
        seconds=time.perf_counter() - start,
    )


def check_backend(
    potential: Potential, structures: Sequence[Atoms], backend: str | None = None
) -> BackendReport | None:
    """Raise an error if a backend differs from the reference; fast enough for loading.

    Finite differences are skipped: derivatives of the reference are tested.

    Args:
        potential: Potential; not modified.
        structures: Structures, of which the smallest two are compared.
        backend: Name of the backend (default: that of the potential).

    Returns:
        The report; None for the reference backend.

    Raises:
        BackendMismatchError: If a quantity differs by more than rounding.
        ValueError: As in `expect` and `verify_backend`.
    """
    backend = potential.backend if backend is None else backend
    if is_reference(with_backend(potential, backend)):
        return None
    chosen = quick_choice(
        [len(atoms) for atoms in structures],
        [bool(atoms.pbc.all()) for atoms in structures],
    )
    expected = expect(potential, [structures[n] for n in chosen], directions=1)
    report = verify_backend(expected, backend, differences=False)
    if not report.passed:
        raise BackendMismatchError(_mismatch_message(report), report)
    return report


def is_passed_record(record: Mapping[str, Any], backend: str) -> bool:
    """Whether a stored record is a passed `BackendReport` of `check_backend`.

    Args:
        record: Untrusted JSON from a file.
        backend: Name of the backend.
    """
    try:
        checks = record["checks"]
        passed = record["passed"] is True and record["error"] is None
        names = (record["backend"], record["reference"])
        found = {check["quantity"] for check in checks}
        within = all(
            check["passed"] is True
            and math.isfinite(check["max_abs"])
            and 0 <= check["relative"] <= check["tolerance"] < 1
            for check in checks
        )
        large = any(LARGE_BATCH in check["where"] for check in checks)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    wanted = {"energy", "forces", "Hessian-vector"}
    right = names == (backend, REFERENCE) and wanted <= found <= set(UNITS)
    return passed and right and within and large


def make_probes(
    potential: EnergyModel, structures: Sequence[Atoms], directions: int, seed: int
) -> list[Probe]:
    """Graphs and random unit directions, on the device of the potential."""
    generator = torch.Generator().manual_seed(seed)
    probes = []
    for atoms in structures:
        graph = build_graph(atoms, potential.cutoff + SEARCH_MARGIN)
        shape = (directions, len(atoms), 3)
        random = torch.randn(shape, generator=generator, dtype=torch.float64)
        units = torch.nn.functional.normalize(random.flatten(1)).view(shape)
        probes.append(Probe(graph.to(potential.device), units.to(potential.device)))
    return probes


def quick_choice(sizes: Sequence[int], periodic: Sequence[bool]) -> list[int]:
    """Choose the smallest structures, including a 3D-periodic one if available.

    Args:
        sizes: Number of atoms of each structure.
        periodic: Whether each structure is 3D-periodic.

    Returns:
        Indices of at most `QUICK_STRUCTURES` structures.
    """
    by_size = sorted((n for n, size in enumerate(sizes) if size), key=sizes.__getitem__)
    first = [n for n in by_size if periodic[n]][:1]
    others = [n for n in by_size if n not in first]
    return first + others[: QUICK_STRUCTURES - len(first)]


def _large_checks(backend: str, dtype: torch.dtype, expected: Expected) -> list[Check]:
    """Comparison on a batch of copies of one structure.

    The expected results are those of the single structure, as copies do not interact.
    The densest crystal is preferred.
    """
    potential = expected.potential
    probe = max(
        expected.probes,
        key=lambda p: (p.periodic, p.graph.num_edges / max(p.graph.num_atoms, 1)),
    )
    edges = probe.graph.num_edges
    if not edges:
        return []
    copies = -(-_most_edges(potential) // edges)
    many = Probe(collate([probe.graph] * copies), probe.directions.repeat(1, copies, 1))
    values = evaluate(with_backend(potential, backend, dtype), [many])
    wanted = {
        kind: {
            name: _repeated(name, of_all, expected.probes, probe, copies)
            for name, of_all in expected.values[kind].items()
        }
        for kind in expected.values
    }
    return _agreement_checks(
        dtype,
        values,
        replace(expected, values=wanted),
        f"{copies * edges} {LARGE_BATCH}",
    )


def _repeated(
    name: str,
    values: Sequence[torch.Tensor],
    probes: Sequence[Probe],
    probe: Probe,
    copies: int,
) -> list[torch.Tensor]:
    """Quantity of one probe, repeated for its copies; empty if not available."""
    having = [p for p in probes if p.periodic or name != "stress"]
    found = [v for v, p in zip(values, having, strict=True) if p is probe]
    # the first axis is atoms or structures, but directions for Hessian-vector products
    along = 1 if name == "Hessian-vector" else 0
    return [torch.cat([value] * copies, dim=along) for value in found]


def _most_edges(potential: Potential) -> int:
    """Number of edges of the large batch, limited by memory of the radial weights."""
    of_an_edge = [
        module.output.out_features
        for module in potential.backbone.modules()
        if isinstance(module, RadialMLP)
    ]
    most = large_edges(max(of_an_edge, default=1), potential.device)
    return max(min(most, MAX_RADIAL_WEIGHTS // max(sum(of_an_edge), 1)), 1)


def _unit(potential: Potential) -> float:
    """One thousandth of the scale of forces, or energies, of the training set."""
    return 1e-3 * abs(potential.scale)


def _agreement_checks(
    dtype: torch.dtype, values: Values, expected: Expected, where: str = ""
) -> list[Check]:
    exact = expected.values[torch.float64]
    checks = []
    for name, unit in UNITS.items():
        reference = expected.values[dtype][name]
        pairs = list(zip(values[name], reference, strict=True))
        if not pairs:
            continue
        floor = expected.scales[name]
        if dtype == torch.float64:
            tolerance = FLOAT64_TOLERANCE
            reason = (
                "rounding errors of 1e-16, amplified by less than 1e5 in layers and "
                "derivatives, and a margin"
            )
        else:
            rounded = zip(reference, exact[name], strict=True)
            rounding = difference(rounded, tolerance=0.0, floor=floor)
            tolerance = rounding_tolerance(rounding, dtype)
            reason = (
                f"{ROUNDING_FACTOR:g} times the rounding error of the reference, which "
                f"is its difference from float64; at least {ROUNDING_FLOOR:g} units in "
                "the last place"
            )
        checks.append(
            Check(
                quantity=name,
                unit=unit,
                name=REFERENCE,
                dtype=str(dtype).removeprefix("torch."),
                difference=difference(pairs, tolerance, floor=floor),
                reason=reason,
                where=where,
            )
        )
    return checks


def _mismatch_message(report: BackendReport) -> str:
    found = [str(check) for check in report.failures]
    if report.error is not None:
        found.append(f"it raised {report.error}")
    return (
        f"backend {report.backend!r} differs from the reference backend on this "
        f"machine ({report.structures} structures, {report.device}):\n"
        + "\n".join(f"  {line}" for line in found)
        + f"\nChoose another backend, such as {report.reference!r}; `equipot verify` "
        "shows all numbers"
    )
