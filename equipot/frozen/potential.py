"""`FrozenPotential`: a potential that is evaluated by a program, without autograd."""

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import cast, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from equipot.autodiff.derivatives import stress_of_strain
from equipot.frozen.agreement import check_agreement, irregular_cluster
from equipot.frozen.backbones import (
    highest_filter_degree,
    lower_backbone,
    unsupported_backbone,
)
from equipot.frozen.builder import Builder
from equipot.frozen.lowering import (
    Lowering,
    UnsupportedModelError,
    unsupported_head,
)
from equipot.frozen.radial import RadialTables
from equipot.frozen.repulsion import tabulate_repulsion
from equipot.frozen.splines import SHORTEST, SplineTable
from equipot.graph.atomic_graph import AtomicGraph
from equipot.graph.scatter import scatter_sum
from equipot.models.architectures.tensornet import TensorNet
from equipot.models.backbone import Backbone
from equipot.models.gated_network import GatedNetwork
from equipot.models.hessian_vector import hessians_by_products
from equipot.models.message_passing import MessagePassing
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction
from equipot.ops import unavailable
from equipot.ops.program import Evaluation, Program, ReceivedEdges

COMPILED_OUTPUTS = frozenset(
    {"energy", "forces", "stress", "stresses", "features", "hessian"}
)
"""Outputs that programs compute."""
MOST_PROGRAMS = 8
"""Number of programs that are kept, one for each set of elements."""


