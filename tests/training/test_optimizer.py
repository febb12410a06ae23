import pytest
import torch
from torch import nn
from torch.testing import assert_close

from equipot.training.muon import orthogonalized
from equipot.training.optimizer import (
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
)


def optimizer_of(model, **settings):
    defaults = {
        "kind": "adamw",
        "lr": 0.1,
        "weight_decay": 0.5,
        "betas": (0.9, 0.99),
        "amsgrad": True,
    }
    return build_optimizer(model, **(defaults | settings))


def step(model, optimizer, generator):
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
    optimizer.step()


def test_only_matrices_decay():
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = optimizer_of(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)

    optimizer.step()

    assert torch.equal(model.weight, torch.full((2, 2), 0.95))
    assert torch.equal(model.bias, torch.ones(2))


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_restored_optimizer_continues_to_the_bit(generator, kind, amsgrad):
    models = [nn.Linear(3, 2) for _ in range(2)]
    optimizers = [optimizer_of(m, kind=kind, amsgrad=amsgrad) for m in models]
    for _ in range(3):
        step(models[0], optimizers[0], generator)

    models[1].load_state_dict(models[0].state_dict())
    tensors = {k: v.clone() for k, v in optimizer_tensors(optimizers[0]).items()}
    load_optimizer_tensors(optimizers[1], tensors)
    for model, optimizer in zip(models, optimizers, strict=True):
        for _ in range(3):
            step(model, optimizer, torch.Generator().manual_seed(1))

    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(models[0].bias, models[1].bias)


@pytest.mark.parametrize(("kind", "step_size"), [("adamw", 1e-5), ("muon", 2e-6)])
def test_relative_steps_are_fractions_of_the_weights(generator, kind, step_size):
    model = nn.Linear(6, 4)
    nn.init.constant_(model.weight, 1e-3)
    nn.init.zeros_(model.bias)  # without a scale, steps are absolute
    settings = {"lr": 0.01, "weight_decay": 0.0, "relative_steps": True}
    optimizer = optimizer_of(model, kind=kind, **settings)

    step(model, optimizer, generator)

    change = (model.weight.detach() - 1e-3).square().mean().sqrt()
    assert float(change) == pytest.approx(step_size, rel=0.3)
    assert_close(model.bias.abs(), torch.full((4,), 0.01), rtol=1e-4, atol=0)


def test_nothing_to_optimize_is_an_error():
    with pytest.raises(ValueError, match="no parameters to optimize"):
        optimizer_of(nn.ReLU())


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (2, 3, 6, 4)])
def test_orthogonalized_matrices_keep_their_singular_vectors(generator, shape):
    matrices = torch.randn(shape, generator=generator, dtype=torch.float64)

    found = orthogonalized(matrices.flatten(0, -3) if len(shape) > 2 else matrices)

    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    values = u.mT @ found.reshape(shape) @ v.mT
    diagonal = values.diagonal(dim1=-2, dim2=-1)
    assert_close(values, torch.diag_embed(diagonal), rtol=0, atol=1e-10)
    assert diagonal.min() > 0.5
    assert diagonal.max() < 1.3


def test_no_gradient_is_no_step_of_muon():
    assert torch.equal(orthogonalized(torch.zeros(3, 2)), torch.zeros(3, 2))


def test_steps_of_muon_are_as_long_as_those_of_adam(generator):
    """Root mean square 0.2 of the learning rate, for matrices of any shape."""
    model = nn.Linear(64, 16, bias=False)
    before = model.weight.detach().clone()
    optimizer = optimizer_of(model, kind="muon", lr=0.01, weight_decay=0.0)

    step(model, optimizer, generator)

    moved = (model.weight.detach() - before).square().mean().sqrt()
    assert 0.7 * 0.002 < moved < 1.2 * 0.002


def test_vectors_follow_adamw_beside_muon(generator):
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, kind in zip(models, ("adamw", "muon"), strict=True):
        step(model, optimizer_of(model, kind=kind), torch.Generator().manual_seed(1))

    assert torch.equal(models[0].bias, models[1].bias)
    assert not torch.equal(models[0].weight, models[1].weight)
