"""Building blocks of the networks."""

from equipot.nn.density import Density as Density
from equipot.nn.distance_transforms import AgnesiTransform as AgnesiTransform
from equipot.nn.distance_transforms import SoftTransform as SoftTransform
from equipot.nn.embedding import ElementEmbedding as ElementEmbedding
from equipot.nn.gate import Gate as Gate
from equipot.nn.gated_mlp import GatedMLP as GatedMLP
from equipot.nn.interaction import InteractionBlock as InteractionBlock
from equipot.nn.linear import DegreeLinear as DegreeLinear
from equipot.nn.linear import ElementLinear as ElementLinear
from equipot.nn.linear import PathLinear as PathLinear
from equipot.nn.linear import add_shared_degrees as add_shared_degrees
from equipot.nn.radial import BesselBasis as BesselBasis
from equipot.nn.radial import RadialInputs as RadialInputs
from equipot.nn.radial import RadialMLP as RadialMLP
from equipot.nn.radial import SmoothBesselBasis as SmoothBesselBasis
from equipot.nn.radial import cosine_envelope as cosine_envelope
from equipot.nn.radial import polynomial_envelope as polynomial_envelope
from equipot.nn.radial import xplor_envelope as xplor_envelope
from equipot.nn.radial_bases import ChebyshevBasis as ChebyshevBasis
from equipot.nn.radial_bases import GaussianBasis as GaussianBasis
