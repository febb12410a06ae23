"""Plan of the derivatives of a prediction and of its differentiability."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class DerivativePlan:
    """Derivatives to take in one evaluation of a potential."""

    first: bool
    """Whether the energy is differentiated by positions or strain."""
    strain: bool
    """Whether the geometry is differentiable by strain."""
    second: bool
    """Whether forces are differentiated by positions."""
    create_graph: bool
    """Whether the prediction itself can be differentiated."""
    tabulate: bool
    """Whether radial functions are tabulated; see `EdgeGeometry.tabulate`."""

    @classmethod
    def of(
        cls, outputs: Collection[str], *, create_graph: bool, trainable: bool
    ) -> "DerivativePlan":
        """Plan for given outputs.

        Args:
            outputs: Requested outputs.
            create_graph: Whether the prediction must be differentiable.
            trainable: Whether any weight requires gradients.
        """
        second = "hessian" in outputs
        return cls(
            first=bool({"forces", "stress", "stresses", "hessian"} & set(outputs)),
            strain="stress" in outputs,
            second=second,
            create_graph=create_graph,
            # With constant weights, the graph serves second derivatives by positions.
            tabulate=(second or create_graph) and not (create_graph and trainable),
        )

    @property
    def keep_first(self) -> bool:
        """Whether first derivatives must be differentiable."""
        return self.create_graph or self.second

    @property
    def constant_weights(self) -> bool:
        """Whether weights are excluded from the graph."""
        return self.second and not self.create_graph
