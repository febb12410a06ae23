"""Tensor products and node products inside any module: find, name, replace them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, final

from torch import nn

from equipot.node_products import (
    NODE_REFERENCE,
    NodeProduct,
    NodeProductSpec,
    get_node_product,
    node_backend_name,
)
from equipot.tensor_products import (
    REFERENCE,
    TensorProduct,
    TensorProductSpec,
    backend_name,
    get_backend,
)


class Products(NamedTuple):
    """Makers of the parts of an architecture that have no weights.

    A maker returns the same product for the same specification: layers share it, and
    with it the state of the edges.
    """

    of_edges: Callable[[TensorProductSpec], TensorProduct[Any]]
    """Tensor product of features and harmonics of edges."""
    of_nodes: Callable[[NodeProductSpec], NodeProduct]
    """Polynomial of the features of each node."""


@final
class _Unbuilt(TensorProduct[Any]):
    """Placeholder for a tensor product of which only the specification matters."""

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Supports every specification."""
        return None

    def prepare(self, directions: Any, connectivity: Any) -> Any:
        """Raise: a placeholder cannot be evaluated."""
        raise NotImplementedError

    def forward(self, x: Any, edges: Any, weights: Any) -> Any:
        """Raise: a placeholder cannot be evaluated."""
        raise NotImplementedError


@final
class _UnbuiltNode(NodeProduct):
    """Placeholder for a node product of which only the specification matters."""

    @staticmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """Supports every specification."""
        return None

    def product(self, x: Any, weights: Any) -> Any:
        """Raise: a placeholder cannot be evaluated."""
        raise NotImplementedError


UNBUILT = Products(_Unbuilt, _UnbuiltNode)
"""Placeholders, to count weights and list specifications without constants."""


def products_of_backends(backend: str, node_backend: str) -> Products:
    """Makers of products of named backends.

    Raises:
        ValueError: If one is unknown.
    """
    return Products(cache(get_backend(backend)), cache(get_node_product(node_backend)))


def tensor_products_of(module: nn.Module) -> tuple[TensorProduct[Any], ...]:
    """Every tensor product in a module, layer by layer; shared ones repeat."""
    return tuple(product for _, _, product in _tensor_products(module))


def specs_of(module: nn.Module) -> tuple[TensorProductSpec, ...]:
    """Specification of every tensor product in a module, layer by layer."""
    return tuple(product.spec for product in tensor_products_of(module))


def node_specs_of(module: nn.Module) -> tuple[NodeProductSpec, ...]:
    """Specification of every node product in a module, layer by layer."""
    return tuple(product.spec for _, _, product in _node_products(module))


def backend_of(module: nn.Module) -> str:
    """Backend of the tensor products in a module; the reference if there are none.

    Raises:
        ValueError: If they are of several backends.
    """
    names = {backend_name(p) for _, _, p in _tensor_products(module)}
    return _only(names, "tensor products", REFERENCE)


def node_backend_of(module: nn.Module) -> str:
    """Backend of the node products in a module; the reference if there are none.

    Raises:
        ValueError: If they are of several backends.
    """
    names = {node_backend_name(p) for _, _, p in _node_products(module)}
    return _only(names, "node products", NODE_REFERENCE)


def _only(names: Collection[str], products: str, reference: str) -> str:
    """The single backend among names; the reference if there is none."""
    if len(names) > 1:
        raise ValueError(
            f"{products} of several backends in one model: {', '.join(sorted(names))}"
        )
    return next(iter(names), reference)


def is_reference(module: nn.Module) -> bool:
    """Whether all products in a module are of the reference backends."""
    return (backend_of(module), node_backend_of(module)) == (REFERENCE, NODE_REFERENCE)


def replace_tensor_products(
    module: nn.Module, products: Mapping[TensorProductSpec, TensorProduct[Any]]
) -> None:
    """Replace every tensor product in a module by that of its specification."""
    for parent, name, product in list(_tensor_products(module)):
        setattr(parent, name, products[product.spec])


def replace_node_products(
    module: nn.Module, products: Mapping[NodeProductSpec, NodeProduct]
) -> None:
    """Replace every node product in a module by that of its specification."""
    for parent, name, product in list(_node_products(module)):
        setattr(parent, name, products[product.spec])


def _tensor_products(
    module: nn.Module,
) -> Iterator[tuple[nn.Module, str, TensorProduct[Any]]]:
    """Parent, name and value of every tensor product; shared ones repeat."""
    for parent, name, child in _products(module):
        if isinstance(child, TensorProduct):
            yield parent, name, child


def _node_products(module: nn.Module) -> Iterator[tuple[nn.Module, str, NodeProduct]]:
    """Parent, name and value of every node product; shared ones repeat."""
    for parent, name, child in _products(module):
        if isinstance(child, NodeProduct):
            yield parent, name, child


def _products(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Outermost products: a backend may be made of others."""
    for name, child in module._modules.items():
        if isinstance(child, TensorProduct | NodeProduct):
            yield module, name, child
        elif child is not None:
            yield from _products(child)
