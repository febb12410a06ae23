"""Domain of validity of a potential, from statistics of its training set.

The package depends on training sets and structures, but not on models and files.
"""

from equipot.domain.domain import Domain as Domain
from equipot.domain.extrapolation import ExtrapolationEvent as ExtrapolationEvent
from equipot.domain.features import FeatureDistribution as FeatureDistribution
