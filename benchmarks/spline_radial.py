r"""Radial MLPs of a trained potential replaced by linear combinations of few functions.

The weights R of a tensor product depend on the length of an edge alone. Instead of an
MLP they are written as

.. math:: R_p(r) = u(r) \sum_{k=1}^{K} c_{pk} \, s_k(r)

with the envelope u of the potential, functions s that are cubic splines, and a matrix
c fitted to the MLP by least squares, weighted by the lengths in a set of structures.
Nothing is trained. Compared are parameters, the share of the variance of R that is
explained, errors of energies and forces, and times, for three choices of s::

    python -m benchmarks.spline_radial MODEL STRUCTURES --frames 60 --threads 1

``basis``: the radial functions of the potential itself. ``bsplines``: cubic B-splines
of equal width. ``optimal``: those that explain most, by singular value decomposition,
one set for each layer and tabulated at `KNOTS` points; its error falls with K to that
of the table.

Source:
    N. Miklaucic et al., arXiv:2509.08418 (2025): eight functions for SevenNet-0.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import Any, cast, final

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from jaxtyping import Float, Float64
from scipy.interpolate import BSpline, CubicSpline
from torch import Tensor, nn

from benchmarks.common import options, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.checkpoint.file import load_potential
from equipot.constants import Constant
from equipot.graph.atomic_graph import edge_vectors
from equipot.models import Potential
from equipot.models.message_passing import MessagePassing
from equipot.neighbors import build_graph
from equipot.nn import RadialInputs, RadialMLP

KNOTS = 200
"""Points of the cubic splines."""
SHORTEST = 0.5
"""Å; below it, splines continue the polynomial of their first interval."""
GRID = 2000
"""Points of the fit."""
FLOOR = 1e-3
"""Weight of lengths that no structure has, relative to the mean of the others."""
END = 1 - 1e-6
"""Last point relative to the cutoff, where functions divided by the envelope end."""

Functions = Float64[np.ndarray, "points functions"]


@final
class SplineRadial(nn.Module):
    """Linear combinations of cubic splines, in place of a `RadialMLP`.

    Args:
        knots: Equidistant lengths in Å.
        functions: Values of the functions at the knots.
        matrix: Coefficients of the functions in each weight.
    """

    def __init__(
        self,
        knots: Float64[np.ndarray, " points"],
        functions: Functions,
        matrix: Float64[np.ndarray, "functions weights"],
    ) -> None:
        super().__init__()
        self._first, self._step = float(knots[0]), float(knots[1] - knots[0])
        pieces = CubicSpline(knots, functions).c.transpose(1, 0, 2)
        self._pieces = Constant(torch.from_numpy(np.ascontiguousarray(pieces)))
        self.matrix = nn.Parameter(torch.from_numpy(matrix))

    def forward(
        self,
        lengths: Float[Tensor, "edges 1"],
        envelope: Float[Tensor, "edges 1"],
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "edges weights"]:
        """Evaluate on all edges; twice continuously differentiable by the length.

        Args:
            lengths: Lengths in Å.
            envelope: Envelope of each edge.
            activation: Not used; `RadialMLP` has it.
        """
        pieces = self._pieces.like(lengths)
        place = (lengths.detach() - self._first) / self._step
        interval = place.long().clamp(0, len(pieces) - 1)
        t = lengths - (interval * self._step + self._first)
        a, b, c, d = pieces[interval[:, 0]].unbind(1)
        values = ((a * t + b) * t + c) * t + d
        return (values * envelope) @ self.matrix.to(lengths.dtype)


def main() -> None:
    """Fit, compare, time, and write."""
    arguments = _parse()
    screen, record = start(arguments)
    potential = load_potential(arguments.model, device="cpu", backend="fused")
    potential.requires_grad_(False)
    frames = ase.io.read(arguments.structures, index=f":{arguments.frames}")
    frames = [a for a in frames if set(a.numbers) <= set(potential.elements)]
    record["frames"], record["atoms"] = len(frames), sum(map(len, frames))
    knots, weights = weighted_lengths(potential, frames)
    crystal = bulk("Si", cubic=True).repeat(2)
    original = evaluate(potential, frames)
    rows = [
        {
            "functions": "MLP",
            "parameters": parameters(potential),
            **errors(original, frames),
            "ms": milliseconds(potential, crystal),
        }
    ]
    for kind, count in arguments.choices:
        made, explained = with_splines(potential, kind, count, knots, weights)
        found = evaluate(made, frames)
        rows.append(
            {
                "functions": f"{count} {kind}",
                "parameters": parameters(made),
                "r2_of_layers": explained,
                **errors(found, frames),
                **changes(found, original),
                "ms": milliseconds(made, crystal),
            }
        )
    record["rows"] = rows
    columns = [{k: v for k, v in row.items() if k != "r2_of_layers"} for row in rows]
    screen.print(table_of("radial functions", columns))
    write_record(arguments.json, record, screen)


def weighted_lengths(
    potential: Potential, frames: Sequence[Atoms]
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Grid of lengths in Å, and how often structures have them."""
    cutoff = potential.cutoff
    grid = np.linspace(SHORTEST, cutoff * END, GRID)
    counts = np.zeros(GRID)
    for atoms in frames:
        graph = build_graph(atoms, cutoff)
        lengths = edge_vectors(graph).norm(dim=1).numpy()
        counts += np.histogram(lengths, bins=GRID, range=(SHORTEST, cutoff))[0]
    smooth = np.convolve(counts, np.ones(21) / 21, mode="same")
    return grid, smooth / smooth.mean() + FLOOR


