import torch
from torch import nn
from torch.testing import assert_close

from equipot.training.ema import WeightAverage


def steps(model, generator):
    """Weights after each of endless random steps."""
    while True:
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        yield model.weight.detach().clone()


def test_average_follows_its_formula(generator):
    model = nn.Linear(3, 2, dtype=torch.float64)
    average = WeightAverage(model, decay=0.5)
    expected = None

    for n, weight in zip(range(20), steps(model, generator), strict=False):
        average.update(model, epoch=0)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = weight if n == 0 else decay * expected + (1 - decay) * weight

    assert_close(average.model.weight, expected, rtol=1e-13, atol=1e-13)


def test_average_is_the_model_until_it_starts(generator):
    model = nn.Linear(3, 2, dtype=torch.float64)
    average = WeightAverage(model, decay=0.9, start_epoch=2)
    walk = steps(model, generator)

    for epoch in (0, 1):
        for _ in range(3):
            next(walk)
            average.update(model, epoch)
        assert_close(average.model.weight, model.weight, rtol=0, atol=0)
    for _ in range(2):
        next(walk)
        average.update(model, 2)

    assert not torch.equal(average.model.weight, model.weight)


def test_restored_average_continues_to_the_bit(generator):
    model = nn.Linear(3, 2)
    first, second = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    for _, _ in zip(range(5), steps(model, generator), strict=False):
        first.update(model, 0)

    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    for _, _ in zip(range(5), steps(model, generator), strict=False):
        first.update(model, 0)
        second.update(model, 0)

    assert torch.equal(first.model.weight, second.model.weight)
