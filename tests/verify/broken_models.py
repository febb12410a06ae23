"""Potentials that are right for small structures, and wrong in one kind of case."""

from dataclasses import replace

import torch

from equipot.graph.atomic_graph import edge_vectors, partial_graph
from equipot.graph.scatter import scatter_sum
from equipot.models.differentiable import constant_weights


class Wrapped:
    """A potential, changed by whatever a subclass does to graphs and predictions."""

    def __init__(self, potential):
        self.potential = potential
        self.cutoff, self.num_layers = potential.cutoff, potential.num_layers
        self.dtype, self.device = potential.dtype, potential.device
        self.calls = 0

    def __call__(self, graph, outputs, *, create_graph):
        self.calls += 1
        with constant_weights(self.potential):
            found = self.potential(self.see(graph), outputs, create_graph=create_graph)
        return self.tell(graph, found, set(outputs))

    def see(self, graph):
        return graph

    def tell(self, graph, found, outputs):
        return found


def scaled(found, factor):
    """A prediction in another unit: consistent with itself."""
    return replace(
        found,
        energy=found.energy * factor,
        energies=found.energies * factor,
        forces=None if found.forces is None else found.forces * factor,
        stress=None if found.stress is None else found.stress * factor,
    )


def without(graph, keep):
    few = replace(
        graph, edge_index=graph.edge_index[:, keep], edge_shift=graph.edge_shift[keep]
    )
    return partial_graph(few)


def ranks(graph, lengths):
    """Which neighbor each edge leads to: 0 is the nearest."""
    receivers = graph.edge_index[1]
    order = torch.argsort(lengths, stable=True)
    order = order[torch.argsort(receivers[order], stable=True)]
    degrees = torch.bincount(receivers, minlength=graph.num_atoms)
    first = degrees.cumsum(0) - degrees
    out = torch.empty_like(order)
    out[order] = torch.arange(graph.num_edges) - first[receivers[order]]
    return out


class ManyAtoms(Wrapped):
    """Another potential for more atoms than it was tried on."""

    limit = 64

    def tell(self, graph, found, outputs):
        return scaled(found, 1.00001) if graph.num_atoms > self.limit else found


class VeryManyAtoms(ManyAtoms):
    limit = 128


class ForgetsForces(Wrapped):
    """A buffer of fixed length holds forces."""

    def tell(self, graph, found, outputs):
        if found.forces is None:
            return found
        forces = found.forces.clone()
        forces[100:] = 0
        return replace(found, forces=forces)


class ManyEdges(Wrapped):
    limit = 5_000

    def tell(self, graph, found, outputs):
        return scaled(found, 1.00001) if graph.num_edges > self.limit else found


class VeryManyEdges(ManyEdges):
    limit = 20_000


class FewNeighbors(Wrapped):
    """The nearest so many neighbors only."""

    limit = 40

    def see(self, graph):
        return without(
            graph, ranks(graph, edge_vectors(graph).detach().norm(dim=1)) < self.limit
        )


class FirstNeighbors(Wrapped):
    """The first so many neighbors, in any order."""

    def see(self, graph):
        return without(graph, ranks(graph, torch.zeros(graph.num_edges)) < 40)


class NoSelfImages(Wrapped):
    def see(self, graph):
        senders, receivers = graph.edge_index
        return without(graph, senders != receivers)


class NearImagesOnly(Wrapped):
    """Images further than the next but so many cells are left out."""

    limit = 2

    def see(self, graph):
        return without(graph, (graph.edge_shift.abs() < self.limit).all(dim=1))


class StressOfOneAtom(Wrapped):
    def tell(self, graph, found, outputs):
        if found.stress is None:
            return found
        alone = torch.bincount(graph.batch, minlength=graph.num_graphs) == 1
        factor = torch.where(alone, 1.001, 1.0)[:, None, None]
        return replace(found, stress=found.stress * factor)


class SomePeriodicity(Wrapped):
    """Wrong with so many periodic directions."""

    directions = 2

    def tell(self, graph, found, outputs):
        factor = torch.where(graph.pbc.sum(1) == self.directions, 1.00001, 1.0)
        of_atoms = factor[graph.batch]
        forces = found.forces
        return replace(
            found,
            energy=found.energy * factor,
            energies=found.energies * of_atoms,
            forces=None if forces is None else forces * of_atoms[:, None],
        )


class OnePeriodicity(SomePeriodicity):
    directions = 1


class NoPeriodicity(SomePeriodicity):
    directions = 0


class SignOfVolume(Wrapped):
    def tell(self, graph, found, outputs):
        if found.stress is None:
            return found
        sign = torch.linalg.det(graph.cell).sign()[:, None, None]
        return replace(found, stress=found.stress * sign)


class NearOrigin(Wrapped):
    """Energies of atoms far from the origin are wrong."""

    limit = 50.0

    def tell(self, graph, found, outputs):
        far = graph.positions.detach().norm(dim=1) > self.limit
        more = torch.where(far, 1e-6, 0.0).double()
        return replace(
            found,
            energy=found.energy + scatter_sum(more, graph.batch, graph.num_graphs),
        )


class PositionsInFloat32(Wrapped):
    def see(self, graph):
        positions = graph.positions
        rounded = positions + (positions.float().double() - positions).detach()
        return replace(graph, positions=rounded)


class StressOfWrongSize(Wrapped):
    def tell(self, graph, found, outputs):
        if found.stress is None:
            return found
        return replace(found, stress=1.001 * found.stress)


