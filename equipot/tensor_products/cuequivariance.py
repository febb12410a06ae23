"""Clebsch-Gordan product by NVIDIA's cuEquivariance, an optional package."""

from importlib.util import find_spec
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.graph.connectivity import Connectivity
from equipot.so3 import spherical_harmonics, wigner_3j
from equipot.tensor_products.base import BackendUnavailableError, TensorProduct
from equipot.tensor_products.spec import TensorProductSpec
from equipot.tensor_products.weights import path_weights

OPERANDS = "u,iu,j,ku+ijk"
"""Weights, features and harmonics to messages; u runs over channels."""


class CuEquivarianceEdges(NamedTuple):
    """Harmonics of the edges."""

    harmonics: Float[Tensor, "edges sph_filter"]
    connectivity: Connectivity


@final
class CuEquivariance(TensorProduct[CuEquivarianceEdges]):
    """Clebsch-Gordan couplings as a segmented polynomial of cuEquivariance.

    The couplings are those of this package, so phase conventions agree. On the CPU the
    polynomial is evaluated by plain PyTorch code of cuEquivariance, on GPUs by its
    closed-source kernels, which are required there.

    Raises:
        BackendUnavailableError: If the package is not installed.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        if (reason := unavailable(torch.device("cpu"))) is not None:
            raise BackendUnavailableError(f"backend 'cuequivariance': {reason}")
        # Not registered as submodules: their buffers would enter the state dict.
        self._polynomials: dict[tuple[int, torch.device], Any] = {}

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """None: all are supported; weights per degree are expanded first."""
        return None

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> CuEquivarianceEdges:
        """Harmonics of the edges."""
        harmonics = spherical_harmonics(self.spec.lmax_filter, directions)
        return CuEquivarianceEdges(harmonics, connectivity)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: CuEquivarianceEdges,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node."""
        nodes, channels = len(x), x.shape[2]
        if not len(weights):  # version 0.13 treats empty indices as no indexing
            zeros = x.new_zeros(nodes, self.spec.num_outputs, channels)
            return zeros + x[:0].sum() + weights.sum()
        (messages,) = self._polynomial(channels, x.device)(
            [
                path_weights(self.spec, weights).flatten(1),
                x.flatten(1),
                edges.harmonics,
            ],
            input_indices={1: edges.connectivity.senders},
            output_shapes={0: x.new_empty(nodes, 1)},
            output_indices={0: edges.connectivity.receivers},
        )
        return messages.unflatten(1, (-1, channels))

    def _polynomial(self, channels: int, device: torch.device) -> Any:
        """Compiled polynomial for a number of channels, created on first use."""
        key = (channels, device)
        if key not in self._polynomials:
            if (reason := unavailable(device)) is not None:
                raise BackendUnavailableError(f"backend 'cuequivariance': {reason}")
            self._polynomials[key] = _compile(self.spec, channels, device)
        return self._polynomials[key]


def unavailable(device: torch.device) -> str | None:
    """Reason why the backend cannot run on a device, with the remedy, or None."""
    if find_spec("cuequivariance") is None or find_spec("cuequivariance_torch") is None:
        return (
            "the packages cuequivariance and cuequivariance-torch are not installed: "
            "pip install 'cuequivariance>=0.13,<0.14' "
            "'cuequivariance-torch>=0.13,<0.14'"
        )
    if device.type == "cuda" and find_spec("cuequivariance_ops_torch") is None:
        major = (torch.version.cuda or "13").split(".")[0]
        return (
            "its GPU kernels are not installed: pip install "
            f"cuequivariance-ops-torch-cu{major} (closed source, NVIDIA's license)"
        )
    return None


def _compile(spec: TensorProductSpec, channels: int, device: torch.device) -> Any:
    import cuequivariance as cue  # noqa: PLC0415 - optional, and slow to import
    from cuequivariance_torch import SegmentedPolynomial  # noqa: PLC0415

    product = cue.SegmentedTensorProduct.from_subscripts(OPERANDS)
    for degree in range(spec.lmax_in + 1):
        product.add_segment(1, (2 * degree + 1, channels))
    for degree in range(spec.lmax_filter + 1):
        product.add_segment(2, (2 * degree + 1,))
    summed = spec.accumulate == "sum"
    if summed:
        for degree in range(spec.lmax_out + 1):
            product.add_segment(3, (2 * degree + 1, channels))
    for path, alpha in zip(spec.paths, spec.path_coefficients(), strict=True):
        coupling = alpha * wigner_3j(*path)
        product.add_path(
            None,
            path.l_in,
            path.l_filter,
            path.l_out if summed else None,
            c=coupling.numpy(),
            dims={"u": channels},
        )
    on_gpu = device.type == "cuda"
    if on_gpu:  # the kernels require one mode, u, and one segment per component
        product = product.flatten_modes("ijk")
    polynomial = SegmentedPolynomial(
        cue.SegmentedPolynomial.eval_last_operand(product),
        method="uniform_1d" if on_gpu else "naive",
    )
    return polynomial.to(device)
