"""`Potential`: energy, forces, stress and Hessians of atomic graphs."""

import copy
import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import final, get_args

import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.derivatives import (
    atomic_stresses,
    differentiable_geometry,
    forces_and_stress,
    hessian_blocks,
)
from equipot.constants import Constant
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.graph.scatter import scatter_sum
from equipot.heads import (
    DirectHessianHead,
    EnergyHead,
    HessianBlocks,
    MACERepulsion,
    NequIPRepulsion,
    ZBLRepulsion,
)
from equipot.models.backbone import Backbone, EdgeGeometry
from equipot.models.derivative_plan import DerivativePlan
from equipot.models.differentiable import constant_weights
from equipot.models.pair_graph import pair_graph, within
from equipot.models.prediction import Output, Prediction
from equipot.models.products import backend_of
from equipot.nn import polynomial_envelope

MAX_ATOMIC_NUMBER = 118
FEW_ELEMENTS = 16
"""Up to which finding those that are present costs more than evaluating them all."""


@final
class Potential(nn.Module):
    r"""Machine-learned interatomic potential.

    .. math:: E = \sum_i E^0_{z_i} + s \, (f_i - f^0_{z_i})
                  + \mu \, (1 - e^{-n_i}) + E^\mathrm{ZBL}_i, \qquad
              n_i = \sum_j u(r_{ij} / r_c)

    with the output f of the network, its value :math:`f^0` for an isolated atom, scale
    s and shift :math:`\mu`. The energy of an isolated atom is therefore exactly the
    reference energy of its element.

    Forces and stress are derivatives of this energy. In training mode they can be
    differentiated again; in evaluation mode predictions are detached.

    Args:
        backbone: Architecture that computes features of atoms.
        head: Atomic energies from the features of all layers.
        reference_energies: Reference energy in eV by atomic number; its keys are the
            supported elements.
        scale: Energy in eV per unit of the network output.
        shift: Mean energy in eV of an atom with neighbors relative to its reference.
        envelope_power: Order of the polynomial envelope u, which counts neighbors.
        repulsion: Optional short-range repulsion of the nuclei.
        direct_hessian: Optional head for direct Hessians.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: EnergyHead,
        reference_energies: Mapping[int, float],
        scale: float,
        shift: float,
        envelope_power: int = 6,
        repulsion: MACERepulsion | NequIPRepulsion | ZBLRepulsion | None = None,
        direct_hessian: DirectHessianHead | None = None,
    ) -> None:
        super().__init__()
        _check_energies(reference_energies, scale, shift)
        self.backbone = backbone
        self.head = head
        self.envelope_power = envelope_power
        self.repulsion = repulsion
        self.direct_hessian = direct_hessian
        self.elements = tuple(sorted(reference_energies))
        self.reference_energies = dict(reference_energies)
        self.scale = scale
        self.shift = shift
        self._reference = Constant([reference_energies[z] for z in self.elements])
        table = [-1.0] * (MAX_ATOMIC_NUMBER + 1)
        for index, z in enumerate(self.elements):
            table[z] = float(index)
        self._element_table = Constant(table)

    def network_alone(self) -> "Potential":
        """Copy without reference energies, shift and repulsion."""
        twin = copy.deepcopy(self)
        twin.reference_energies = dict.fromkeys(self.elements, 0.0)
        twin._reference = Constant([0.0 for _ in self.elements])
        twin.shift = 0.0
        twin.repulsion = None
        return twin

    @property
    def cutoff(self) -> float:
        """Cutoff of the edges in Å."""
        return self.backbone.cutoff

    @property
    def num_layers(self) -> int:
        """Number of message-passing steps, the receptive field of an atomic energy."""
        return self.backbone.num_layers

    @property
    def backend(self) -> str:
        """Name of the tensor-product backend; the reference without tensor products."""
        return backend_of(self.backbone)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point precision of the network."""
        return next(self.backbone.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.backbone.parameters()).device

    def forward(
        self,
        graph: AtomicGraph,
        outputs: Collection[str] = ("energy", "forces", "stress"),
        *,
        create_graph: bool | None = None,
    ) -> Prediction:
        """Predict for all structures of a graph.

        Args:
            graph: Graph with at least the cutoff of the potential. Float64 positions
                are subtracted in float64, independent of the precision of the network.
            outputs: Outputs to compute, see `Output`.
            create_graph: Whether predictions can be differentiated; by default in
                training mode only.

        Raises:
            ValueError: If an output is unknown, an element is not supported, the cutoff
                of the graph is too short, or a direct Hessian is requested without a
                head.
        """
        self._check(graph, outputs)
        if create_graph is None:
            create_graph = self.training
        elements = self.element_indices(graph.atomic_numbers)
        plan = DerivativePlan.of(
            outputs,
            create_graph=create_graph,
            trainable=any(weight.requires_grad for weight in self.parameters()),
        )
        prediction = self._differentiated(graph, elements, outputs, plan)
        if "hessian_direct" not in outputs:
            return prediction
        return replace(
            prediction,
            hessian_direct=self.hessian_direct(graph, create_graph=create_graph),
        )

    def hessian_direct(
        self, graph: AtomicGraph, *, create_graph: bool = False
    ) -> HessianBlocks:
        """Direct Hessian without an energy.

        Args:
            graph: As for `forward`; pairs beyond its cutoff are searched for.
            create_graph: Whether the blocks can be differentiated.

        Raises:
            ValueError: As for `forward`, or if there is no direct head.
        """
        self._check(graph, ("hessian_direct",))
        elements = self.element_indices(graph.atomic_numbers)
        with torch.set_grad_enabled(create_graph):
            return self._direct(graph, elements)

    def _differentiated(
        self,
        graph: AtomicGraph,
        elements: Int[Tensor, " atoms"],
        outputs: Collection[str],
        plan: DerivativePlan,
    ) -> Prediction:
        """Energy and its requested derivatives."""
        if not plan.first:
            with torch.set_grad_enabled(plan.create_graph):
                energies, features = self._energies(
                    graph, elements, edge_vectors(graph), tabulate=plan.tabulate
                )
                prediction = Prediction(self._total(energies, graph), energies)
                return _with_features(prediction, features, outputs)
        with torch.enable_grad(), _weights(self, constant=plan.constant_weights):
            geometry = differentiable_geometry(graph, strain=plan.strain)
            energies, features = self._energies(
                graph, elements, geometry.vectors, tabulate=plan.tabulate
            )
            energy = self._total(energies, graph)
            stresses = None
            if "stresses" in outputs:
                stresses = atomic_stresses(
                    energy, geometry, graph, create_graph=plan.keep_first
                )
            forces, stress = forces_and_stress(
                energy, geometry, graph, create_graph=plan.keep_first
            )
            hessian = None
            if plan.second:
                hessian = hessian_blocks(
                    forces,
                    geometry.positions,
                    torch.bincount(graph.batch, minlength=graph.num_graphs).tolist(),
                    create_graph=plan.create_graph,
                )
        if not plan.create_graph:
            energy, energies, forces = (t.detach() for t in (energy, energies, forces))
            stress = None if stress is None else stress.detach()
            stresses = None if stresses is None else stresses.detach()
        prediction = Prediction(
            energy,
            energies,
            forces if "forces" in outputs else None,
            stress,
            hessian,
            stresses=stresses,
        )
        return _with_features(prediction, features, outputs)

    def _energies(
        self,
        graph: AtomicGraph,
        elements: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        *,
        tabulate: bool,
    ) -> tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms channels"]]:
        """Atomic energies in eV in double precision, and scalars of the last layer."""
        exact = _safe_norm(vectors)
        directions = (vectors / exact).to(self.dtype)
        lengths = exact.to(self.dtype)
        learned, features = self._learned(
            graph, elements, directions, lengths, tabulate=tabulate
        )
        # The envelope is a difference of large terms, and the shift may be large: in
        # float32 the relative error of the mean atomic energy would be 1e-5.
        coordination = scatter_sum(
            polynomial_envelope(exact.double() / self.cutoff, self.envelope_power)[
                :, 0
            ],
            graph.edge_index[1],
            len(elements),
        )
        interaction = (self.scale * learned).double() - self.shift * torch.expm1(
            -coordination
        )
        if self.repulsion is not None:
            interaction = interaction + self.repulsion(
                graph.atomic_numbers, lengths, graph.edge_index
            )
        return interaction + self._reference.like(interaction)[elements], features

    def _learned(
        self,
        graph: AtomicGraph,
        elements: Int[Tensor, " atoms"],
        directions: Float[Tensor, "edges 3"],
        lengths: Float[Tensor, "edges 1"],
        *,
        tabulate: bool,
    ) -> tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms channels"]]:
        """Network output relative to isolated atoms, and the scalars of the last layer.

        Isolated atoms, one of each element, are appended as atoms without edges.
        """
        isolated, isolated_of = self._isolated(elements)
        layers = self.backbone(
            torch.cat([elements, isolated]),
            _edge_geometry(graph, directions, lengths, tabulate=tabulate),
        )
        out = self.head(layers)
        relative = out[: len(elements)] - out[len(elements) :][isolated_of]
        return relative, layers[-1][: len(elements), 0]

    def _isolated(
        self, elements: Int[Tensor, " atoms"]
    ) -> tuple[Int[Tensor, " isolated"], Int[Tensor, " atoms"]]:
        """Elements of isolated atoms, and which of these each atom is relative to.

        All elements of the model, or those present if it has many.
        """
        if len(self.elements) > FEW_ELEMENTS:
            return torch.unique(elements, return_inverse=True)
        return torch.arange(len(self.elements), device=elements.device), elements

    def _direct(
        self, graph: AtomicGraph, elements: Int[Tensor, " atoms"]
    ) -> HessianBlocks:
        """Blocks of the direct head."""
        if self.direct_hessian is None:
            raise ValueError(
                "the potential has no head for hessian_direct: train one with the "
                "section model.direct_hessian, or use the output hessian"
            )
        near = graph if graph.cutoff == self.cutoff else within(graph, self.cutoff)
        vectors = edge_vectors(near)
        lengths = _safe_norm(vectors)
        layers = self.backbone(
            elements,
            _edge_geometry(
                near, (vectors / lengths).to(self.dtype), lengths.to(self.dtype)
            ),
        )
        return self.direct_hessian(
            layers, pair_graph(graph, self.direct_hessian.cutoff)
        )

    @staticmethod
    def _total(
        energies: Float[Tensor, " atoms"], graph: AtomicGraph
    ) -> Float[Tensor, " graphs"]:
        return scatter_sum(energies, graph.batch, graph.num_graphs)

    def element_indices(
        self, atomic_numbers: Int[Tensor, " atoms"]
    ) -> Int[Tensor, " atoms"]:
        """Index of each element in `elements`.

        Raises:
            ValueError: If an element is not supported.
        """
        table = self._element_table.like(torch.empty(0, device=atomic_numbers.device))
        known = atomic_numbers.clamp(0, MAX_ATOMIC_NUMBER)
        indices = table.long()[known]
        if bool((indices < 0).any()):
            unknown = sorted(set(atomic_numbers[indices < 0].tolist()))
            raise ValueError(
                f"the potential supports the elements {_symbols(self.elements)}, the "
                f"structure contains {_symbols(unknown)}; train on data with them"
            )
        return indices

    def _check(self, graph: AtomicGraph, outputs: Collection[str]) -> None:
        if unknown := set(outputs) - set(get_args(Output)):
            raise ValueError(
                f"unknown outputs {sorted(unknown)}; choose among {get_args(Output)}"
            )
        if graph.cutoff < self.cutoff:
            raise ValueError(
                f"the cutoff of the graph is {graph.cutoff} Å but the potential needs "
                f"{self.cutoff} Å; rebuild it with build_graph(atoms, "
                f"{self.cutoff})"
            )


