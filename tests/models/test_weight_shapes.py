"""Shapes of weights are found without building a model."""

import pytest

from equipot.config.model import DirectHessianConfig, parse_model
from equipot.models import build_potential
from equipot.models.build import weight_shapes
from tests.potentials import ARCHITECTURES, statistics_of

HEADS = (
    None,
    {"channels": 3, "hidden": ()},
    {"channels": 2, "hidden": (5, 7), "sum_rule": "projection"},
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_have_the_shapes_with_which_they_are_built(name, head):
    config = parse_model({"channels": 3, "num_basis": 4, **ARCHITECTURES[name]})
    if head is not None:
        update = {"direct_hessian": DirectHessianConfig.model_validate(head)}
        config = config.model_copy(update=update)

    statistics = statistics_of((1, 8), config.cutoff)
    built = build_potential(config, statistics).state_dict()

    assert weight_shapes(config, statistics) == {n: w.shape for n, w in built.items()}
