"""The direct Hessian of a potential that has a head for it."""

from equipot.graph.atomic_graph import AtomicGraph
from equipot.heads import HessianBlocks
from equipot.models.potential import Potential


def direct_hessian(potential: Potential, graph: AtomicGraph) -> HessianBlocks:
    """Second derivatives as a head predicts them: one evaluation of the features.

    They are learned, not derivatives of the energy: use them to start optimizers and to
    guide searches, and the derivatives for frequencies and thermochemistry.

    Args:
        potential: With a direct head; in any mode.
        graph: One structure or a batch, on the device of the potential.

    Returns:
        Blocks in eV/Å^2; ``matrices()[0]`` is the Hessian ``(3 N, 3 N)`` of the first
        structure.

    Raises:
        ValueError: If the potential has no direct head.
    """
    return potential.hessian_direct(graph)