@final
class FrozenPotential:
    """Energies and derivatives of a potential with constant weights.

    They equal those of the potential up to rounding errors and the error of tabulated
    radial functions, which is stated by `equipot.frozen.splines`. Requests for other
    outputs, for differentiable predictions, with edges shorter than the tables, or for
    Hessians of instructions without second derivatives are passed on to the potential.
    The program for a set of elements is compiled when it is needed for the first time,
    and compared with the potential on a small cluster.

    Args:
        potential: Potential on the CPU. Later changes of its weights have no effect.

    Raises:
        UnsupportedModelError: If it has a part that programs cannot evaluate.

    Calls raise `InaccurateTableError` if its radial functions cannot be tabulated, and
    `FrozenMismatchError` if a program and the potential differ.
    """

    def __init__(self, potential: Potential) -> None:
        if (reason := unsupported(potential)) is not None:
            raise UnsupportedModelError(reason)
        self.potential = potential
        self._exact = copy.deepcopy(potential).double().requires_grad_(False)
        self._programs: dict[tuple[int, ...], Program] = {}
        self._topology: _Topology | None = None

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
        if create_graph or not COMPILED_OUTPUTS.issuperset(outputs):
            return self.potential(graph, outputs, create_graph=create_graph)
        hessians = hessians_by_products(self, graph) if "hessian" in outputs else ()
        evaluation = self._evaluate(graph, outputs)
        if evaluation is None or hessians is None:
            return self.potential(graph, outputs, create_graph=False)
        prediction = self._prediction(graph, outputs, evaluation)
        return replace(prediction, hessian=hessians) if hessians else prediction

    def hessian_products(
        self, graph: AtomicGraph, directions: Float[Tensor, "directions atoms 3"]
    ) -> Float64[Tensor, "directions atoms 3"] | None:
        """Products of the Hessian with displacements, by the program.

        Structures of a batch do not mix.

        Args:
            graph: One structure or a batch.
            directions: Displacements in Å.

        Returns:
            First-order changes of the gradient of the energy in eV/Å; None if the
            program has no second derivatives, or an edge is shorter than its tables.
        """
        if graph.num_atoms == 0:
            return None
        topology = self._topology_of(graph)
        if not topology.program.second_derivatives:
            return None
        return topology.program.hessian_products(
            *topology.operands(graph), directions.detach().double().contiguous()
        )

    def _evaluate(
        self, graph: AtomicGraph, outputs: Collection[Output]
    ) -> Evaluation | None:
        """Run the program; None if it does not apply."""
        if graph.num_atoms == 0:
            return None
        topology = self._topology_of(graph)
        return topology.program(
            *topology.operands(graph),
            derivatives=bool({"forces", "stress", "stresses"} & set(outputs)),
        )

    def _topology_of(self, graph: AtomicGraph) -> "_Topology":
        topology = self._topology
        if topology is None or not topology.is_of(graph):
            topology = self._topology = self._new_topology(graph)
        return topology

    def _new_topology(self, graph: AtomicGraph) -> "_Topology":
        if graph.cutoff < self.cutoff:
            raise ValueError(
                f"the cutoff of the graph is {graph.cutoff} Å but the potential needs "
                f"{self.cutoff} Å; rebuild it with build_graph(atoms, {self.cutoff})"
            )
        indices = self.potential.element_indices(graph.atomic_numbers)
        present, elements = torch.unique(indices, return_inverse=True)
        return _Topology(
            graph,
            self._program(tuple(present.tolist())),
            elements,
            ReceivedEdges.of(graph.edge_index, graph.num_atoms, graph.pairs.reverse),
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
        return Prediction(
            scatter_sum(result.energies, graph.batch, graph.num_graphs),
            result.energies,
            result.forces if "forces" in outputs else None,
            stress,
            features=self._features(graph, result) if "features" in outputs else None,
            stresses=stresses,
        )

    def _features(
        self, graph: AtomicGraph, result: Evaluation
    ) -> Float[Tensor, "atoms channels"]:
        """Scalars of the last layer."""
        backbone = self._exact.backbone
        features = result.features[:, : backbone.channels[-1]]
        if (factors := _element_factors(backbone)) is None:
            return features
        indices = self.potential.element_indices(graph.atomic_numbers)
        return features * factors[indices][:, None].to(features.dtype)

    def _program(self, present: tuple[int, ...]) -> Program:
        """Program for a set of elements, by their indices."""
        program = self._programs.pop(present, None)
        if program is None:
            program = self._checked_program(present)
        self._programs[present] = program
        if len(self._programs) > MOST_PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        return program

    def _checked_program(self, present: tuple[int, ...]) -> Program:
        """New program, compared with the potential on a small cluster."""
        exact = self._exact
        program = _compile(exact, present, self.dtype)
        self._programs[present] = program
        numbers = [self.potential.elements[n] for n in present]
        graph = irregular_cluster(numbers, self.cutoff)
        outputs: tuple[Output, ...] = ("energy", "forces")
        found = self(graph, outputs)
        self._topology = None
        del self._programs[present]
        expected = exact(graph, outputs, create_graph=False)
        check_agreement(found, expected, self.dtype)
        return program


@final
class _Topology:
    """What a program needs of a graph apart from its geometry.

    Moving structures share tensors from step to step, see
    `equipot.neighbors.graph_reuse`.
    """

    def __init__(
        self,
        graph: AtomicGraph,
        program: Program,
        elements: Int[Tensor, " atoms"],
        edges: ReceivedEdges,
    ) -> None:
        self._graph = graph
        self.program = program
        self.elements = elements
        self.edges = edges
        self._versions = _versions(graph)
        self._cell: tuple[Tensor, int] | None = None
        self._translations: Tensor | None = None

    def is_of(self, graph: AtomicGraph) -> bool:
        """Whether a graph has the same tensors of elements and edges, unchanged."""
        last = self._graph
        return (
            graph.edge_index is last.edge_index
            and graph.edge_shift is last.edge_shift
            and graph.atomic_numbers is last.atomic_numbers
            and graph.batch is last.batch
            and self._versions == _versions(graph)
        )

    def translations(self, graph: AtomicGraph) -> Float64[Tensor, "edges 3"]:
        """Translation of the sender of each edge in Å."""
        cell = self._cell
        if (
            self._translations is None
            or cell is None
            or cell[0] is not graph.cell
            or cell[1] != graph.cell._version
        ):
            shift, cells = graph.edge_shift.double(), graph.cell.detach().double()
            if graph.num_graphs == 1:
                translations = shift @ cells[0]
            else:
                of_edges = cells[graph.batch[graph.edge_index[1]]]
                translations = torch.einsum("ei,eij->ej", shift, of_edges)
            self._cell = graph.cell, graph.cell._version
            self._translations = translations.contiguous()
        return self._translations

    def operands(
        self, graph: AtomicGraph
    ) -> tuple[Tensor, Tensor, Tensor, ReceivedEdges]:
        """First arguments of the methods of `Program`."""
        return (
            graph.positions.detach().to(torch.float64).contiguous(),
            self.translations(graph),
            self.elements,
            self.edges,
        )


def _versions(graph: AtomicGraph) -> tuple[int, ...]:
    """Numbers of the changes in place of the tensors that a topology depends on."""
    tensors = (graph.edge_index, graph.edge_shift, graph.atomic_numbers, graph.batch)
    return tuple(tensor._version for tensor in tensors)


def unsupported(potential: Potential) -> str | None:
    """Reason why a potential cannot be frozen; None if it can."""
    backbone = potential.backbone
    if potential.device.type != "cpu":
        return "programs have kernels for the CPU only"
    if (problem := unavailable(torch.device("cpu"))) is not None:
        return problem
    if (reason := unsupported_backbone(backbone)) is not None:
        return reason
    if (reason := unsupported_head(potential.head)) is not None:
        return reason
    if _element_factors(backbone) is not None and not isinstance(
        potential.head.last, torch.nn.Linear
    ):
        return "factors of elements need a linear readout"
    return None


def _element_factors(backbone: Backbone) -> Tensor | None:
    """Factors of the features of each element, if there are any."""
    return backbone.scale if isinstance(backbone, GatedNetwork) else None


def _compile(
    potential: Potential, present: tuple[int, ...], dtype: torch.dtype
) -> Program:
    """Program of a potential in float64 for the elements that are present."""
    backbone = cast(MessagePassing | TensorNet, potential.backbone)
    builder = Builder(dtype, len(present), highest_filter_degree(backbone))
    lowering = Lowering(builder, RadialTables(backbone, present, dtype), present)
    layers = lower_backbone(lowering, backbone)
    factors = torch.ones(len(present), dtype=torch.float64)
    if (of_elements := _element_factors(backbone)) is not None:
        factors = of_elements[list(present)]
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
    result = program(
        torch.zeros(count, 3, dtype=torch.float64),
        torch.zeros(0, 3, dtype=torch.float64),
        torch.arange(count),
        ReceivedEdges.of(none.expand(2, 0), count, none),
        derivatives=False,
    )
    if result is None:
        raise ValueError("a program refused isolated atoms")
    return result.energies
