"""Where a potential holds: what its training set was like, and how far a structure is.

The package knows training sets and structures, but no models and no files.
"""

from equipot.domain.domain import Domain as Domain
from equipot.domain.domain import Pairs as Pairs
from equipot.domain.extrapolation import ExtrapolationEvent as ExtrapolationEvent
from equipot.domain.features import FeatureCloud as FeatureCloud
