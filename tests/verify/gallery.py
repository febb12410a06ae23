"""Broken potentials: what a verification has to find, each under a name.

Every one is an honest potential that something is done to: to the graph that it sees,
to what it predicts, or to its energy, with forces and stress that follow.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from equipot.autodiff.derivatives import (
    differentiable_geometry,
    forces_and_stress,
    hessian_blocks,
)
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors, partial_graph
from equipot.graph.scatter import scatter_sum
from equipot.models.potential import Potential


class Wrapped:
    """An honest potential behind functions that change what it sees and says."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self.cutoff, self.num_layers = potential.cutoff, potential.num_layers
        self.dtype, self.device = potential.dtype, potential.device
        self.elements = potential.elements

    def __call__(self, graph, outputs, *, create_graph):
        prediction = self.potential(self.see(graph), outputs, create_graph=create_graph)
        return self.tell(graph, prediction, outputs)

    def see(self, graph):
        return graph

    def tell(self, graph, prediction, outputs):
        return prediction


class Seeing(Wrapped):
    """The graph is changed."""

    def __init__(self, potential, change):
        super().__init__(potential)
        self.see = change


class Telling(Wrapped):
    """The prediction is changed."""

    def __init__(self, potential, change):
        super().__init__(potential)
        self.tell = lambda graph, found, outputs: change(graph, found)


class Adding(Wrapped):
    """Energies of atoms are added, with their derivatives of every order."""

    def __init__(self, potential, energies, num_layers=None):
        super().__init__(potential)
        self.energies = energies
        self.num_layers = num_layers or self.num_layers

    def __call__(self, graph, outputs, *, create_graph):
        honest = self.potential(graph, outputs, create_graph=create_graph)
        with torch.enable_grad():
            geometry = differentiable_geometry(graph, strain="stress" in outputs)
            vectors = geometry.vectors
            inside = vectors.detach().norm(dim=1) < self.cutoff
            edges = Edges(
                replace(graph, positions=geometry.positions),
                vectors[inside],
                *graph.edge_index[:, inside],
            )
            energies = self.energies(edges)
            energy = scatter_sum(energies, graph.batch, graph.num_graphs)
            # nothing, so that linear energies have second derivatives, too
            energy = energy + 0 * (geometry.positions**2).sum()
            forces, stress = forces_and_stress(
                energy, geometry, graph, create_graph=True
            )
            hessian = None
            if honest.hessian is not None:
                sizes = torch.bincount(graph.batch, minlength=graph.num_graphs)
                added = hessian_blocks(
                    forces,
                    geometry.positions,
                    sizes.tolist(),
                    create_graph=create_graph,
                )
                hessian = tuple(
                    a + b for a, b in zip(honest.hessian, added, strict=True)
                )
        parts = {"energy": energy, "energies": energies, "forces": forces}
        parts["stress"] = stress
        changed = {
            name: getattr(honest, name)
            + (part if create_graph else part.detach()).to(getattr(honest, name).dtype)
            for name, part in parts.items()
            if getattr(honest, name) is not None and part is not None
        }
        return replace(honest, **changed, hessian=hessian)


@dataclass(frozen=True)
class Edges:
    """What an energy can be computed from."""

    graph: AtomicGraph
    vectors: Tensor
    senders: Tensor
    receivers: Tensor

    @property
    def lengths(self) -> Tensor:
        return self.vectors.norm(dim=1)

    @property
    def numbers(self) -> tuple[Tensor, Tensor]:
        """Atomic numbers of senders and receivers."""
        z = self.graph.atomic_numbers
        return z[self.senders], z[self.receivers]

    def sum(self, values: Tensor) -> Tensor:
        """Sum over edges at their receivers."""
        return scatter_sum(values, self.receivers, self.graph.num_atoms)


def _keep(graph, kept):
    few = replace(
        graph, edge_index=graph.edge_index[:, kept], edge_shift=graph.edge_shift[kept]
    )
    return partial_graph(few)


def _every(graph):
    return torch.ones(graph.num_edges, dtype=torch.bool)


def _rank(graph):
    """Position of each edge among those of its receiver, nearest first."""
    lengths = edge_vectors(graph).detach().norm(dim=1)
    order = lengths.argsort(stable=True)
    order = order[graph.edge_index[1][order].argsort(stable=True)]
    receivers = graph.edge_index[1][order]
    first = torch.searchsorted(receivers, receivers)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - first
    return rank


