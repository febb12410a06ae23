"""Direct Hessian of a potential with a head for it."""

from equipot.graph.atomic_graph import AtomicGraph
from equipot.heads import HessianBlocks
from equipot.models.potential import Potential


def direct_hessian(potential: Potential, graph: AtomicGraph) -> HessianBlocks:
    """Hessian predicted by the direct head, from one evaluation of the features.

    It is not the derivative of the energy: use it as initial Hessian of optimizers and
    to guide searches, and exact derivatives for frequencies and thermochemistry.

    Args:
        potential: Potential with a direct head, in any mode.
        graph: One structure or a batch, on the device of the potential.

    Returns:
        Blocks in eV/Å^2; ``matrices()[0]`` is the Hessian ``(3 N, 3 N)`` of the first
        structure.

    Raises:
        ValueError: If the potential has no direct head.
    """
    return potential.hessian_direct(graph)
