"""Functions of the length of an edge."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.activation import silu
from equipot.constants import Constant


@final
class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of order zero that vanish at the cutoff.

    .. math:: b_n(r) = \sqrt{\frac{2}{r_c}} \, \frac{\sin(k_n r)}{r}, \qquad
              k_n = n \pi / r_c

    Args:
        cutoff: Radius r_c in Å.
        num_basis: Number of functions.
        trainable: Whether the wave numbers k are weights.

    Source:
        J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, eq. 7.
    """

    def __init__(
        self, cutoff: float, num_basis: int, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self._norm = math.sqrt(2 / cutoff)
        order = torch.arange(1, num_basis + 1, dtype=torch.float64, device="cpu")
        wave_numbers = order * math.pi / cutoff
        self._constant = Constant(wave_numbers)
        self.wave_numbers: nn.Parameter | None = None
        if trainable:
            self.wave_numbers = nn.Parameter(wave_numbers.to(torch.get_default_dtype()))

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis"]:
        """Values at positive lengths in Å."""
        return torch.sin(lengths * self._wave_numbers(lengths)) * (self._norm / lengths)

    def at_zero(self, like: Tensor) -> Float[Tensor, "1 num_basis"]:
        """Limit at length zero, with the precision and on the device of a tensor."""
        return self._norm * self._wave_numbers(like)[None]

    def _wave_numbers(self, like: Tensor) -> Float[Tensor, " num_basis"]:
        """In 1/Å, with the precision and on the device of a tensor."""
        if self.wave_numbers is None:
            return self._constant.like(like)
        return self.wave_numbers


def polynomial_envelope(
    x: Float[Tensor, "edges 1"], power: int
) -> Float[Tensor, "edges 1"]:
    r"""Polynomial that falls from 1 to 0 between 0 and 1, and is 0 beyond.

    .. math:: u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p (p+2) x^{p+1}
                       - \tfrac{p (p+1)}{2} x^{p+2}

    Its first two derivatives vanish at 1: forces and Hessians are continuous.

    Args:
        x: Length divided by the cutoff.
        power: Order p; it is flat to order p - 1 at zero.

    Source:
        J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, eq. 8.
    """
    p = power
    x = x.clamp(max=1.0)
    return 1 + x**p * (
        -(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2))
    )


def xplor_envelope(
    lengths: Float[Tensor, "edges 1"], onset: float, cutoff: float
) -> Float[Tensor, "edges 1"]:
    r"""Polynomial that is 1 up to an onset and falls to 0 at the cutoff.

    .. math:: u(r) = \frac{(r_c^2 - r^2)^2 (r_c^2 + 2 r^2 - 3 r_o^2)}{(r_c^2 - r_o^2)^3}

    The second derivative jumps at both ends, and so do Hessians: for models that were
    trained with it, not for new ones.

    Args:
        lengths: In Å.
        onset: Radius r_o in Å.
        cutoff: Radius r_c in Å.

    Source:
        A. T. Brünger, *X-PLOR* (Yale University Press, 1992), switching function.
    """
    square = lengths.clamp(min=onset, max=cutoff).square()
    outer, inner = cutoff**2, onset**2
    fall = (outer - square).square() * (outer + 2 * square - 3 * inner)
    return fall / (outer - inner) ** 3