def _periodic(graph):
    """Number of periodic directions of the structure of each edge."""
    return graph.pbc[graph.batch[graph.edge_index[1]]].sum(dim=1)


# --- what is seen ---------------------------------------------------------------


def nearest(count, graph):
    return _keep(graph, _rank(graph) < count)


def first_edges(count, graph):
    return _keep(graph, torch.arange(graph.num_edges) < count)


def first_atoms(count, graph):
    """Atoms beyond a number receive no messages."""
    return _keep(graph, graph.edge_index[1] < count)


def no_self_images(graph):
    return _keep(graph, graph.edge_index[0] != graph.edge_index[1])


def near_cells_only(graph):
    return _keep(graph, graph.edge_shift.abs().amax(dim=1) < 2)


def free_along_one(graph):
    """Structures with one periodic direction are taken for free ones."""
    crossing = graph.edge_shift.any(dim=1)
    return _keep(graph, ~(crossing & (_periodic(graph) == 1)))


def free_along_two(graph):
    crossing = graph.edge_shift.any(dim=1)
    return _keep(graph, ~(crossing & (_periodic(graph) == 2)))


def last_direction_dropped(graph):
    return _keep(graph, ~((graph.edge_shift[:, 2] != 0) & (_periodic(graph) == 2)))


def without_translations(graph):
    """Periodic images are taken for the atoms in the cell."""
    crossing = graph.edge_shift.any(dim=1)
    return _keep(graph, ~crossing)


def mirrored_if_left_handed(graph):
    left = torch.linalg.det(graph.cell) < 0
    flip = torch.where(left & graph.pbc.all(dim=1), 0.999, 1.0)[:, None, None]
    return replace(graph, cell=graph.cell * flip)


def rounded_far_away(limit, graph):
    """Coordinates beyond a limit are in single precision."""
    far = graph.positions.abs() > limit
    rounded = (
        graph.positions + (graph.positions.float().double() - graph.positions).detach()
    )
    return replace(graph, positions=torch.where(far, rounded, graph.positions))


def in_single_precision(graph):
    rounded = graph.positions.float().double() - graph.positions
    return replace(graph, positions=graph.positions + rounded.detach())


# --- what is told ---------------------------------------------------------------


def _forces(change, graph, found):
    if found.forces is None:
        return found
    return replace(found, forces=change(graph, found.forces))


def _stress(change, graph, found):
    if found.stress is None:
        return found
    return replace(found, stress=change(graph, found.stress))


def swirl(graph, forces):
    first = graph.positions - graph.positions.mean(0)
    axis = torch.eye(3, dtype=forces.dtype)[2].expand_as(first)
    return forces + 1e-3 * torch.linalg.cross(first, axis)


def net_force(graph, forces):
    """The mean over the whole batch is taken away, where there is one for each."""
    return forces - 0.5 * forces.mean(dim=0) - 1e-5


def of_one_element(graph, forces):
    heaviest = graph.atomic_numbers == graph.atomic_numbers.max()
    return torch.where(heaviest[:, None], 1.001 * forces, forces)


def clipped(limit, graph, forces):
    return forces.clamp(-limit, limit)