def _edge_geometry(
    graph: AtomicGraph,
    directions: Float[Tensor, "edges 3"],
    lengths: Float[Tensor, "edges 1"],
    *,
    tabulate: bool = False,
) -> EdgeGeometry:
    of_pairs = lengths.index_select(0, graph.pairs.forward)
    return EdgeGeometry(graph.edge_index, directions, of_pairs, graph.pairs, tabulate)


def _with_features(
    prediction: Prediction,
    features: Float[Tensor, "atoms channels"],
    outputs: Collection[str],
) -> Prediction:
    if "features" not in outputs:
        return prediction
    return replace(prediction, features=features.detach())


def _weights(potential: nn.Module, *, constant: bool) -> AbstractContextManager[None]:
    return constant_weights(potential) if constant else nullcontext()


def _safe_norm(vectors: Float[Tensor, "edges 3"]) -> Float[Tensor, "edges 1"]:
    """Lengths with finite derivatives, also for coinciding atoms."""
    squared = (vectors * vectors).sum(1, keepdim=True)
    zero = squared == 0
    return torch.where(zero, squared + 1e-20, squared).sqrt()


def _symbols(atomic_numbers: Collection[int]) -> str:
    return ", ".join(
        chemical_symbols[z] if 0 <= z <= MAX_ATOMIC_NUMBER else f"Z={z}"
        for z in atomic_numbers
    )


def _check_energies(
    reference_energies: Mapping[int, float], scale: float, shift: float
) -> None:
    if not reference_energies:
        raise ValueError("a potential needs reference energies of at least one element")
    named = {f"the reference energy of Z={z}": e for z, e in reference_energies.items()}
    for name, value in {**named, "scale": scale, "shift": shift}.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")