@final
class RadialInputs(nn.Module):
    """Radial functions and envelope of edges: what radial MLPs are functions of.

    Args:
        basis: Radial functions of lengths in Å.
        envelope: Factor that vanishes at the cutoff, of lengths in Å.
        transform: Map of lengths in Å, and of the elements of both atoms, to those that
            the radial functions are evaluated at; symmetric in the elements.
    """

    def __init__(
        self,
        basis: nn.Module,
        envelope: Callable[[Tensor], Tensor],
        transform: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.basis = basis
        self.envelope = envelope
        self.transform = transform

    def forward(
        self, lengths: Float[Tensor, "edges 1"], elements: Int[Tensor, "2 edges"]
    ) -> tuple[Float[Tensor, "edges num_basis"], Float[Tensor, "edges 1"]]:
        """Radial functions and envelope at positive lengths.

        Args:
            lengths: In Å.
            elements: Indices of the elements of the two atoms of each edge.
        """
        envelope = self.envelope(lengths)
        at = lengths if self.transform is None else self.transform(lengths, elements)
        return self.basis(at), envelope


@final
class RadialMLP(nn.Module):
    """Weights of a tensor product as a function of the length of the edge.

    All weights vanish smoothly at the cutoff. By default the envelope multiplies the
    last hidden layer, and hidden layers have biases. In an MLP without biases it may
    multiply the radial functions instead, which need not vanish there otherwise.

    Args:
        num_basis: Radial functions.
        hidden: Widths of the hidden layers.
        num_outputs: Weights of an edge.
        bias: Whether hidden layers have biases.
        envelope_on: Whether the envelope multiplies the radial functions or the last
            hidden layer.

    Raises:
        ValueError: If biases would leave a step at the cutoff.
    """

    def __init__(
        self,
        num_basis: int,
        hidden: Sequence[int],
        num_outputs: int,
        *,
        bias: bool = True,
        envelope_on: Literal["input", "output"] = "output",
    ) -> None:
        super().__init__()
        if bias and envelope_on == "input":
            raise ValueError(
                "with an envelope on the radial functions, biases leave a step at the "
                "cutoff: use bias=False or envelope_on='output'"
            )
        widths = [num_basis, *hidden]
        self.envelope_on = envelope_on
        self.hidden = nn.ModuleList(
            nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], num_outputs, bias=False)

    def forward(
        self,
        basis: Float[Tensor, "edges num_basis"],
        envelope: Float[Tensor, "edges 1"],
        activation: Callable[[Tensor], Tensor] = silu,
    ) -> Float[Tensor, "edges num_outputs"]:
        """Evaluate on all edges.

        Args:
            basis: Radial functions of each edge.
            envelope: Factor that vanishes at the cutoff.
            activation: The same function as `equipot.autodiff.activation.silu`,
                differentiated in another way.
        """
        if self.envelope_on == "input":
            basis = basis * envelope
        h = basis
        for layer in self.hidden:
            h = activation(layer(h))
        return self.output(h if self.envelope_on == "input" else h * envelope)


@final
class WithLengths(nn.Module):
    """Radial functions, and the length itself after them.

    Args:
        basis: Radial functions of lengths in Å.
    """

    def __init__(self, basis: nn.Module) -> None:
        super().__init__()
        self.basis = basis

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis_1"]:
        """Values at positive lengths in Å."""
        return torch.cat([self.basis(lengths), lengths], dim=1)


@final
class SolidRadialMLP(nn.Module):
    """Weights of a tensor product, times powers of the length of the edge.

    Powers that are degrees of harmonics of the direction make them solid harmonics of
    the vector.

    Args:
        mlp: Weights without the powers.
        powers: Of the length in Å, one for each weight.
    """

    def __init__(self, mlp: RadialMLP, powers: Sequence[int]) -> None:
        super().__init__()
        self.mlp = mlp
        self._powers = Constant([float(power) for power in powers])

    def forward(
        self,
        basis: Float[Tensor, "edges num_basis_1"],
        envelope: Float[Tensor, "edges 1"],
        activation: Callable[[Tensor], Tensor] = silu,
    ) -> Float[Tensor, "edges num_outputs"]:
        """Evaluate on all edges.

        Args:
            basis: Result of `WithLengths`.
            envelope: Factor that vanishes at the cutoff.
            activation: As for `RadialMLP`.
        """
        functions, lengths = basis[:, :-1], basis[:, -1:]
        weights = self.mlp(functions, envelope, activation)
        return weights * lengths ** self._powers.like(lengths)


def draw_weights(mlp: RadialMLP, gains: Sequence[float]) -> None:
    """Draw the matrices of an MLP from a normal distribution.

    Args:
        mlp: Changed in place; biases stay as they are.
        gains: Standard deviation of each matrix, the last one included, times the root
            of its number of inputs. SiLU halves the scale of what it is applied to,
            which gains above 1 make up for.
    """
    layers: list[nn.Linear] = [*mlp.hidden, mlp.output]
    for layer, gain in zip(layers, gains, strict=True):
        nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