def swapped(graph, stress):
    """xy and yz are exchanged."""
    order = torch.tensor([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    voigt = torch.stack(
        [
            stress[:, 0, 0],
            stress[:, 1, 1],
            stress[:, 2, 2],
            stress[:, 0, 1],
            stress[:, 0, 2],
            stress[:, 1, 2],
        ],
        dim=1,
    )
    return voigt[:, order]


def one_sided(graph, stress):
    """Not symmetric."""
    return stress * (1 + 1e-3 * torch.triu(torch.ones_like(stress), 1))


def per_signed_volume(graph, stress):
    sign = torch.sign(torch.linalg.det(graph.cell))
    return stress * torch.where(sign < 0, -1.0, 1.0)[:, None, None]


def doubled_beyond(count, graph, stress):
    size = torch.bincount(graph.batch, minlength=graph.num_graphs)
    return torch.where(size > count, 2.0, 1.0)[:, None, None] * stress


def energies_of(change, graph, found):
    return replace(found, energies=change(graph, found.energies))


def energy_of(change, graph, found):
    return replace(found, energy=change(graph, found.energy))


def batch_mean(graph, energy):
    return energy + 1e-6 * (energy.mean() - energy)


def not_extensive(graph, energy):
    size = torch.bincount(graph.batch, minlength=graph.num_graphs).clamp(min=1)
    return energy * (1 + 1e-6 * size.log())


def mean_beyond(count, graph, energy):
    size = torch.bincount(graph.batch, minlength=graph.num_graphs)
    return torch.where(size > count, energy * count / size.clamp(min=1), energy)


def wrong_beyond_edges(count, graph, energy):
    structure = graph.batch[graph.edge_index[1]]
    edges = torch.bincount(structure, minlength=graph.num_graphs)
    return torch.where(edges > count, energy + 1.0, energy)


def first_cell_vector(graph, energy):
    return energy + 1e-4 * graph.cell[:, 0, 0] * graph.pbc[:, 0]


def one_atom(graph, energy):
    size = torch.bincount(graph.batch, minlength=graph.num_graphs)
    return torch.where((size == 1) & graph.pbc.any(dim=1), energy + 0.1, energy)


def free_atom(graph, energy):
    size = torch.bincount(graph.batch, minlength=graph.num_graphs)
    return torch.where((size == 1) & ~graph.pbc.any(dim=1), energy + 0.1, energy)


def in_float32(graph, energy):
    return energy.float().double()


class Calls(Wrapped):
    """What it says depends on how often it was called."""

    def __init__(self, potential, change):
        super().__init__(potential)
        self.calls, self.change = 0, change

    def tell(self, graph, prediction, outputs):
        self.calls += 1
        return self.change(self.calls, prediction)


def noisy(calls, found):
    shake = 1e-12 * torch.sin(torch.tensor(float(calls), dtype=torch.float64))
    return replace(found, energy=found.energy * (1 + shake))


def every(count, calls, found):
    if calls % count:
        return found
    return replace(found, energy=found.energy + 0.01)


class Remembers(Wrapped):
    """Forces are those of the last structure of as many atoms."""

    def __init__(self, potential):
        super().__init__(potential)
        self.last = {}

    def tell(self, graph, prediction, outputs):
        if prediction.forces is None:
            return prediction
        key = (graph.num_atoms, graph.num_edges)
        forces = self.last.get(key, prediction.forces)
        self.last[key] = prediction.forces.detach()
        return replace(prediction, forces=forces.detach() + 0 * prediction.forces)


class Asked(Wrapped):
    """What it says depends on what it is asked for."""

    def __init__(self, potential, change):
        super().__init__(potential)
        self.tell = change


def energy_alone(graph, found, outputs):
    if set(outputs) == {"energy"}:
        return replace(found, energy=found.energy + 1e-3)
    return found


def hessian_scaled(graph, found, outputs):
    if found.hessian is None:
        return found
    return replace(found, hessian=tuple(1.001 * block for block in found.hessian))


def features_of_others(graph, found, outputs):
    if found.features is None or "forces" not in outputs:
        return found
    return replace(found, features=1.01 * found.features)


class DetachedTwice(Wrapped):
    """Forces cannot be differentiated rightly: a part of them is constant."""

    def tell(self, graph, prediction, outputs):
        if prediction.forces is None:
            return prediction
        forces = prediction.forces
        return replace(prediction, forces=0.9 * forces + 0.1 * forces.detach())


# --- what is added to the energy ------------------------------------------------


def _end(edges):
    """Smooth factor that is zero at the cutoff, with three derivatives."""
    x = edges.lengths / edges.graph.cutoff
    return (1 - x.clamp(max=1) ** 2) ** 4


def field(edges):
    return 1e-4 * edges.graph.positions[:, 2]


def anisotropic(edges):
    return edges.sum(1e-3 * edges.vectors[:, 2] ** 2 * _end(edges))


def by_number(edges):
    factor = 1e-4 * (edges.receivers % 2).double()
    return edges.sum(factor * _end(edges))


def handed(edges):
    """Triple products of three edges of different weights: changes sign in a mirror."""
    moments = [
        scatter_sum(
            edges.vectors * (_end(edges) * edges.lengths**power)[:, None],
            edges.receivers,
            edges.graph.num_atoms,
        )
        for power in (0, 1, 2)
    ]
    return 1e-3 * (torch.linalg.cross(moments[0], moments[1]) * moments[2]).sum(1)


def kink_at_cutoff(edges):
    return edges.sum(0.01 * (edges.graph.cutoff - edges.lengths).clamp(min=0))


def step_at_cutoff(edges):
    return edges.sum(0.01 * torch.ones_like(edges.lengths))


def kink_inside(power, at, edges):
    """A pair energy whose derivative of some order jumps at a distance."""
    return edges.sum(0.5 * (at - edges.lengths).clamp(min=0) ** power)


def gaussian(depth, width, at, edges):
    return edges.sum(-depth / 2 * torch.exp(-(((edges.lengths - at) / width) ** 2)))


def hole_of_one_pair(depth, at, edges):
    z, other = edges.numbers
    first, last = int(edges.graph.atomic_numbers.min()), 8
    chosen = ((z == first) & (other == last)) | ((z == last) & (other == first))
    hole = torch.exp(-(((edges.lengths - at) / 0.1) ** 2)) * chosen
    return edges.sum(-depth / 2 * hole)


def three_body(edges):
    """Three atoms at short distances from each other attract each other."""
    near = torch.exp(-((edges.lengths / 1.6) ** 8))
    total = edges.sum(near)
    pairs = total**2 - edges.sum(near**2)
    return -4.0 * pairs


def crowd(edges):
    """Atoms with very many neighbors gain energy without a limit."""
    count = edges.sum(_end(edges))
    return -0.2 * (count - 8).clamp(min=0) ** 3


def sees_far(edges):
    """The energy of an atom depends on how many atoms its structure has."""
    graph = edges.graph
    size = torch.bincount(graph.batch, minlength=graph.num_graphs).double()
    return edges.sum(1e-5 * _end(edges)) * size[graph.batch]


def another_zero(edges):
    return torch.full((edges.graph.num_atoms,), 0.01, dtype=torch.float64)


def in_a_box(edges):
    """Energy of pairs whose stress is forgotten: it does not see the strain."""
    vectors = edge_vectors(edges.graph)
    lengths = vectors.norm(dim=1)
    x = (lengths / edges.graph.cutoff).clamp(max=1)
    return scatter_sum(
        0.05 * (1 - x**2) ** 4, edges.graph.edge_index[1], edges.graph.num_atoms
    )


# --- what is broken in single precision or inside -------------------------------


class Float32Only(nn.Module):
    """A head that is wrong where it computes in single precision."""

    def __init__(self, head: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.head, self.change = head, change

    def forward(self, layers):
        out = self.head(layers)
        return self.change(out) if out.dtype == torch.float32 else out


def float32_potential(change, potential):
    potential.head = Float32Only(potential.head, change)
    return potential


def _constant(out):
    """A shift of the energies, which forces do not show."""
    return out + 0.01 * (1 + torch.arange(len(out)) % 3).to(out.dtype)


def _relative(out):
    return 1.001 * out


# --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A way to break a potential, and what is to be expected of a verification."""

    make: Callable[[Potential], Wrapped | Potential]
    """From an honest potential in float64."""
    told: bool = False
    """Whether a note is enough, as the model may refuse to go there."""


def seeing(change, *arguments):
    return Broken(partial(Seeing, change=partial(change, *arguments)))


def telling(kind, change, *arguments):
    return Broken(partial(Telling, change=partial(kind, partial(change, *arguments))))


def adding(energies, *arguments, **options):
    return Broken(partial(Adding, energies=partial(energies, *arguments)), **options)


def _scaled(factor, graph, values):
    return factor * values


def _shifted(shift, graph, values):
    return values + shift


GALLERY: dict[str, Broken] = {
    # neighbors
    "at most 12 neighbors": seeing(nearest, 12),
    "at most 32 neighbors": seeing(nearest, 32),
    "at most 40 neighbors": seeing(nearest, 40),
    "at most 64 neighbors": seeing(nearest, 64),
    "only 5,000 edges": seeing(first_edges, 5_000),
    "only 20,000 edges": seeing(first_edges, 20_000),
    "only 64 atoms receive messages": seeing(first_atoms, 64),
    "only 100 atoms receive messages": seeing(first_atoms, 100),
    "no images of itself": seeing(no_self_images),
    "only images one cell away": seeing(near_cells_only),
    "free if one direction is periodic": seeing(free_along_one),
    "free if two directions are periodic": seeing(free_along_two),
    "third direction of slabs forgotten": seeing(last_direction_dropped),
    "no periodic images": seeing(without_translations),
    "another cell if left-handed": seeing(mirrored_if_left_handed),
    "float32 beyond 50 Å": seeing(rounded_far_away, 50.0),
    "float32 beyond 90 Å": seeing(rounded_far_away, 90.0),
    "float32 positions": seeing(in_single_precision),
    # forces
    "forces that circle": telling(_forces, swirl),
    "forces that do not add up to zero": telling(_forces, net_force),
    "forces times 1.0001": telling(_forces, _scaled, 1.0001),
    "forces of the heaviest element": telling(_forces, of_one_element),
    "forces of the wrong sign": telling(_forces, _scaled, -1.0),
    "a preferred direction": telling(_forces, _shifted, 1e-7),
    "clipped forces": telling(_forces, clipped, 0.2),
    "forces that are in part constant": Broken(DetachedTwice),
    "forces of the last structure": Broken(Remembers),
    # stress
    "stress of the wrong sign": telling(_stress, _scaled, -1.0),
    "stress times two": telling(_stress, _scaled, 2.0),
    "half of the stress": telling(_stress, _scaled, 0.5),
    "components of the stress swapped": telling(_stress, swapped),
    "stress that is not symmetric": telling(_stress, one_sided),
    "stress of left-handed cells": telling(_stress, per_signed_volume),
    "stress of more than 64 atoms": telling(_stress, doubled_beyond, 64),
    "strain forgotten by a part": adding(in_a_box),
    # energies
    "batch mixes": telling(energy_of, batch_mean),
    "not extensive": telling(energy_of, not_extensive),
    "mean beyond 64 atoms": telling(energy_of, mean_beyond, 64),
    "mean beyond 100 atoms": telling(energy_of, mean_beyond, 100),
    "wrong beyond 5,000 edges": telling(energy_of, wrong_beyond_edges, 5_000),
    "wrong beyond 20,000 edges": telling(energy_of, wrong_beyond_edges, 20_000),
    "first lattice vector counts": telling(energy_of, first_cell_vector),
    "cells of one atom": telling(energy_of, one_atom),
    "free atoms": telling(energy_of, free_atom),
    "energy in float32": telling(energy_of, in_float32),
    "energies do not add up": telling(energies_of, _shifted, 1e-4),
    "energies of atoms swapped": telling(
        energies_of, lambda graph, energies: energies.flip(0)
    ),
    # calls
    "noise": Broken(partial(Calls, change=noisy)),
    "every 500th call": Broken(partial(Calls, change=partial(every, 500))),
    "every 300th call": Broken(partial(Calls, change=partial(every, 300))),
    "another energy if it is asked for alone": Broken(
        partial(Asked, change=energy_alone)
    ),
    "Hessian times 1.001": Broken(partial(Asked, change=hessian_scaled)),
    "features with forces": Broken(partial(Asked, change=features_of_others)),
    # energies with all derivatives
    "a field": adding(field),
    "squares along z": adding(anisotropic),
    "odd atoms": adding(by_number),
    "handed": adding(handed),
    "kink at the cutoff": adding(kink_at_cutoff),
    "step at the cutoff": adding(step_at_cutoff),
    "kink of forces at 2.7 Å": adding(kink_inside, 1, 2.7),
    "kink of curvature at 2.7 Å": adding(kink_inside, 2, 2.7),
    "kink of forces at 1.4 Å": adding(kink_inside, 1, 1.4),
    "kink of curvature at 1.4 Å": adding(kink_inside, 2, 1.4),
    "hole at 0.3 Å": adding(gaussian, 20.0, 0.2, 0.2, told=True),
    "hole of 10 eV at 1.9 Å of one pair": adding(hole_of_one_pair, 10.0, 1.9),
    "hole of 10 eV at 2.3 Å of one pair": adding(hole_of_one_pair, 10.0, 2.3),
    "collapse of three": adding(three_body, told=True),
    "collapse of many": adding(crowd, told=True),
    "size of the structure counts": adding(sees_far),
    "another zero": adding(another_zero),
    # arithmetic
    "shifted energies in float32": Broken(partial(float32_potential, _constant)),
    "a part in a thousand in float32": Broken(partial(float32_potential, _relative)),
}
"""Broken potentials by name."""
