"""Potentials and the factory that builds them."""

from equipot.models.build import build_potential as build_potential
from equipot.models.build import check_model as check_model
from equipot.models.build import with_backend as with_backend
from equipot.models.committee import Committee as Committee
from equipot.models.direct import direct_hessian as direct_hessian
from equipot.models.energy_model import EnergyModel as EnergyModel
from equipot.models.hessian_vector import (
    hessian_vector_products as hessian_vector_products,
)
from equipot.models.potential import Potential as Potential
from equipot.models.prediction import Prediction as Prediction