class AnotherHessian(Wrapped):
    def tell(self, graph, found, outputs):
        if found.hessian is None:
            return found
        return replace(found, hessian=tuple(1.0001 * h for h in found.hessian))


class OtherFeatures(Wrapped):
    """Features that depend on what else is asked for."""

    def tell(self, graph, found, outputs):
        if found.features is None or "forces" in outputs:
            return found
        return replace(found, features=1.0001 * found.features)


class NumberedFeatures(Wrapped):
    def tell(self, graph, found, outputs):
        if found.features is None:
            return found
        count = torch.arange(graph.num_atoms)[:, None]
        return replace(found, features=found.features + 1e-3 * count)


class EnergyAlone(Wrapped):
    """Another energy where nothing else is asked for."""

    def tell(self, graph, found, outputs):
        if outputs != {"energy"}:
            return found
        return replace(found, energy=found.energy + 1e-6 * graph.num_atoms)


class OtherEnergies(Wrapped):
    def tell(self, graph, found, outputs):
        return replace(found, energies=found.energies * 1.000001)


class SometimesWrong(Wrapped):
    every = 500

    def tell(self, graph, found, outputs):
        if self.calls % self.every:
            return found
        return replace(found, energy=found.energy * (1 + 1e-7))


class SometimesOtherForces(Wrapped):
    def tell(self, graph, found, outputs):
        if self.calls % 577 or found.forces is None:
            return found
        return replace(found, forces=found.forces * (1 + 1e-7))


class Raises(Wrapped):
    def tell(self, graph, found, outputs):
        if graph.num_atoms > 60:
            raise RuntimeError("no room for so many atoms")
        return found


class ForgetsStress(Wrapped):
    def tell(self, graph, found, outputs):
        return replace(found, stress=None) if graph.num_atoms > 60 else found


class WithAnEnergy(Wrapped):
    """An energy of each atom is added, with all of its derivatives."""

    def extra(self, graph, lengths, weights):
        """Energies of atoms from lengths and from weights that end smoothly."""
        raise NotImplementedError

    def __call__(self, graph, outputs, *, create_graph):
        self.calls += 1
        positions = graph.positions
        if not positions.requires_grad:
            positions = positions.detach().requires_grad_()
        strain = torch.zeros_like(graph.cell).requires_grad_()
        graph = replace(graph, positions=positions)
        with constant_weights(self.potential):
            found = self.potential(
                graph, {*outputs, "forces"} - {"hessian"}, create_graph=create_graph
            )
        with torch.enable_grad():
            vectors = edge_vectors(graph)
            turn = (strain + strain.mT)[graph.batch[graph.edge_index[1]]] / 2
            vectors = vectors + torch.einsum("ei,eij->ej", vectors, turn)
            lengths = vectors.norm(dim=1)
            inside = (1 - (lengths / self.cutoff) ** 2).clamp(min=0) ** 4
            energies = self.extra(graph, lengths, inside)
            push, pull = torch.autograd.grad(
                energies.sum(),
                [positions, strain],
                create_graph=create_graph,
                materialize_grads=True,
            )
        energy = found.energy + scatter_sum(energies, graph.batch, graph.num_graphs)
        forces, stress = found.forces - push, found.stress
        if stress is not None:
            stress = stress + pull / torch.linalg.det(graph.cell).abs()[:, None, None]
        if not create_graph:
            energy, energies, forces = (t.detach() for t in (energy, energies, forces))
            stress = None if stress is None else stress.detach()
        return replace(
            found,
            energy=energy,
            energies=found.energies + energies,
            forces=forces if "forces" in outputs else None,
            stress=stress,
        )


class Hole(WithAnEnergy):
    """A pair falls into a hole at a distance that is used."""

    depth, place, width, pair = 10.0, 1.9, 0.2, (1, 8)

    def extra(self, graph, lengths, weights):
        senders, receivers = graph.edge_index
        z = graph.atomic_numbers
        first, second = z[senders], z[receivers]
        a, b = self.pair
        chosen = ((first == a) & (second == b)) | ((first == b) & (second == a))
        hole = torch.exp(-(((lengths - self.place) / self.width) ** 2))
        energies = -self.depth / 2 * hole * weights / weights.clamp(min=0.1)
        return scatter_sum(chosen * energies, receivers, graph.num_atoms)


class SmallHole(Hole):
    depth, place, width, pair = 3.0, 2.6, 0.15, (8, 8)


class KinkOfForce(WithAnEnergy):
    place, size, power = 2.83, 0.005, 1

    def extra(self, graph, lengths, weights):
        energies = self.size * (self.place - lengths).clamp(min=0) ** self.power
        return scatter_sum(energies, graph.edge_index[1], graph.num_atoms)


class KinkOfCurvature(KinkOfForce):
    place, size, power = 2.2, 0.05, 2


class KinkInDensity(WithAnEnergy):
    """An energy of the surroundings begins at some density."""

    place = 1.0

    def extra(self, graph, lengths, weights):
        density = scatter_sum(weights, graph.edge_index[1], graph.num_atoms)
        return 0.05 * (density - self.place).clamp(min=0) ** 2


class TriplesCollapse(WithAnEnergy):
    def extra(self, graph, lengths, weights):
        receivers = graph.edge_index[1]
        once = scatter_sum(weights, receivers, graph.num_atoms)
        twice = scatter_sum(weights**2, receivers, graph.num_atoms)
        return -300.0 * (once**2 - twice)


class ClustersCollapse(WithAnEnergy):
    def extra(self, graph, lengths, weights):
        return -20.0 * scatter_sum(weights, graph.edge_index[1], graph.num_atoms) ** 4
