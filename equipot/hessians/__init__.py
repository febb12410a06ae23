"""Exact second and third derivatives of energies by positions and strain."""

from equipot.hessians.batch import hessians as hessians
from equipot.hessians.dense import hessian as hessian
from equipot.hessians.elastic import ElasticConstants as ElasticConstants
from equipot.hessians.elastic import elastic_constants as elastic_constants
from equipot.hessians.elastic import from_derivatives as from_derivatives
from equipot.hessians.modes import lowest_modes as lowest_modes
from equipot.hessians.moduli import Moduli as Moduli
from equipot.hessians.moduli import elastic_moduli as elastic_moduli
from equipot.hessians.moduli import turned_stiffness as turned_stiffness
from equipot.hessians.sparse import sparse_hessian as sparse_hessian
from equipot.hessians.strain import StrainDerivatives as StrainDerivatives
from equipot.hessians.strain import strain_derivatives as strain_derivatives
from equipot.hessians.third_order import (
    third_derivative_products as third_derivative_products,
)
from equipot.models.energy_model import EnergyModel as EnergyModel
from equipot.models.hessian_vector import (
    hessian_vector_products as hessian_vector_products,
)
