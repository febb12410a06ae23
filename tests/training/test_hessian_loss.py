"""Losses on Hessians against the whole Hessian and against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch.testing import assert_close

from equipot.data.labels import Example, Labels
from equipot.data.ragged import RaggedMatrices
from equipot.evaluation.hessians import derivative_hessians
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.models import direct_hessian
from equipot.neighbors import build_graph
from equipot.training.hessian_loss import draw_vectors, residuals
from equipot.training.loss import EnergyForcesStressLoss, LossTerm
from equipot.training.step import evaluate, make_batch, train_step
from tests.potentials import random_potential

CUTOFF = 3.0
MODES = [
    ("full", "mse", 1),
    ("full", "mae", 1),
    ("rows", "huber", 2),
    ("probes", "mse", 2),
    ("atoms", "mse", 2),
    ("subspace", "mse", 3),
    ("subspace", "mae", 2),
]
HEAD = {"cutoff": 4.0, "channels": 2, "num_basis": 3, "hidden": (4,)}


@pytest.fixture(scope="module")
def potential():
    return random_potential(
        (1, 6, 8),
        cutoff=CUTOFF,
        lmax=1,
        channels=2,
        num_layers=2,
        radial_hidden=(4,),
        direct_hessian=HEAD,
    )


def example(name, seed, *, labeled=True):
    """A molecule with a random symmetric matrix for a Hessian."""
    atoms = molecule(name)
    atoms.rattle(0.05, seed=seed)
    n = 3 * len(atoms)
    random = np.random.default_rng(seed).normal(size=(n, n))
    hessian = torch.from_numpy(random + random.T)
    labels = Labels(
        energy=torch.zeros(1, dtype=torch.float64),
        forces=torch.zeros(len(atoms), 3, dtype=torch.float64),
        stress=torch.full((1, 3, 3), torch.nan, dtype=torch.float64),
        hessian=RaggedMatrices.of([hessian]) if labeled else None,
    )
    return Example(build_graph(atoms, CUTOFF), labels, "default", f"{name}#{seed}")


@pytest.fixture(scope="module")
def batch():
    return make_batch(
        [example("H2O", 0), example("CO2", 1, labeled=False), example("OH", 2)]
    )


def loss_of(name="hessian", **settings):
    return EnergyForcesStressLoss({name: LossTerm(((0, 1.0),), **settings)})


def mean_penalty(loss, potential, batch, key=(0,)):
    positions = batch.graph.positions.detach().requires_grad_()
    graph = replace(batch.graph, positions=positions)
    prediction = potential(graph, loss.outputs, create_graph=True)
    (penalty,) = loss.penalties(prediction, graph, batch.labels, key=key).values()
    return penalty.mean()


def number(tensor):
    return float(tensor.detach())


def errors(name, potential, batch):
    """Differences of the whole matrices, where there are labels."""
    predicted = (
        derivative_hessians(potential, batch.graph)
        if name == "hessian"
        else [m.numpy() for m in direct_hessian(potential, batch.graph).matrices()]
    )
    return [
        p - reference.numpy()
        for p, reference in zip(predicted, batch.labels.hessian.matrices, strict=True)
        if reference is not None
    ]


@pytest.mark.parametrize("name", ["hessian", "hessian_direct"])
@pytest.mark.parametrize(("mode", "samples"), [("full", 1), ("rows", 9)])
def test_full_is_the_mean_square_of_all_labeled_entries(
    potential, batch, name, mode, samples
):
    found = mean_penalty(loss_of(name, mode=mode, samples=samples), potential, batch)

    entries = np.concatenate([e.ravel() for e in errors(name, potential, batch)])
    assert_close(number(found), float(np.mean(entries**2)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", ["full", "subspace"])
def test_a_weight_multiplies_the_errors_of_a_hessian(potential, batch, mode):
    loss = loss_of(mode=mode, samples=9)
    first = torch.tensor([[1, 1, 1, 1.0], [1, 1, 1, 1], [1, 1, 1, 0]]).double()

    def total(weights):
        labels = replace(batch.labels, weights=weights)
        return number(mean_penalty(loss, potential, replace(batch, labels=labels)))

    whole, part = total(None), total(first)
    rest = total(1 - first)
    assert 0 < part < whole
    assert_close(part + rest, whole, rtol=1e-12, atol=0)
    assert_close(total(2.5 * first), 2.5 * part, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("mode", "penalty"),
    [
        ("probes", torch.square),
        ("atoms", torch.square),
        ("rows", torch.square),
        ("rows", torch.abs),
    ],
)
@pytest.mark.parametrize("samples", [1, 2])
def test_estimates_have_no_bias(batch, generator, mode, penalty, samples):
    """Means over many draws, within four standard errors."""
    predicted = torch.randn(
        3 * batch.graph.num_atoms, 3 * batch.graph.num_atoms, generator=generator
    ).double()
    sizes = [9, 9, 6]
    blocks = [
        predicted[start : start + n, start : start + n]
        for start, n in zip(np.cumsum([0, *sizes]), sizes, strict=False)
    ]
    within = torch.block_diag(*(b + b.T for b in blocks))

    def draw(key):
        drawn = draw_vectors(mode, samples, batch.graph, batch.labels.hessian, (1, key))
        products = (drawn.vectors.flatten(1) @ within).view_as(drawn.vectors)
        error, weight = residuals(drawn, products, batch.graph.batch)
        return float((penalty(error) * weight).sum()) / drawn.entries

    draws = np.array([draw(key) for key in range(400)])

    references = batch.labels.hessian.matrices
    entries = torch.cat(
        [
            penalty(b + b.T - reference).flatten()
            for b, reference in zip(blocks, references, strict=True)
            if reference is not None
        ]
    )
    assert abs(draws.mean() - float(entries.mean())) < 4 * draws.std() / 20
    assert draws.std() / 20 < 0.05 * draws.mean()


def test_the_mean_over_all_signs_is_exact(potential):
    """Two atoms have 64 vectors of signs: the mean over them is the whole sum."""
    one = make_batch([example("OH", 2)])
    (error,) = errors("hessian", potential, one)

    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)

    assert_close(float(np.mean(((error @ signs) ** 2).sum(0))), float((error**2).sum()))


@pytest.mark.parametrize("name", ["hessian", "hessian_direct"])
def test_subspace_compares_within_the_lowest_modes(potential, batch, name):
    found = mean_penalty(loss_of(name, mode="subspace", samples=3), potential, batch)

    squares = []
    references = [h for h in batch.labels.hessian.matrices if h is not None]
    for error, reference in zip(
        errors(name, potential, batch), references, strict=True
    ):
        values, vectors = np.linalg.eigh(reference.numpy())
        v = vectors[:, :3]
        residual = v.T @ (error + reference.numpy()) @ v - np.diag(values[:3])
        squares.append((residual**2).ravel())
    expected = float(np.mean(np.concatenate(squares)))
    assert_close(number(found), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("mode", "kind", "samples"), MODES)
@pytest.mark.parametrize("name", ["hessian", "hessian_direct"])
def test_gradients_are_differences_of_the_loss(
    potential, batch, name, mode, kind, samples
):
    """Third derivatives of the energy, along a direction in the space of weights."""
    loss = loss_of(name, mode=mode, kind=kind, samples=samples)
    weights = [
        p
        for key, p in potential.named_parameters()
        if name == "hessian_direct" or not key.startswith("direct_hessian")
    ]
    generator = torch.Generator().manual_seed(5)
    direction = [
        torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights
    ]

    value = mean_penalty(loss, potential, batch)
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    pairs = zip(gradients, direction, strict=True)
    slope = sum((g * d).sum() for g, d in pairs if g is not None)

    @torch.no_grad()
    def move(step):
        for w, d in zip(weights, direction, strict=True):
            w.add_(d, alpha=step)

    def moved(step):
        move(step)
        result = number(mean_penalty(loss, potential, batch))
        move(-step)
        return result

    h = 1e-5
    near, far = (moved(k) - moved(-k) for k in (h, 2 * h))
    expected = (8 * near - far) / (12 * h)
    assert abs(expected) > 1e-6
    assert_close(number(slope), expected, rtol=1e-6, atol=0)


def test_vectors_depend_on_the_key_alone(batch):
    torch.rand(5)  # the state of the process does not matter

    def vectors(*key):
        drawn = draw_vectors("probes", 2, batch.graph, batch.labels.hessian, key)
        return drawn.vectors

    assert torch.equal(vectors(1, 2, 3), vectors(1, 2, 3))
    assert not torch.equal(vectors(1, 2, 3), vectors(1, 2, 4))
    assert vectors(0)[:, batch.graph.batch == 1].abs().max() == 0


def test_a_batch_without_hessians_costs_nothing(potential):
    bare = make_batch([example("CO2", 1, labeled=False)])
    loss = EnergyForcesStressLoss(
        {"energy": LossTerm(((0, 1.0),)), "hessian": LossTerm(((0, 1.0),))}
    )

    assert not loss.needs_second_derivatives(bare.labels)
    prediction = potential(bare.graph, loss.outputs)
    penalties = loss.penalties(prediction, bare.graph, bare.labels)
    assert penalties["hessian"].count == 0
    assert float(loss.combine(penalties)) > 0


def test_a_term_that_has_no_weight_yet_is_not_computed(batch):
    steps = ((0, 0.0), (10, 1.0))
    loss = EnergyForcesStressLoss(
        {
            "energy": LossTerm(((0, 1.0),)),
            "hessian": LossTerm(steps),
            "hessian_direct": LossTerm(steps),
        }
    )

    assert loss.outputs_of(9) == {"energy", "forces"} - {"forces"}
    assert loss.outputs_of(10) == {"energy", "forces", "hessian_direct"}
    assert not loss.needs_second_derivatives(batch.labels, 9)
    assert loss.needs_second_derivatives(batch.labels, 10)


def test_forces_without_a_graph_are_refused(potential, batch):
    prediction = potential(batch.graph, ("energy", "forces"))

    with pytest.raises(ValueError, match="the loss needs second derivatives"):
        loss_of().penalties(prediction, batch.graph, batch.labels)


def test_evaluation_uses_the_same_vectors_every_time(potential, batch):
    loss = loss_of(mode="probes")

    values = [
        evaluate(potential, [batch], {"energy"}, ErrorAccumulator(), loss)[0]
        for _ in range(2)
    ]

    assert values[0] == values[1] > 0


@pytest.mark.parametrize("name", ["hessian", "hessian_direct"])
def test_steps_lower_the_error(name):
    """A model learns the stiffness of a bond at rest."""
    bare = make_batch([example("OH", 0)])
    x = bare.graph.positions
    along = torch.cat([x[0] - x[1], x[1] - x[0]]) / (x[0] - x[1]).norm()
    labels = replace(
        bare.labels, hessian=RaggedMatrices.of([5 * torch.outer(along, along)])
    )
    learning = replace(bare, labels=labels)
    student = random_potential(
        (1, 8), cutoff=CUTOFF, lmax=1, num_layers=2, direct_hessian=HEAD
    ).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)

    losses = [
        train_step(
            student,
            optimizer,
            loss_of(name, mode="full"),
            learning,
            epoch=0,
            gradient_clip=None,
        ).loss
        for _ in range(12)
    ]

    assert losses[-1] < 0.95 * losses[0]
