"""Committees: mean and spread of several potentials."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.potential import Potential
from equipot.models.prediction import Prediction


@dataclass(frozen=True)
class CommitteePrediction(Prediction):
    """Mean and standard deviations (n - 1) of the predictions of the members."""

    members: tuple[Prediction, ...] = ()
    """Predictions of the members."""

    @classmethod
    def of(cls, members: Sequence[Prediction]) -> "CommitteePrediction":
        """Mean of the predictions of the members."""
        return cls(
            energy=torch.stack([p.energy for p in members]).mean(dim=0),
            energies=torch.stack([p.energies for p in members]).mean(dim=0),
            forces=_mean([p.forces for p in members]),
            stress=_mean([p.stress for p in members]),
            stresses=_mean([p.stresses for p in members]),
            hessian=_mean_blocks([p.hessian for p in members]),
            members=tuple(members),
        )

    @property
    def energy_spread(self) -> Float[Tensor, " graphs"]:
        """Standard deviation of the energy in eV."""
        return torch.stack([m.energy for m in self.members]).std(dim=0)

    @property
    def forces_spread(self) -> Float[Tensor, " atoms"] | None:
        """Standard deviation of the force on each atom in eV/Å, over all directions."""
        if self.forces is None:
            return None
        forces = torch.stack([cast(Tensor, m.forces) for m in self.members])
        return forces.var(dim=0).sum(dim=1).sqrt()

    def split(self, num_atoms: Sequence[int]) -> list[Prediction]:
        """Predictions of the single structures of a batch, with those of the members.

        Args:
            num_atoms: Number of atoms of each structure, in the order of the batch.
        """
        members = zip(*(m.split(num_atoms) for m in self.members), strict=True)
        return [
            CommitteePrediction(
                mean.energy,
                mean.energies,
                mean.forces,
                mean.stress,
                stresses=mean.stresses,
                members=of_members,
            )
            for mean, of_members in zip(super().split(num_atoms), members, strict=True)
        ]


@final
class Committee(nn.Module):
    """Committee of independently trained potentials, for example with different seeds.

    Energies, forces, stress and Hessians are means over members, so forces are
    derivatives of the energy.

    Args:
        members: At least two potentials, on one device and in one precision.

    Raises:
        ValueError: If there are fewer, or their elements, devices or precisions differ.
    """

    def __init__(self, members: Sequence[Potential]) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(
                f"a committee needs at least two potentials, got {len(members)}"
            )
        for name in ("elements", "device", "dtype"):
            values = [getattr(member, name) for member in members]
            if any(value != values[0] for value in values):
                raise ValueError(
                    f"the members of a committee must agree in {name}, got "
                    f"{', '.join(map(str, values))}"
                )
        self.members = nn.ModuleList(members)

    @property
    def potentials(self) -> list[Potential]:
        """The members."""
        return cast(list[Potential], list(self.members))

    @property
    def cutoff(self) -> float:
        """Largest radius in Å within which atoms of a member exchange messages."""
        return max(member.cutoff for member in self.potentials)

    @property
    def num_layers(self) -> int:
        """Largest number of message-passing steps."""
        return max(member.num_layers for member in self.potentials)

    @property
    def elements(self) -> tuple[int, ...]:
        """Supported atomic numbers."""
        return self.potentials[0].elements

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point precision of the members."""
        return self.potentials[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.potentials[0].device

    @property
    def backend(self) -> str:
        """Names of the distinct tensor-product backends of the members."""
        return ", ".join(sorted({member.backend for member in self.potentials}))

    def forward(
        self,
        graph: AtomicGraph,
        outputs: Collection[str] = ("energy", "forces", "stress"),
        *,
        create_graph: bool | None = None,
    ) -> CommitteePrediction:
        """Predictions of all members and their mean.

        Args:
            graph: Graph with at least the cutoff of the committee.
            outputs: Outputs to compute; direct Hessians and features are available for
                members only.
            create_graph: Whether predictions can be differentiated.

        Raises:
            ValueError: As for a potential.
        """
        return CommitteePrediction.of(
            [
                member(graph, outputs, create_graph=create_graph)
                for member in self.potentials
            ]
        )


def _mean(values: Sequence[Tensor | None]) -> Tensor | None:
    given = [value for value in values if value is not None]
    return torch.stack(given).mean(dim=0) if given else None


def _mean_blocks(
    values: Sequence[tuple[Tensor, ...] | None],
) -> tuple[Tensor, ...] | None:
    """Mean Hessian of each structure."""
    given = [value for value in values if value is not None]
    if not given:
        return None
    return tuple(torch.stack(blocks).mean(dim=0) for blocks in zip(*given, strict=True))
