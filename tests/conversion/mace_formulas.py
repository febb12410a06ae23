"""Energies of models of `mace_files`, from the formulas of MACE and nothing else."""

import math
from typing import Any

import torch
from ase import Atoms
from e3nn import o3
from torch import Tensor

Features = list[Tensor]
"""Of degree 0, 1, ...: ``(atoms, channels, components)``."""


def energy(model: Any, atoms: Atoms, positions: Tensor, head: int = 0) -> Tensor:
    """Energy in eV of a molecule, all of whose pairs are compared with the cutoff."""
    numbers = torch.tensor(atoms.numbers)
    elements = torch.tensor([model.atomic_numbers.tolist().index(z) for z in numbers])
    count = len(numbers)
    senders, receivers = (torch.ones(count, count) - torch.eye(count)).nonzero().T
    vectors = positions[receivers] - positions[senders]
    inside = vectors.norm(dim=1) < model.r_max
    senders, receivers, vectors = senders[inside], receivers[inside], vectors[inside]
    r = vectors.norm(dim=1, keepdim=True)
    pair = numbers[senders], numbers[receivers]
    lmax = model.spherical_harmonics._lmax
    harmonics = o3.spherical_harmonics(
        list(range(lmax + 1)), vectors, normalize=True, normalization="component"
    )
    y = harmonics.split([2 * k + 1 for k in range(lmax + 1)], dim=1)
    envelope = polynomial(r / model.r_max, int(model.radial_embedding.cutoff_fn.p))
    basis = radial_basis(model.radial_embedding, r, pair)
    late = getattr(model.radial_embedding, "apply_cutoff", True) is False
    if not late:
        basis = basis * envelope
    factor = envelope if late else torch.ones_like(envelope)

    one_hot = torch.eye(len(model.atomic_numbers))[elements]
    x = linear(model.node_embedding.linear, [one_hot[:, :, None]])
    total = torch.zeros(count)
    if hasattr(model, "pair_repulsion"):
        total = total + repulsion(model.pair_repulsion_fn, r, pair, receivers, count)
    for interaction, product, readout in zip(
        model.interactions, model.products, model.readouts, strict=True
    ):
        w = mlp(interaction.conv_tp_weights, basis) * factor
        sent = linear(interaction.linear_up, x)
        message = convolve(interaction.conv_tp, sent, y, w, senders, receivers)
        message = linear(interaction.linear, message)
        norm = torch.full((count,), interaction.avg_num_neighbors)
        if hasattr(interaction, "density_fn"):
            rho = torch.tanh(mlp(interaction.density_fn, basis) ** 2) * factor
            norm = 1 + torch.zeros(count).index_add(0, receivers, rho[:, 0])
        message = [part / norm[:, None, None] for part in message]
        kind = type(interaction).__name__
        skip = None
        if "Residual" in kind:
            skip = element_product(interaction.skip_tp, x, one_hot)
        else:
            message = element_product(interaction.skip_tp, message, one_hot)
        contractions = product.symmetric_contractions.contractions
        a = torch.cat(message, dim=2)
        x = linear(product.linear, [contract(c, a, elements) for c in contractions])
        for degree, part in enumerate(skip or []):
            x[degree] = x[degree] + part
        total = total + read(readout, x[0], head)
    if hasattr(model, "scale_shift"):
        scale, shift = model.scale_shift.scale, model.scale_shift.shift
        total = torch.atleast_1d(scale)[head] * total + torch.atleast_1d(shift)[head]
    free = torch.atleast_2d(model.atomic_energies_fn.atomic_energies)[head]
    return (total + free[elements]).sum()


