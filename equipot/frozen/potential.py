"""`FrozenPotential`: a potential that is evaluated by a program, without autograd."""

import copy
from collections.abc import Collection
from typing import final

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from equipot.autodiff.derivatives import stress_of_strain
from equipot.frozen.builder import Builder
from equipot.frozen.layers import lower_layer
from equipot.frozen.lowering import Lowering, UnsupportedModelError
from equipot.frozen.radial import RadialTables
from equipot.frozen.repulsion import tabulate_repulsion
from equipot.frozen.splines import SHORTEST, InaccurateTableError, SplineTable
from equipot.graph.atomic_graph import AtomicGraph
from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.models.gated_network import GatedNetwork
from equipot.models.message_passing import MessagePassing
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction
from equipot.models.products import tensor_products_of
from equipot.ops import unavailable
from equipot.ops.program import Evaluation, Program

FIRST_DERIVATIVES = frozenset({"energy", "forces", "stress", "stresses", "features"})
"""Outputs that programs compute."""
MOST_PROGRAMS = 8
"""Number of programs that are kept, one for each set of elements."""


@final
class FrozenPotential:
    """Energies and first derivatives of a potential with constant weights.

    They equal those of the potential up to rounding errors and the error of tabulated
    radial functions, which is stated by `equipot.frozen.splines`. Requests for other
    outputs, for differentiable predictions or with edges shorter than the tables are
    passed on to the potential.

    Args:
        potential: Potential on the CPU. Later changes of its weights have no effect.

    Raises:
        UnsupportedModelError: If it has a part that programs cannot evaluate.
    """

    def __init__(self, potential: Potential) -> None:
        if (reason := unsupported(potential)) is not None:
            raise UnsupportedModelError(reason)
        self.potential = potential
        self._exact = copy.deepcopy(potential).double().requires_grad_(False)
        self._programs: dict[tuple[int, ...], Program] = {}
        # fails now, rather than in the first evaluation
        self._program((0,))

    @property
    def cutoff(self) -> float:
        """Cutoff of the edges in Å."""
        return self.potential.cutoff

    @property
    def num_layers(self) -> int:
        """Receptive field of an atomic energy, in edges."""
        return self.potential.num_layers

    @property
    def dtype(self) -> torch.dtype:
        """Precision of features."""
        return self.potential.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.potential.device

    def __call__(
        self,
        graph: AtomicGraph,
        outputs: Collection[Output] = ("energy", "forces", "stress"),
        *,
        create_graph: bool = False,
    ) -> Prediction:
        """Predict; see `Potential.forward`."""
        if create_graph or not FIRST_DERIVATIVES.issuperset(outputs):
            return self.potential(graph, outputs, create_graph=create_graph)
        evaluation = self._evaluate(graph, outputs)
        if evaluation is None:
            return self.potential(graph, outputs, create_graph=False)
        return self._prediction(graph, outputs, evaluation)

    def _evaluate(
        self, graph: AtomicGraph, outputs: Collection[Output]
    ) -> Evaluation | None:
        """Run the program; None if it does not apply."""
        indices = self.potential.element_indices(graph.atomic_numbers)
        if len(indices) == 0:
            return None
        present, elements = torch.unique(indices, return_inverse=True)
        program = self._program(tuple(present.tolist()))
        receivers = graph.edge_index[1]
        shift = graph.edge_shift.to(torch.float64)
        cells = graph.cell.to(torch.float64)
        if graph.num_graphs == 1:
            translations = shift @ cells[0]
        else:
            of_edges = cells[graph.batch[receivers]]
            translations = torch.einsum("ei,eij->ej", shift, of_edges)
        connectivity = Connectivity(graph.edge_index, graph.num_atoms)
        return program(
            graph.positions.detach().to(torch.float64).contiguous(),
            translations.contiguous(),
            elements,
            connectivity.compressed,
            graph.pairs.reverse,
            derivatives=bool({"forces", "stress", "stresses"} & set(outputs)),
        )

    def _prediction(
        self, graph: AtomicGraph, outputs: Collection[Output], result: Evaluation
    ) -> Prediction:
        stress = stresses = None
        if "stress" in outputs:
            by_strain = scatter_sum(
                result.virials.flatten(1), graph.batch, graph.num_graphs
            )
            every = torch.arange(graph.num_graphs)
            stress = stress_of_strain(by_strain.unflatten(1, (3, 3)), graph, every)
        if "stresses" in outputs:
            stresses = stress_of_strain(result.virials, graph, graph.batch)
        channels = self.potential.backbone.channels[-1]
        return Prediction(
            scatter_sum(result.energies, graph.batch, graph.num_graphs),
            result.energies,
            result.forces if "forces" in outputs else None,
            stress,
            features=result.features[:, :channels] if "features" in outputs else None,
            stresses=stresses,
        )

    def _program(self, present: tuple[int, ...]) -> Program:
        """Program for a set of elements, by their indices."""
        program = self._programs.pop(present, None)
        if program is None:
            program = _compile(self._exact, present, self.dtype)
        self._programs[present] = program
        if len(self._programs) > MOST_PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        return program


