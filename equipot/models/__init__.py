"""Potentials and the one factory that builds them."""

from equipot.models.build import build_potential as build_potential
from equipot.models.build import check_model as check_model
from equipot.models.potential import Potential as Potential
from equipot.models.prediction import Prediction as Prediction
