"""Tensor products and node products in modules: creation, listing and replacement."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, final

from torch import nn

from equipot.node_products import (
    NODE_REFERENCE,
    NodeProduct,
    NodeProductSpec,
    fastest_node_product,
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

AUTO: Final = "auto"
"""Name for automatic selection of the fastest backend on this machine."""


class Products(NamedTuple):
    """Factories of tensor products and node products.

    A factory returns the same product for the same specification, so layers share it
    and its edge state.
    """

    of_edges: Callable[[TensorProductSpec], TensorProduct[Any]]
    """Factory of tensor products of features and edge harmonics."""
    of_nodes: Callable[[NodeProductSpec], NodeProduct]
    """Factory of node products."""


@final
class _Unbuilt(TensorProduct[Any]):
    """Placeholder for a tensor product, with its specification only."""

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
    """Placeholder for a node product, with its specification only."""

    @staticmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """Supports every specification."""
        return None

    def product(self, x: Any, weights: Any, rows: Any) -> Any:
        """Raise: a placeholder cannot be evaluated."""
        raise NotImplementedError


UNBUILT = Products(_Unbuilt, _UnbuiltNode)
"""Factories of placeholders, for counting weights and listing specifications."""


def products_of_backends(backend: str, node_backend: str) -> Products:
    """Product factories of named backends; node products also of "auto".

    Raises:
        ValueError: If a name is unknown.
    """
    of_nodes = (
        fastest_node_product if node_backend == AUTO else get_node_product(node_backend)
    )
    return Products(cache(get_backend(backend)), cache(of_nodes))


def tensor_products_of(module: nn.Module) -> tuple[TensorProduct[Any], ...]:
    """All tensor products in a module, layer by layer, with repetitions."""
    return tuple(product for _, _, product in _tensor_products(module))


def specs_of(module: nn.Module) -> tuple[TensorProductSpec, ...]:
    """Specifications of the tensor products in a module, layer by layer."""
    return tuple(product.spec for product in tensor_products_of(module))


def node_specs_of(module: nn.Module) -> tuple[NodeProductSpec, ...]:
    """Specifications of the node products in a module, layer by layer."""
    return tuple(product.spec for _, _, product in _node_products(module))


def backend_of(module: nn.Module) -> str:
    """Backend of the tensor products in a module; the reference if there are none.

    Raises:
        ValueError: If they have different backends.
    """
    names = {backend_name(p) for _, _, p in _tensor_products(module)}
    return _only(names, "tensor products", REFERENCE)


def node_backend_of(module: nn.Module) -> str:
    """Backend of the node products in a module; the reference if there are none.

    Raises:
        ValueError: If they have different backends.
    """
    names = {node_backend_name(p) for _, _, p in _node_products(module)}
    return _only(names, "node products", NODE_REFERENCE)


def _only(names: Collection[str], products: str, reference: str) -> str:
    """The common backend name; the reference if there are no products."""
    if len(names) > 1:
        raise ValueError(
            f"{products} of several backends in one model: {', '.join(sorted(names))}"
        )
    return next(iter(names), reference)


def is_reference(module: nn.Module) -> bool:
    """Whether all products in a module have the reference backends."""
    return (backend_of(module), node_backend_of(module)) == (REFERENCE, NODE_REFERENCE)


def replace_tensor_products(
    module: nn.Module, products: Mapping[TensorProductSpec, TensorProduct[Any]]
) -> None:
    """Replace the tensor products in a module, by specification."""
    for parent, name, product in list(_tensor_products(module)):
        setattr(parent, name, products[product.spec])


def replace_node_products(
    module: nn.Module, products: Mapping[NodeProductSpec, NodeProduct]
) -> None:
    """Replace the node products in a module, by specification."""
    for parent, name, product in list(_node_products(module)):
        setattr(parent, name, products[product.spec])


def _tensor_products(
    module: nn.Module,
) -> Iterator[tuple[nn.Module, str, TensorProduct[Any]]]:
    """Parent, name and value of every tensor product, with repetitions."""
    for parent, name, child in _products(module):
        if isinstance(child, TensorProduct):
            yield parent, name, child


def _node_products(module: nn.Module) -> Iterator[tuple[nn.Module, str, NodeProduct]]:
    """Parent, name and value of every node product, with repetitions."""
    for parent, name, child in _products(module):
        if isinstance(child, NodeProduct):
            yield parent, name, child


def _products(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Outermost products only, since a backend may contain others."""
    for name, child in module._modules.items():
        if isinstance(child, TensorProduct | NodeProduct):
            yield module, name, child
        elif child is not None:
            yield from _products(child)
