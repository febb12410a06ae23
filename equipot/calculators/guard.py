"""Guard of the calculator against extrapolation."""

import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from jaxtyping import Float
from torch import Tensor

from equipot.domain import Domain, ExtrapolationEvent
from equipot.models.committee import CommitteePrediction
from equipot.models.prediction import Prediction
from equipot.neighbors import NeighborList

ACTIONS = ("error", "warn", "record", "ignore")


class ExtrapolationError(CalculationFailed):
    """A structure is outside the domain of validity of the potential.

    Args:
        events: Extrapolation events of the structure.
        structure: Description of the structure; empty for the only one.
    """

    def __init__(
        self, events: Sequence[ExtrapolationEvent], structure: str = ""
    ) -> None:
        self.extrapolation_events = tuple(events)
        found = "\n  ".join(str(event) for event in events)
        if structure:
            found = f"{structure}: {found}"
        super().__init__(
            f"{found}\nThe potential extrapolates. Use another structure, train "
            "on similar data, or allow it with on_extrapolation='warn' or 'record'"
        )


class Guard:
    """Compare structures and predictions with the domains of the members.

    Args:
        domains: Domain of each member, in order; None without a domain.
        action: One of `ACTIONS`; "ignore" skips the check.
        max_spread: Maximum standard deviation in eV/Å of the force on an atom between
            members; None disables the check.

    Raises:
        ValueError: If the action is unknown, or `max_spread` has no committee.
    """

    def __init__(
        self,
        domains: Sequence[Domain | None],
        action: str,
        max_spread: float | None,
    ) -> None:
        if action not in ACTIONS:
            raise ValueError(
                "on_extrapolation must be 'error', 'warn', 'record' or 'ignore', got "
                f"{action!r}"
            )
        if max_spread is not None and (len(domains) < 2 or not max_spread > 0):
            raise ValueError(
                f"max_spread is {max_spread}: it needs a committee of two or more "
                "potentials, and a positive value in eV/Å"
            )
        self.action = action
        self.max_spread = max_spread
        self._domains = domains
        self._warned: set[tuple[str, str]] = set()

    @property
    def compares(self) -> bool:
        """Whether there is anything that structures are compared with."""
        known = any(domain is not None and domain.is_known for domain in self._domains)
        return self.action != "ignore" and (known or self.max_spread is not None)

    @property
    def needs_features(self) -> bool:
        """Whether predictions must contain features."""
        return self.action != "ignore" and any(
            domain is not None and domain.features is not None
            for domain in self._domains
        )

    def watch(
        self, atoms: Atoms, pairs: NeighborList, prediction: Prediction | None
    ) -> tuple[ExtrapolationEvent, ...]:
        """Find extrapolation events of a structure and of its prediction.

        Args:
            atoms: Structure.
            pairs: Its neighbor list.
            prediction: Its prediction; None to check the structure only.

        Returns:
            Unique events.
        """
        if self.action == "ignore":
            return ()
        found: list[ExtrapolationEvent] = []
        for domain in self._domains:
            if domain is not None:
                found += domain.events_of_structure(atoms, pairs)
        if prediction is not None:
            found += self._of_predictions(atoms, pairs, prediction)
        if not found:
            return ()
        # members with the same training set have the same events
        unique = {(e.kind, e.subject, e.atoms): e for e in found}
        return tuple(unique.values())

    def act(self, events: Sequence[ExtrapolationEvent]) -> None:
        """Apply the action to extrapolation events.

        Args:
            events: Extrapolation events.

        Raises:
            ExtrapolationError: If there are events and the action is "error".
        """
        if events and self.action == "error":
            raise ExtrapolationError(events)
        if self.action == "warn":
            self._warn(events)

    def _of_predictions(
        self, atoms: Atoms, pairs: NeighborList, prediction: Prediction
    ) -> list[ExtrapolationEvent]:
        if isinstance(prediction, CommitteePrediction):
            members: Sequence[Prediction] = prediction.members
            spread = self._spread(atoms, prediction)
        else:
            members, spread = (prediction,), None
        found = []
        for domain, member in zip(self._domains, members, strict=True):
            if domain is not None:
                features = member.features
                found += domain.events_of_prediction(
                    atoms,
                    pairs,
                    energy=member.energy.item(),
                    forces=_array(member.forces),
                    # their scores are computed in float64
                    features=None if features is None else features.cpu().numpy(),
                )
        return found if spread is None else [*found, spread]

    def _spread(
        self, atoms: Atoms, prediction: CommitteePrediction
    ) -> ExtrapolationEvent | None:
        spread = _array(prediction.forces_spread)
        if self.max_spread is None or spread is None or not len(spread):
            return None
        worst = int(spread.argmax())
        if spread[worst] <= self.max_spread:
            return None
        symbol = atoms.symbols[worst]
        return ExtrapolationEvent(
            "spread",
            symbol,
            (worst,),
            float(spread[worst]),
            self.max_spread,
            f"the committee members differ by {spread[worst]:.4g} eV/Å in the "
            f"force on atom {worst} ({symbol}), max_spread is {self.max_spread:g}",
        )

    def _warn(self, events: Sequence[ExtrapolationEvent]) -> None:
        """Warn once for each kind and subject, as steps may repeat an event."""
        for event in events:
            key = (event.kind, event.subject)
            if key not in self._warned:
                self._warned.add(key)
                warnings.warn(f"{event}: the potential extrapolates", stacklevel=4)


def _array(values: Tensor | None) -> Float[np.ndarray, "..."] | None:
    if values is None:
        return None
    out: np.ndarray = values.detach().double().cpu().numpy()
    return out
