"""Which derivatives a prediction takes, and what may be differentiated afterwards."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class DerivativePlan:
    """Derivatives of one evaluation of a potential."""

    first: bool
    """Whether the energy is differentiated by positions or strain."""
    strain: bool
    """Whether the geometry can be differentiated by a strain."""
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
        """Plan for some outputs.

        Args:
            outputs: What is predicted.
            create_graph: Whether the prediction will be differentiated.
            trainable: Whether a weight requires gradients.
        """
        second = "hessian" in outputs
        return cls(
            first=bool({"forces", "stress", "stresses", "hessian"} & set(outputs)),
            strain="stress" in outputs,
            second=second,
            create_graph=create_graph,
            # with constant weights a graph is there for second derivatives by positions
            tabulate=(second or create_graph) and not (create_graph and trainable),
        )

    @property
    def keep_first(self) -> bool:
        """Whether first derivatives can be differentiated."""
        return self.create_graph or self.second

    @property
    def constant_weights(self) -> bool:
        """Whether weights are excluded from the graph."""
        return self.second and not self.create_graph
