"""Energies in closed form, as ASE calculators with Hessians by differentiation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from torch import Tensor

from equipot.calculators import Evaluated


class Analytic(Calculator):
    """Energy in eV of positions in Å; a function of the structure makes it."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self, energy_of: Callable[[Atoms], Callable[[Tensor, Tensor], Tensor]]
    ):
        super().__init__()
        self.energy_of = energy_of
        self.evaluations = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.evaluations += 1
        positions = torch.tensor(self.atoms.positions, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        energy = self.energy_of(self.atoms)(positions, strain)
        forces, virial = torch.autograd.grad(
            -energy, (positions, strain), materialize_grads=True
        )
        self.results = {"energy": energy.item(), "forces": forces.numpy()}
        if self.atoms.pbc.any() and self.atoms.cell.rank == 3:
            sigma = -(virial + virial.T).numpy() / 2 / self.atoms.get_volume()
            plane = np.linalg.qr(self.atoms.cell.array[self.atoms.pbc].T)[0]
            sigma = plane @ plane.T @ sigma @ plane @ plane.T
            self.results["stress"] = sigma.ravel()[[0, 4, 8, 5, 2, 1]]

    def hessian(self, atoms: Atoms) -> np.ndarray:
        n = len(atoms)
        return self.products(atoms, np.eye(3 * n).reshape(-1, n, 3)).reshape(n, 3, n, 3)

    def products(self, atoms: Atoms, directions: Sequence) -> np.ndarray:
        positions = torch.tensor(atoms.positions, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64)
        energy = self.energy_of(atoms)(positions, strain)
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        rows = [
            torch.autograd.grad(gradient, positions, torch.tensor(v), retain_graph=True)
            for v in np.asarray(directions)
        ]
        return torch.stack([row for (row,) in rows]).numpy()

    def third_products(
        self, atoms: Atoms, first: np.ndarray, second: Sequence
    ) -> np.ndarray:
        positions = torch.tensor(atoms.positions, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64)
        energy = self.energy_of(atoms)(positions, strain)
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        (product,) = torch.autograd.grad(
            gradient, positions, torch.tensor(first), create_graph=True
        )
        rows = [
            torch.autograd.grad(product, positions, torch.tensor(w), retain_graph=True)
            for w in np.asarray(second)
        ]
        return torch.stack([row for (row,) in rows]).numpy()


class OneByOne:
    """A calculator of batches that evaluates one by one; keeps their sizes."""

    def __init__(self, calculator):
        self.calculator = calculator
        self.sizes = []

    def evaluate(self, structures, properties=("energy",), *, numbers=None):
        self.sizes.append(len(structures))
        found = []
        for atoms in structures:
            self.calculator.calculate(atoms.copy(), properties)
            found.append(Evaluated(dict(self.calculator.results), ()))
        return found


def pairwise(energy: Callable[[Tensor], Tensor]) -> Analytic:
    """A free cluster whose atoms interact in pairs."""

    def energy_of(atoms):
        i, j = np.triu_indices(len(atoms), k=1)
        return lambda r, _: energy((r[i] - r[j]).norm(dim=1)).sum()

    return Analytic(energy_of)


def lennard_jones(epsilon: float, sigma: float) -> Analytic:
    return pairwise(lambda r: 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6))


def morse(depth: float, width: float, distance: float) -> Analytic:
    return pairwise(lambda r: depth * (1 - torch.exp(-width * (r - distance))) ** 2)


def valence(bonds: dict, angles: dict) -> Analytic:
    """Springs: k, r0 of bonds (eV/Å^2, Å), and k, cosine of angles (eV)."""

    def energy(r, _):
        total = torch.zeros((), dtype=torch.float64)
        for (i, j), (k, length) in bonds.items():
            total = total + k / 2 * ((r[i] - r[j]).norm() - length) ** 2
        for (i, j, end), (k, cosine) in angles.items():
            a, b = r[i] - r[j], r[end] - r[j]
            total = total + k / 2 * ((a @ b) / a.norm() / b.norm() - cosine) ** 2
        return total

    return Analytic(lambda atoms: energy)


def torsion(bonds: dict, angles: dict, dihedral: tuple, height: float) -> Analytic:
    """Springs, and a barrier in eV at 0 and at 180 degrees of one dihedral angle."""
    springs = valence(bonds, angles).energy_of(Atoms())
    a, b, c, d = dihedral

    def energy(r, strain):
        first = torch.linalg.cross(r[a] - r[b], r[c] - r[b])
        second = torch.linalg.cross(r[b] - r[c], r[d] - r[c])
        cosine = (first @ second) / first.norm() / second.norm()
        return springs(r, strain) + height * cosine**2

    return Analytic(lambda atoms: energy)


def nearest_images(energy: Callable[[Tensor], Tensor], reach: float) -> Analytic:
    """Pairs of atoms within a distance in Å, in all images of a periodic structure."""

    def energy_of(atoms):
        i, j, shift = neighbor_list("ijS", atoms, reach)
        offsets = torch.tensor(shift @ atoms.cell.array)

        def total(r, strain):
            vectors = r[j] - r[i] + offsets
            return energy((vectors + vectors @ strain).norm(dim=1)).sum() / 2

        return total

    return Analytic(energy_of)


def mueller_brown(scale: float = 0.01) -> Analytic:
    """The surface of K. Müller and L. D. Brown (1979), x and y of atom 0 in Å."""
    rows = [
        (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
        (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
        (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
        (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
    ]

    def energy(r, _):
        x, y, z = r[0]
        surface = sum(
            A
            * torch.exp(a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2)
            for A, a, b, c, x0, y0 in rows
        )
        return scale * surface + z**2

    return Analytic(lambda atoms: energy)


class SiliconBonds:
    """Stillinger and Weber, Phys. Rev. B 31, 5262 (1985): energy and neighbours."""

    epsilon, sigma, cutoff = 2.1682, 2.0951, 1.8
    A, B, p, lam, gamma = 7.049556277, 0.6022245584, 4, 21.0, 1.2

    def __call__(self, atoms: Atoms) -> Callable[[Tensor, Tensor], Tensor]:
        reach = self.cutoff * self.sigma
        i, j, shift = neighbor_list("ijS", atoms, reach)
        offsets = torch.tensor(shift @ atoms.cell.array)
        same = i[:, None] == i[None]
        first, second = np.nonzero(np.triu(same, k=1))

        def energy(positions: Tensor, strain: Tensor) -> Tensor:
            vectors = positions[j] - positions[i] + offsets
            vectors = vectors + vectors @ strain
            r = vectors.norm(dim=1) / self.sigma
            pair = self.A * (self.B * r**-self.p - 1) * torch.exp(1 / (r - self.cutoff))
            a, b = vectors[first], vectors[second]
            cosine = (a * b).sum(1) / (r[first] * r[second] * self.sigma**2)
            decay = self.gamma / (r - self.cutoff)
            angle = torch.exp(decay[first] + decay[second]) * (cosine + 1 / 3) ** 2
            return self.epsilon * (pair.sum() / 2 + self.lam * angle.sum())

        return energy


def stillinger_weber_silicon() -> Analytic:
    return Analytic(SiliconBonds())