def polynomial(x: Tensor, p: int) -> Tensor:
    """Envelope, one at zero and zero from one on."""
    u = (
        1
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    return u * (x < 1)


def radial_basis(part: Any, r: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
    """Bessel functions of the length, after a transform if there is one."""
    if hasattr(part, "distance_transform"):
        t = part.distance_transform
        radii = (t.covalent_radii[pair[0]] + t.covalent_radii[pair[1]])[:, None]
        if type(t).__name__ == "AgnesiTransform":
            x = r / (0.5 * radii)
            r = 1 / (1 + t.a * x**t.q / (1 + x ** (t.q - t.p)))
        else:
            low, high = 3 / 4 * radii, 4 / 3 * radii
            at = t.alpha / (high - low) * (r - 0.5 * (low + high))
            r = low + (r - low) * 0.5 * (1 + torch.tanh(at))
    return part.bessel_fn.prefactor * torch.sin(part.bessel_fn.bessel_weights * r) / r


def repulsion(
    part: Any, r: Tensor, pair: tuple[Tensor, Tensor], receivers: Tensor, count: int
) -> Tensor:
    """Half of the screened Coulomb energies of each atom."""
    a, b = pair[0].to(r)[:, None], pair[1].to(r)[:, None]
    length = part.a_prefactor * 0.529 / (a**part.a_exp + b**part.a_exp)
    decays = torch.tensor([3.2, 0.9423, 0.4028, 0.2016])
    phi = (part.c * torch.exp(-decays * r / length)).sum(1, keepdim=True)
    radii = (part.covalent_radii[pair[0]] + part.covalent_radii[pair[1]])[:, None]
    v = 14.3996 * a * b / r * phi * polynomial(r / radii, int(part.p))
    return torch.zeros(count).index_add(0, receivers, 0.5 * v[:, 0])


def linear(part: Any, x: Features) -> Features:
    """Sum of blocks between irreps, each with its factor."""
    out: dict[int, Tensor] = {}
    start = 0
    for i, j, shape, factor in part.instructions:
        w = part.weight[start : start + math.prod(shape)].reshape(shape)
        start += math.prod(shape)
        term = factor * torch.einsum("uw,nui->nwi", w, x[i])
        out[j] = out[j] + term if j in out else term
    return [out[j] for j in sorted(out)]


def mlp(part: Any, x: Tensor) -> Tensor:
    """Matrices over the root of their rows, and SiLUs with a gain."""
    for layer in part.children():
        x = x @ layer.weight / math.sqrt(layer.h_in)
        if layer.act is not None:
            x = layer.act.cst * layer.act.f(x)
    return x


def convolve(
    part: Any,
    x: Features,
    y: Any,
    weights: Tensor,
    senders: Tensor,
    receivers: Tensor,
) -> Features:
    """Sum of products over neighbors, path by path."""
    out = []
    for n, (i, j, _, _, _, factor, (channels, _)) in enumerate(part.instructions):
        w = weights[:, n * channels : (n + 1) * channels]
        degree = part.irreps_out.split("+")[n].partition("x")[2][0]
        c = o3.wigner_3j(i, j, int(degree), dtype=w.dtype)
        term = factor * torch.einsum("eu,eui,ej,ijk->euk", w, x[i][senders], y[j], c)
        out.append(term.new_zeros(len(x[0]), *term.shape[1:]))
        out[-1] = out[-1].index_add(0, receivers, term)
    return out


def element_product(part: Any, x: Features, one_hot: Tensor) -> Features:
    """Products with the one-hot element."""
    out = []
    start = 0
    for i, _, j, _, _, factor, shape in part.instructions:
        w = part.weight[start : start + math.prod(shape)].reshape(shape)
        start += math.prod(shape)
        c = o3.wigner_3j(i, 0, j, dtype=w.dtype)[:, 0]
        out.append(factor * torch.einsum("uvw,nui,nv,ij->nwj", w, x[i], one_hot, c))
    return out


def contract(part: Any, a: Tensor, elements: Tensor) -> Tensor:
    """Sum over couplings of all orders: ``(atoms, channels, components)``."""
    total = 0
    weights = [part.weights_max, *part.weights]
    for order in range(1, part.correlation + 1):
        u = getattr(part, f"U_matrix_{order}")
        u = u[None] if u.ndim == order + 1 else u
        w = weights[part.correlation - order][elements]
        out = torch.einsum("...q,nqc->nc...", u, w)
        for _ in range(order):
            out = torch.einsum("nc...i,nci->nc...", out, a)
        total = total + out
    return total


def read(part: Any, x: Tensor, head: int) -> Tensor:
    """Energies of atoms from scalars ``(atoms, channels, 1)``."""
    if type(part).__name__ == "LinearReadoutBlock":
        return linear(part.linear, [x])[0][:, head, 0]
    hidden = linear(part.linear_1, [x])[0]
    gain = part.non_linearity.acts[0]
    hidden = gain.cst * gain.f(hidden)
    own = torch.zeros(hidden.shape[1])
    width = len(own) // getattr(part, "num_heads", 1)
    own[head * width : (head + 1) * width] = 1
    return linear(part.linear_2, [hidden * own[:, None]])[0][:, head, 0]
