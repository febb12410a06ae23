"""Node products (polynomials of node features): specification and backends."""

import torch

from equipot.node_products.base import NodeProduct as NodeProduct
from equipot.node_products.clebsch_gordan import ClebschGordan as ClebschGordan
from equipot.node_products.fused import Fused
from equipot.node_products.gaunt_fft import GauntFFT
from equipot.node_products.spec import NodeProductSpec as NodeProductSpec
from equipot.node_products.spherical_grid import SphericalGrid
from equipot.ops import unavailable

NODE_PRODUCTS: dict[str, type[NodeProduct]] = {
    "clebsch_gordan": ClebschGordan,
    "fused": Fused,
    "gaunt_fft": GauntFFT,
    "spherical_grid": SphericalGrid,
}
"""All backends by the name that configurations use."""

NODE_REFERENCE = "clebsch_gordan"
"""Reference backend, which defines the results of all others."""


def get_node_product(name: str) -> type[NodeProduct]:
    """Backend class by name.

    Raises:
        ValueError: If there is no such backend; the message lists those that exist.
    """
    if name not in NODE_PRODUCTS:
        raise ValueError(
            f"unknown node-product backend {name!r}; choose one of "
            f"{', '.join(sorted(NODE_PRODUCTS))}"
        )
    return NODE_PRODUCTS[name]


def fastest_node_product(spec: NodeProductSpec) -> NodeProduct:
    """Node product of the backend "auto".

    It is "fused" for weights per path where the ops for the CPU are compiled, otherwise
    the reference.

    Args:
        spec: Specification of the product.
    """
    compiled = unavailable(torch.device("cpu")) is None
    if compiled and Fused.unsupported(spec) is None:
        return Fused(spec)
    return NODE_PRODUCTS[NODE_REFERENCE](spec)


def node_backend_name(product: NodeProduct) -> str:
    """Registered name of the backend of a product; its class name if not registered."""
    return next(
        (name for name, kind in NODE_PRODUCTS.items() if type(product) is kind),
        type(product).__name__,
    )
