"""Products of functions on the sphere, evaluated at points without any transform."""

import torch

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components, spherical_harmonics
from equipot.tensor_products import TensorProductSpec


def unit_vectors(count, generator):
    vectors = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(vectors)


def values(coefficients, points):
    """Of a function given by coefficients of unit-norm harmonics."""
    lmax = int(len(coefficients) ** 0.5) - 1
    unit = torch.nn.functional.normalize(points)
    return spherical_harmonics(lmax, unit) @ coefficients / (4 * torch.pi) ** 0.5


def bracket(f, g, points):
    """points . (grad f x grad g), with gradients along the sphere."""
    points = points.clone().requires_grad_()
    u, v = (torch.autograd.grad(values(h, points).sum(), points)[0] for h in (f, g))
    return (points.detach() * torch.linalg.cross(u, v)).sum(1)


def single_message(backend, x, direction, weights):
    """Message of one edge between two nodes, for one channel."""
    connectivity = Connectivity(torch.tensor([[0], [1]]), 2)
    features = torch.stack([x, torch.zeros_like(x)])[:, :, None]
    edges = backend.prepare(direction[None], connectivity)
    return backend(features, edges, weights[None, :, None])[1, :, 0]


def complete_spec(lmax_in, lmax_filter, symmetry="O(3)"):
    """Product whose messages have all degrees of the product of functions."""
    lmax_out = lmax_in + lmax_filter
    return TensorProductSpec(lmax_in, lmax_filter, lmax_out, "per_degree", symmetry)


def unscaled(spec, message):
    """Coefficients of unit-norm harmonics, without the normalisation of messages."""
    scales = dict(zip((p.l_out for p in spec.paths), spec.path_scales(), strict=True))
    return torch.cat(
        [
            message[degree**2 : (degree + 1) ** 2] / scales[degree]
            for degree in range(spec.lmax_out + 1)
        ]
    )


def random_function(lmax, generator):
    return torch.randn(num_components(lmax), generator=generator, dtype=torch.float64)
