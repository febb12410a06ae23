"""Workflows with second derivatives, for any calculator of ASE.

Functions take a structure with a calculator and a function that returns its Hessian,
such as `model_hessian` for a potential of this package.
"""

from equipot.workflows.guess import Guess, guess_saddle
from equipot.workflows.path import ReactionPath, reaction_path
from equipot.workflows.reaction import Reaction, reaction_through
from equipot.workflows.relax import Relaxation, SeededBFGS, relax
from equipot.workflows.relax_many import relax_many
from equipot.workflows.saddle import Saddle, find_saddle
from equipot.workflows.second_derivatives import (
    HessianFunction,
    ProductFunction,
    ThirdProductFunction,
    model_hessian,
    model_products,
    model_third_products,
)
from equipot.workflows.vibrations import Vibrations, vibrations

__all__ = [
    "Guess",
    "HessianFunction",
    "ProductFunction",
    "Reaction",
    "ReactionPath",
    "Relaxation",
    "Saddle",
    "SeededBFGS",
    "ThirdProductFunction",
    "Vibrations",
    "find_saddle",
    "guess_saddle",
    "model_hessian",
    "model_products",
    "model_third_products",
    "reaction_path",
    "reaction_through",
    "relax",
    "relax_many",
    "vibrations",
]