def with_splines(
    potential: Potential,
    kind: str,
    count: int,
    grid: Float64[np.ndarray, " points"],
    weights: Float64[np.ndarray, " points"],
) -> tuple[Potential, list[float]]:
    """Copy with splines in place of radial MLPs.

    Args:
        potential: Without a distance transform, so that its MLPs depend on lengths.
        kind: ``"basis"``, ``"bsplines"`` or ``"optimal"``.
        count: Number of functions K; that of the potential for ``"basis"``.
        grid: Lengths in Å of the fit.
        weights: Weights of the lengths.

    Returns:
        The copy, and the explained share of the weighted variance in each layer.
    """
    made = copy.deepcopy(potential)
    backbone = cast(MessagePassing, made.backbone)
    inputs = backbone.radial_inputs
    if inputs.transform is not None:
        raise ValueError("a distance transform makes radial functions of the elements")
    knots = np.linspace(grid[0], grid[-1], KNOTS)
    explained = []
    for layer in backbone.layers:
        mlp = layer.radial
        if not isinstance(mlp, RadialMLP):
            raise ValueError(f"expected a RadialMLP, found {type(mlp).__name__}")
        wanted, envelope = tabulate(inputs, mlp, grid)
        root = np.sqrt(weights)[:, None] * envelope
        at_knots, _ = tabulate(inputs, mlp, knots)
        if kind == "optimal":
            _, _, rows = np.linalg.svd(root * wanted, full_matrices=False)
            matrix = rows[:count]
            functions, on_grid = at_knots @ matrix.T, wanted @ matrix.T
        else:
            functions = plain(kind, count, inputs, knots)
            on_grid = plain(kind, count, inputs, grid)
            matrix = np.linalg.lstsq(root * on_grid, root * wanted, rcond=None)[0]
        rest = root * (wanted - on_grid @ matrix)
        mean = np.average(envelope * wanted, axis=0, weights=weights)
        spread = np.sqrt(weights)[:, None] * (envelope * wanted - mean)
        explained.append(1 - float((rest**2).sum() / (spread**2).sum()))
        layer.radial = SplineRadial(knots, functions, matrix).to(made.dtype)
    backbone.radial_inputs = RadialInputs(nn.Identity(), inputs.envelope)
    return made.eval().requires_grad_(False), explained


