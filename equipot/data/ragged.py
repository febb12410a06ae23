"""Square matrices of different sizes in one flat vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RaggedMatrices:
    """Hessians of a batch, some of which may be absent."""

    values: Float[Tensor, " entries"]
    """Rows of the matrices, one after the other."""
    sizes: Int[Tensor, " graphs"]
    """Rows of each matrix; 0 where it is absent."""

    @classmethod
    def of(cls, matrices: Sequence[Float[Tensor, "_n _n"] | None]) -> "RaggedMatrices":
        """Join matrices; None for those that are absent."""
        present = [m.reshape(-1) for m in matrices if m is not None]
        values = torch.cat(present) if present else torch.zeros(0, dtype=torch.float64)
        sizes = [0 if m is None else len(m) for m in matrices]
        return cls(values, torch.tensor(sizes, dtype=torch.int64))

    @property
    def matrices(self) -> list[Float[Tensor, "_n _n"] | None]:
        """Views of the matrices; None for those that are absent."""
        sizes = self.sizes.tolist()
        parts = self.values.split([n * n for n in sizes])
        return [
            part.view(n, n) if n else None for part, n in zip(parts, sizes, strict=True)
        ]

    def to(self, device: torch.device | str) -> "RaggedMatrices":
        """Copy on another device."""
        return RaggedMatrices(self.values.to(device), self.sizes.to(device))
