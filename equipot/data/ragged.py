"""Square matrices of different sizes in one flat vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RaggedMatrices:
    """Hessians of a batch, some of which may be missing."""

    values: Float[Tensor, " entries"]
    """Entries of the matrices, row by row, concatenated."""
    sizes: Int[Tensor, " graphs"]
    """Number of rows of each matrix; 0 if it is missing."""

    @classmethod
    def of(cls, matrices: Sequence[Float[Tensor, "_n _n"] | None]) -> "RaggedMatrices":
        """Concatenate matrices; None for missing ones."""
        present = [m.reshape(-1) for m in matrices if m is not None]
        values = torch.cat(present) if present else torch.zeros(0, dtype=torch.float64)
        sizes = [0 if m is None else len(m) for m in matrices]
        return cls(values, torch.tensor(sizes, dtype=torch.int64))

    @property
    def matrices(self) -> list[Float[Tensor, "_n _n"] | None]:
        """Views of the matrices; None for missing ones."""
        sizes = self.sizes.tolist()
        parts = self.values.split([n * n for n in sizes])
        return [
            part.view(n, n) if n else None for part, n in zip(parts, sizes, strict=True)
        ]

    def to(self, device: torch.device | str) -> "RaggedMatrices":
        """Copy on another device."""
        return RaggedMatrices(self.values.to(device), self.sizes.to(device))