def tabulate(
    inputs: RadialInputs, mlp: RadialMLP, lengths: Float64[np.ndarray, " points"]
) -> tuple[Functions, Float64[np.ndarray, "points 1"]]:
    """Radial weights divided by the envelope, and the envelope, in float64."""
    r = torch.from_numpy(lengths)[:, None]
    exact_inputs, exact = copy.deepcopy(inputs).double(), copy.deepcopy(mlp).double()
    pairs = torch.zeros(2, len(r), dtype=torch.long)
    with torch.no_grad():
        basis, envelope = exact_inputs(r, pairs)
        values = exact(basis, envelope) / envelope
    return values.numpy(), envelope.numpy()


def plain(
    kind: str,
    count: int,
    inputs: RadialInputs,
    lengths: Float64[np.ndarray, " points"],
) -> Functions:
    """Functions that do not depend on the layer."""
    if kind == "basis":
        with torch.no_grad():
            basis = copy.deepcopy(inputs.basis).double()
            values: Functions = basis(torch.from_numpy(lengths)[:, None]).numpy()
        return values
    first, last = SHORTEST, lengths[-1]
    inner = np.linspace(first, last, count - 2)
    nodes = np.concatenate([[first] * 3, inner, [last] * 3])
    matrix: Functions = BSpline.design_matrix(
        lengths.clip(first, inner[-1]), nodes, 3
    ).toarray()
    return matrix


def evaluate(
    potential: Potential, frames: Sequence[Atoms]
) -> list[tuple[float, Float64[np.ndarray, "atoms 3"]]]:
    """Energy per atom in eV, and forces in eV/Å, of each structure."""
    found = []
    for atoms in frames:
        p = potential(build_graph(atoms, potential.cutoff), ("energy", "forces"))
        forces = cast(Tensor, p.forces)
        found.append((p.energy.item() / len(atoms), forces.double().numpy()))
    return found


def errors(found: list[Any], frames: Sequence[Atoms]) -> dict[str, float]:
    """Mean absolute errors against the labels, in meV/atom and meV/Å."""
    labels = [
        (atoms.info["REF_energy"] / len(atoms), atoms.arrays["REF_forces"])
        for atoms in frames
    ]
    return {f"{key}_mae": value for key, value in _differences(found, labels)}


def changes(found: list[Any], original: list[Any]) -> dict[str, float]:
    """Mean absolute differences from the MLP, in meV/atom and meV/Å."""
    return {f"{key}_change": value for key, value in _differences(found, original)}


def _differences(found: list[Any], other: list[Any]) -> Iterator[tuple[str, float]]:
    energies = [abs(a - b) for (a, _), (b, _) in zip(found, other, strict=True)]
    forces = [abs(a - b).ravel() for (_, a), (_, b) in zip(found, other, strict=True)]
    yield "energy_mev_per_atom", 1000 * float(np.mean(energies))
    yield "forces_mev_per_angstrom", 1000 * float(np.concatenate(forces).mean())


def parameters(potential: Potential) -> int:
    """Number of weights."""
    return sum(weight.numel() for weight in potential.parameters())


def milliseconds(potential: Potential, atoms: Atoms) -> float:
    """CPU time of energy and forces of a structure; the median of five."""
    graph = build_graph(atoms, potential.cutoff)
    timer = Timer(
        lambda: potential(graph, ("energy", "forces")), timer=time.thread_time
    )
    timer.timeit(1)
    return 1000 * median(timer.repeat(5, 1))


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "spline_radial.json")
    parser.add_argument("model", type=Path)
    parser.add_argument("structures", type=Path, help="with REF_energy and REF_forces")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument(
        "--choices",
        type=lambda text: (text.split(":")[0], int(text.split(":")[1])),
        nargs="+",
        default=[("basis", 8), ("bsplines", 8), ("optimal", 8), ("optimal", 24)],
        help="kind:number of functions",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
