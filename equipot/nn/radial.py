"""Functions of the length of an edge."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.activation import silu
from equipot.constants import Constant, stored_constant
from equipot.nn.gate import SILU_GAIN


@final
class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of order zero that vanish at the cutoff.

    .. math:: b_n(r) = \sqrt{\frac{2}{r_c}} \, \frac{\sin(k_n r)}{r}, \qquad
              k_n = n \pi / r_c

    Args:
        cutoff: Radius r_c in Å.
        num_basis: Number of functions.
        trainable: Whether the wave numbers k are weights.
        stored: Whether they are weights that are not trained, as in converted models:
            those of an original in float32 are rounded.

    Source:
        J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, eq. 7.
    """

    def __init__(
        self,
        cutoff: float,
        num_basis: int,
        *,
        trainable: bool = False,
        stored: bool = False,
    ) -> None:
        super().__init__()
        self._norm = math.sqrt(2 / cutoff)
        order = torch.arange(1, num_basis + 1, dtype=torch.float64, device="cpu")
        wave_numbers = order * math.pi / cutoff
        self._constant = Constant(wave_numbers)
        self.wave_numbers: nn.Parameter | None = None
        if trainable:
            self.wave_numbers = nn.Parameter(wave_numbers.to(torch.get_default_dtype()))
        elif stored:
            self.wave_numbers = stored_constant(wave_numbers.tolist())

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


@final
class SmoothBesselBasis(nn.Module):
    r"""Orthonormal functions that vanish at the cutoff with their derivative.

    From :math:`f_n \propto j_0(k_n r) + j_0(k_{n+1} r)` with :math:`k_n = n \pi / r_c`
    by orthogonalization in the order of n.

    Args:
        cutoff: Radius r_c in Å.
        num_basis: Number of functions.

    Source:
        E. Kocer, J. K. Mason, H. Erturk, AIP Advances 10, 015021 (2020).
    """

    def __init__(self, cutoff: float, num_basis: int) -> None:
        super().__init__()
        order = torch.arange(1, num_basis + 2, dtype=torch.float64, device="cpu")
        self._wave_numbers = Constant(order * math.pi / cutoff)
        self._coefficients = Constant(_smooth_bessel_coefficients(cutoff, num_basis))

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis"]:
        """Values at positive lengths in Å."""
        phase = lengths * self._wave_numbers.like(lengths)
        return (torch.sin(phase) / phase) @ self._coefficients.like(lengths)

    def at_zero(self, like: Tensor) -> Float[Tensor, "1 num_basis"]:
        """Limit at length zero, with the precision and on the device of a tensor."""
        return self._coefficients.like(like).sum(0, keepdim=True)


def _smooth_bessel_coefficients(
    cutoff: float, num_basis: int
) -> Float[Tensor, "num_basis_plus_1 num_basis"]:
    """Factors of the spherical Bessel functions j_0 in each smooth function."""
    out = torch.zeros(num_basis + 1, num_basis, dtype=torch.float64, device="cpu")
    d = 1.0
    for n in range(num_basis):
        e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
        d, before = 1 - e / d, d
        norm = math.sqrt(2) * math.pi / cutoff**1.5
        factor = (-1) ** n * norm * (n + 1) * (n + 2) / math.hypot(n + 1, n + 2)
        out[n : n + 2, n] += factor
        if n > 0:
            out[:, n] += math.sqrt(e / before) * out[:, n - 1]
        out[:, n] /= math.sqrt(d)
    return out


def cosine_envelope(x: Float[Tensor, "edges 1"]) -> Float[Tensor, "edges 1"]:
    r"""Half a period of a cosine, which falls from 1 to 0 between 0 and 1.

    .. math:: u(x) = \tfrac{1}{2} (1 + \cos \pi x)

    The second derivative jumps at 1, and so do Hessians: for models that were trained
    with it, not for new ones.

    Args:
        x: Length divided by the cutoff.

    Source:
        J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    """
    return 0.5 * (1 + torch.cos(math.pi * x.clamp(max=1.0)))


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
        if not bias:
            self._keep_variance()

    def _keep_variance(self) -> None:
        """Draw weights so that no layer shrinks what passes it: there are no biases."""
        gain = 1.0
        for layer in [*self.hidden, self.output]:
            width = layer.weight.shape[1]
            nn.init.normal_(layer.weight, std=gain / width**0.5)
            gain = SILU_GAIN

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
