"""Node products as full tensors of all their factors: slow, and with nothing shared."""

import math
from functools import cache
from itertools import permutations

import torch

from equipot.node_products.couplings import split_order, symmetric_couplings
from equipot.node_products.scales import coupling_scales, degree_scales
from equipot.so3 import degree_of_component, num_components, wigner_3j
from equipot.tensor_products.spec import Path, gaunt_factor

LETTERS = "abcdefgh"


@cache
def coupling_tensors(lmax_in, order, irrep):
    """U[coupling, component, i1, ..., in], symmetric in the factors by averaging."""
    if order == 1:
        block = slice(irrep.degree**2, (irrep.degree + 1) ** 2)
        return torch.eye(num_components(lmax_in), dtype=torch.float64)[None, block]
    basis = symmetric_couplings(lmax_in, order, irrep)
    left_order, right_order = split_order(order)
    i, j = LETTERS[:left_order], LETTERS[left_order:order]
    pairs = torch.stack(
        [
            torch.einsum(
                f"x{i},y{j},xyz->z{i}{j}",
                coupling_tensors(lmax_in, left_order, pair.left)[pair.left_index],
                coupling_tensors(lmax_in, right_order, pair.right)[pair.right_index],
                wigner_3j(pair.left.degree, pair.right.degree, irrep.degree),
            )
            for pair in basis.pairs
        ]
    )
    tensors = torch.tensordot(basis.coefficients, pairs, dims=1)
    orders = list(permutations(range(2, order + 2)))
    return sum(tensors.permute(0, 1, *p) for p in orders) / len(orders)


def num_orderings(table):
    """Distinct permutations of the rows of a table of monomials."""
    factorials = [
        math.prod(math.factorial(row.count(v)) for v in set(row))
        for row in table.tolist()
    ]
    return math.factorial(table.shape[1]) / torch.tensor(factorials).double()


def apply(tensors, x):
    """U(x, ..., x) for each node and channel."""
    n = tensors.ndim - 2
    letters = LETTERS[:n]
    factors = ",".join(f"N{letter}C" for letter in letters)
    return torch.einsum(f"qk{letters},{factors}->NqkC", tensors, *[x] * n)


def per_path(spec, x, weights):
    """The definition in `NodeProductSpec`, coupling by coupling."""
    out = x.new_zeros(len(x), num_components(spec.lmax_out), x.shape[2])
    start = 0
    for block, alpha in zip(spec.blocks, coupling_scales(spec), strict=True):
        w = weights[:, start : start + block.num_couplings] * alpha[:, None]
        start += block.num_couplings
        values = apply(coupling_tensors(spec.lmax_in, block.order, block.irrep), x)
        degree = block.irrep.degree
        where = torch.zeros(out.shape[1], 2 * degree + 1, dtype=x.dtype)
        where[degree**2 : (degree + 1) ** 2] = torch.eye(2 * degree + 1)
        out = out + torch.einsum("sk,NqkC,NqC->NsC", where, values, w)
    return out


@cache
def gaunt(lmax_left, lmax_right):
    """Integrals of three harmonics of unit norm; the third has all degrees."""
    lmax_out = lmax_left + lmax_right
    out = torch.zeros([num_components(n) for n in (lmax_left, lmax_right, lmax_out)])
    out = out.double()
    for a in range(lmax_left + 1):
        for b in range(lmax_right + 1):
            for c in range(abs(a - b), a + b + 1):
                block = gaunt_factor(Path(a, b, c)) * wigner_3j(a, b, c)
                out[a**2 : (a + 1) ** 2, b**2 : (b + 1) ** 2, c**2 : (c + 1) ** 2] = (
                    block
                )
    return out


def per_degree(spec, x, weights):
    """The definition in `NodeProductSpec`, with all degrees of all intermediates."""
    size_out = num_components(spec.lmax_out)
    degrees_in = degree_of_component(spec.lmax_in)
    degrees_out = degree_of_component(spec.lmax_out)
    out = x.new_zeros(len(x), size_out, x.shape[2])
    rest = weights
    for n, alpha in zip(range(1, spec.order + 1), degree_scales(spec), strict=True):
        product = x.new_full((len(x), 1, x.shape[2]), (4 * torch.pi) ** 0.5)
        for k in range(n):
            w, rest = rest[:, : spec.lmax_in + 1], rest[:, spec.lmax_in + 1 :]
            factor = w[:, degrees_in] * x
            product = torch.einsum(
                "ijk,NiC,NjC->NkC",
                gaunt(k * spec.lmax_in, spec.lmax_in),
                product,
                factor,
            )
        v, rest = rest[:, : spec.lmax_out + 1], rest[:, spec.lmax_out + 1 :]
        kept = product[:, :size_out]
        zeros = x.new_zeros(len(x), size_out - kept.shape[1], x.shape[2])
        out = out + (alpha[:, None] * v)[:, degrees_out] * torch.cat([kept, zeros], 1)
    assert rest.shape[1] == 0
    return out


def definition(spec, x, weights):
    compute = per_path if spec.weighting == "per_path" else per_degree
    return compute(spec, x, weights)
