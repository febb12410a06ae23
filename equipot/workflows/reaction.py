"""Verified transition state: saddle point, reaction path and adjacent minima."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from ase import Atoms

from equipot.workflows.images import superimposed
from equipot.workflows.path import DROP_TOLERANCE, ReactionPath, reaction_path
from equipot.workflows.relax import relax
from equipot.workflows.second_derivatives import HessianFunction
from equipot.workflows.vibrations import MAX_STATIONARY_FORCE, Vibrations, vibrations

MAX_SAME_STRUCTURE_DISTANCE_A: Final = 0.1
"""Largest distance in Å between atoms of two structures that count as the same."""

END_RELAXATION_FORCE: Final = 1e-4
"""Convergence threshold in eV/Å for the relaxation of the ends of a path."""


@dataclass(frozen=True)
class Reaction:
    """A saddle point, the path through it, and the minima at its ends.

    Attributes:
        saddle: Modes at the saddle point.
        path: Steepest descent to both sides.
        start: Modes at the minimum that the first frame relaxes to.
        end: Modes at the minimum that the last frame relaxes to.
        tolerance: Largest energy gap between an end of the path and its minimum,
            relative to the energy drop.
        asked: Requested minima, relaxed, if the path is to connect given ones.
    """

    saddle: Vibrations
    path: ReactionPath
    start: Vibrations
    end: Vibrations
    tolerance: float = DROP_TOLERANCE
    asked: tuple[Atoms, Atoms] | None = None

    @property
    def per(self) -> str:
        """Reference amount of the energies, such as ``per molecule of C2H4O``."""
        return self.saddle.per

    @property
    def gaps(self) -> tuple[float, float]:
        """Energies in eV of both ends of the path relative to their minima."""
        first, last = float(self.path.energies[0]), float(self.path.energies[-1])
        return first - self.start.energy, last - self.end.energy

    @property
    def barriers(self) -> tuple[float, float]:
        """Barriers in eV from the start and from the end."""
        top = self.saddle.energy
        return top - self.start.energy, top - self.end.energy

    @property
    def zero_point_barriers(self) -> tuple[float, float]:
        """Barriers in eV including zero-point energies."""
        zero = self.saddle.zero_point_energy
        forward, backward = self.barriers
        return (
            forward + zero - self.start.zero_point_energy,
            backward + zero - self.end.zero_point_energy,
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Reasons why this is not a verified transition state; empty if it is."""
        return tuple(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.saddle.max_force > MAX_STATIONARY_FORCE:
            yield f"the largest force at the saddle is {self.saddle.max_force:.3f} eV/Å"
        if self.saddle.num_imaginary != 1:
            number = self.saddle.num_imaginary
            yield f"the saddle point has {number} imaginary modes, expected exactly one"
        for side, minimum in (("start", self.start), ("end", self.end)):
            if minimum.max_force > MAX_STATIONARY_FORCE:
                yield (
                    f"the {side} is not relaxed: the largest force is "
                    f"{minimum.max_force:.3f} eV/Å"
                )
            if minimum.num_imaginary:
                count = minimum.num_imaginary
                modes = f"{count} imaginary mode{'s' * (count != 1)}"
                yield f"the {side} is not a minimum: {modes}"
            elif (minimum.frequencies < -minimum.resolution).any():
                lowest = abs(minimum.frequencies[0])
                yield f"the {side} may not be a minimum: a mode of {lowest:.1f}i cm-1"
            if minimum.energy >= self.saddle.energy:
                yield f"the {side} is not lower in energy than the saddle point"
        yield from self._gaps()
        yield from self._other_ends()
        if _moved(self.start.atoms, self.end.atoms) < MAX_SAME_STRUCTURE_DISTANCE_A:
            yield "both sides of the path lead to the same structure"

    def _gaps(self) -> Iterator[str]:
        """Sides of the path that end above their minimum."""
        for side, gap, drop, reason in zip(
            ("start", "end"),
            self.gaps,
            self.barriers,
            self.path.unfinished,
            strict=True,
        ):
            if reason is None and gap <= self.tolerance * max(drop, 0.0):
                continue
            yield (
                f"the path does not reach the {side}: it ends {1e3 * gap:.3g} meV "
                f"above it, with a total drop of {1e3 * drop:.3g} meV"
                f"{'' if reason is None else f'; {reason}'}"
            )

    def _other_ends(self) -> Iterator[str]:
        """Ends that differ from the requested minima."""
        ends = (self.start.atoms, self.end.atoms)
        for side, wanted, found in zip(
            ("start", "end"), self.asked or (), ends, strict=False
        ):
            distance = largest_distance(wanted, found)
            if distance > MAX_SAME_STRUCTURE_DISTANCE_A:
                yield (
                    f"the path leads to another {side} than the given one (largest "
                    f"distance of an atom {distance:.2f} Å): there may be several "
                    "barriers with intermediate minima"
                )

    def between(self, start: Atoms, end: Atoms) -> "Reaction":
        """The same reaction in the direction from one given minimum to another.

        Args:
            start: First minimum, relaxed.
            end: Second minimum, relaxed; `problems` reports if the path leads to
                others.
        """
        return replace(self.from_start(start), asked=(start, end))

    def from_start(self, start: Atoms) -> "Reaction":
        """The same reaction in the direction that starts nearer to a structure."""
        here, there = self.start.atoms, self.end.atoms
        if largest_distance(start, here) <= largest_distance(start, there):
            return self
        path = ReactionPath(
            frames=self.path.frames[::-1],
            energies=self.path.energies[::-1].copy(),
            lengths=-self.path.lengths[::-1],
            saddle=len(self.path.frames) - 1 - self.path.saddle,
            unfinished=self.path.unfinished[::-1],
        )
        return replace(self, path=path, start=self.end, end=self.start)

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers, with the units in the names."""
        return {
            "verified": not self.problems,
            "problems": list(self.problems),
            "per": self.per,
            "barriers_ev": list(self.barriers),
            "zero_point_barriers_ev": list(self.zero_point_barriers),
            "saddle": self.saddle.record(),
            "start": self.start.record(),
            "end": self.end.record(),
            "path": {
                "energies_ev": self.path.energies.tolist(),
                "lengths_angstrom_root_amu": self.path.lengths.tolist(),
                "saddle_frame": self.path.saddle,
                "unfinished": list(self.path.unfinished),
                "ends_above_minima_ev": list(self.gaps),
                "tolerance": self.tolerance,
            },
        }


def reaction_through(
    saddle: Atoms,
    hessian: HessianFunction,
    *,
    step: float = 0.1,
    tolerance: float = DROP_TOLERANCE,
    max_steps: int = 150,
) -> Reaction:
    """Follow the reaction path from a saddle point and relax both ends.

    Args:
        saddle: Converged saddle point with a calculator.
        hessian: Hessian function of the same energy.
        step: Length of a step of the path in Å amu^1/2.
        tolerance: Largest energy gap between an end of the path and its minimum,
            relative to the energy drop.
        max_steps: Largest number of steps of the path to each side.

    Returns:
        The reaction; `Reaction.problems` is empty if it is verified.

    Raises:
        ValueError: If no curvature at the structure is negative.
    """
    path = reaction_path(
        saddle, hessian, step=step, tolerance=tolerance, max_steps=max_steps
    )
    return Reaction(
        saddle=vibrations(saddle, hessian),
        path=path,
        start=_minimum(path.frames[0], saddle, hessian),
        end=_minimum(path.frames[-1], saddle, hessian),
        tolerance=tolerance,
    )


def largest_distance(a: Atoms, b: Atoms) -> float:
    """Largest distance in Å between corresponding atoms of two superimposed structures.

    Periodic images, common translations and, for molecules, rotations are removed.
    """
    return float(
        np.linalg.norm(superimposed(a, b).positions - a.positions, axis=1).max()
    )


def _moved(start: Atoms, end: Atoms) -> float:
    """Largest distance in Å that an atom has moved from one end to the other.

    In a periodic structure an atom that moves to its own periodic image counts as
    moved.
    """
    if not start.pbc.any():
        return largest_distance(start, end)
    moved = end.positions - start.positions
    if not start.constraints:
        moved = moved - moved.mean(axis=0)
    return float(np.linalg.norm(moved, axis=1).max())


def _minimum(frame: Atoms, saddle: Atoms, hessian: HessianFunction) -> Vibrations:
    start = frame.copy()
    start.calc = saddle.calc
    atoms = relax(start, hessian, fmax=END_RELAXATION_FORCE).atoms
    atoms.calc = saddle.calc
    return vibrations(atoms, hessian)