def unsupported(potential: Potential) -> str | None:
    """Reason why a potential cannot be frozen, as far as it is known in advance."""
    if potential.device.type != "cpu":
        return "programs have kernels for the CPU only"
    if (problem := unavailable(torch.device("cpu"))) is not None:
        return problem
    if not isinstance(potential.backbone, MessagePassing):
        return f"backbones of type {type(potential.backbone).__name__}"
    return None


def _compile(
    potential: Potential, present: tuple[int, ...], dtype: torch.dtype
) -> Program:
    """Program of a potential in float64 for the elements that are present."""
    backbone = potential.backbone
    if not isinstance(backbone, MessagePassing):
        raise UnsupportedModelError(f"backbones of type {type(backbone).__name__}")
    specs = [product.spec for product in tensor_products_of(backbone.layers)]
    builder = Builder(dtype, len(present), max(spec.lmax_filter for spec in specs))
    lowering = Lowering(builder, RadialTables(backbone, present, dtype), present)
    layers = []
    x = lowering.embedding(backbone.embedding)
    for layer in backbone.layers:
        x = lower_layer(lowering, layer, x)
        layers.append(x)
    factors = torch.ones(len(present), dtype=torch.float64)
    if isinstance(backbone, GatedNetwork) and backbone.scale is not None:
        factors = backbone.scale[list(present)]
    lowering.head(potential.head, layers, factors)
    energies = torch.zeros(len(present), dtype=torch.float64)
    numbers = [
        potential.shift,
        potential.envelope_power,
        potential.cutoff,
        potential.scale,
        SHORTEST,
    ]
    atomic_numbers = [potential.elements[n] for n in present]
    pairs: SplineTable | None = None
    if potential.repulsion is not None:
        pairs = tabulate_repulsion(
            potential.repulsion, atomic_numbers, potential.cutoff
        )
    program = builder.finish(
        layers[-1][0], energies, torch.tensor(numbers, dtype=torch.float64), pairs
    )
    # energies are relative to isolated atoms, which the program itself evaluates
    isolated = _isolated(program, len(present))
    references = [potential.reference_energies[z] for z in atomic_numbers]
    energies += torch.tensor(references, dtype=torch.float64) - isolated
    return program


def _isolated(program: Program, count: int) -> Float64[Tensor, " elements"]:
    """Energies of isolated atoms of all elements of a program."""
    none = torch.zeros(0, dtype=torch.int64)
    edges = Connectivity(torch.zeros(2, 0, dtype=torch.int64), count).compressed
    result = program(
        torch.zeros(count, 3, dtype=torch.float64),
        torch.zeros(0, 3, dtype=torch.float64),
        torch.arange(count),
        edges,
        none,
        derivatives=False,
    )
    if result is None:
        raise ValueError("a program refused isolated atoms")
    return result.energies


__all__ = ["FrozenPotential", "InaccurateTableError", "UnsupportedModelError"]
