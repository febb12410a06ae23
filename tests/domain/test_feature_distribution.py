import numpy as np
import pytest
import torch

from equipot.domain import FeatureDistribution

NUMBERS = np.array([6] * 400 + [1] * 200)


@pytest.fixture
def features():
    """Two clouds of one shape, which is long along (1, 1, 0)."""
    rng = np.random.default_rng(1)
    spread = rng.normal(size=(600, 3)) @ np.array(
        [[2, 2, 0], [0.1, -0.1, 0], [0, 0, 1]]
    )
    return spread + np.where(NUMBERS == 6, 5.0, -5.0)[:, None]


def test_distances_are_those_of_mahalanobis(features):
    cloud = FeatureDistribution.fit(NUMBERS, features)
    means = {z: features[z == NUMBERS].mean(axis=0) for z in (1, 6)}
    centered = features - np.array([means[z] for z in NUMBERS.tolist()])
    covariance = centered.T @ centered / len(centered)
    ridge = 1e-4 * np.trace(covariance) / 3
    inverse = np.linalg.inv(covariance + ridge * np.eye(3))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centered, inverse, centered))

    assert cloud.elements == (1, 6)
    np.testing.assert_allclose(cloud.distances(NUMBERS, features), expected)
    scores = cloud.scores(NUMBERS, features)
    assert scores[NUMBERS == 1].max() == scores[NUMBERS == 6].max() == 1.0


def test_a_step_across_the_long_direction_counts_for_more(features):
    cloud = FeatureDistribution.fit(NUMBERS, features)
    mean = features[NUMBERS == 6].mean(axis=0)
    along_and_across = mean + np.array([[1, 1, 0], [1, -1, 0]])

    one, other = cloud.scores(np.array([6, 6]), along_and_across)

    assert other > 10 * one


def test_the_same_features_are_far_for_another_element(features):
    cloud = FeatureDistribution.fit(NUMBERS, features)
    place = features[:1]

    assert cloud.scores(np.array([6]), place)[0] <= 1
    assert cloud.scores(np.array([1]), place)[0] > 2


def test_further_atoms_widen_the_scale_of_their_element_only(features):
    cloud = FeatureDistribution.fit(NUMBERS, features)
    far = features[:1] + 30

    wider = cloud.widened(np.array([6, 99]), np.concatenate([far, 100 * far]))

    assert wider.scores(np.array([6]), far) == 1.0
    assert wider.largest[0] == cloud.largest[0]


def test_atoms_that_are_all_alike_make_a_cloud_of_one_point():
    cloud = FeatureDistribution.fit(np.full(5, 8), np.ones((5, 4)))

    assert cloud.scores(np.full(1, 8), np.ones((1, 4)))[0] < 1e-6
    assert cloud.scores(np.full(1, 8), np.full((1, 4), 1.1))[0] > 1


def test_tensors_hold_all_of_it(features):
    cloud = FeatureDistribution.fit(NUMBERS, features)

    again = FeatureDistribution.from_tensors(cloud.to_tensors(), (1, 6), 3)

    np.testing.assert_array_equal(
        again.scores(NUMBERS, features), cloud.scores(NUMBERS, features)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("means"), "lacks 'means'"),
        (lambda t: t.update(largest=torch.ones(3)), "has the shapes .* expected"),
        (lambda t: t.update(whitening=torch.ones(())), "has the shapes .* expected"),
        (lambda t: t.update(elements=torch.tensor([1, 7])), r"elements \(1, 7\)"),
        (lambda t: t["means"].fill_(torch.nan), "not finite"),
        (lambda t: t["largest"].fill_(0), "are not positive"),
    ],
)
def test_damaged_tensors_are_refused(features, change, message):
    tensors = FeatureDistribution.fit(NUMBERS, features).to_tensors()
    change(tensors)

    with pytest.raises(ValueError, match=message):
        FeatureDistribution.from_tensors(tensors, (1, 6), 3)


def test_features_that_are_not_finite_are_refused(features):
    features[3] = np.nan
    with pytest.raises(ValueError, match="the model is damaged"):
        FeatureDistribution.fit(NUMBERS, features)


def test_no_atoms_make_no_cloud():
    with pytest.raises(ValueError, match="no atom"):
        FeatureDistribution.fit(np.zeros(0, int), np.zeros((0, 4)))
