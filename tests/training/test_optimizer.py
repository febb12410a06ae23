import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("kind", ["adam", "adamw"])
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


def test_nothing_to_optimize_is_an_error():
    with pytest.raises(ValueError, match="no parameters to optimize"):
        optimizer_of(nn.ReLU())
