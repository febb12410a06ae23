import json

import pytest

from equipot.training.schedule import Constant, Cosine, Plateau


def test_warmup_is_linear_and_ends_at_the_full_rate():
    schedule = Constant(warmup_epochs=2.0)

    assert [schedule.factor(e) for e in (0.0, 0.5, 1.0, 2.0, 50.0)] == [
        0.0,
        0.25,
        0.5,
        1.0,
        1.0,
    ]


def test_cosine_falls_from_one_to_its_minimum():
    schedule = Cosine(epochs=12, min_factor=0.2, warmup_epochs=2.0)

    assert schedule.factor(2.0) == 1.0
    assert schedule.factor(7.0) == pytest.approx(0.6)
    assert schedule.factor(12.0) == pytest.approx(0.2)
    assert schedule.factor(13.0) == pytest.approx(0.2)


def test_plateau_falls_after_patience_and_not_below_its_minimum():
    schedule = Plateau(factor=0.5, patience=2, min_factor=0.3)
    factors = []

    for loss in (1.0, 0.9, 0.95, 0.91, 0.5, 0.6, 0.6, 0.6):
        schedule.observe(loss)
        factors.append(schedule.factor(1.0))

    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.3, 0.3]


def test_restored_plateau_remembers():
    first, second = (Plateau(0.5, 2, 0.0) for _ in range(2))
    first.observe(1.0)
    first.observe(2.0)

    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.observe(2.0)

    assert second.factor(0.0) == 0.5


def test_state_of_another_schedule_is_refused():
    with pytest.raises(ValueError, match="not a state of Plateau"):
        Plateau(0.5, 2, 0.0).load_state_dict(Constant().state_dict())


def test_cosine_may_stay_at_the_full_rate_before_it_falls():
    schedule = Cosine(12, min_factor=0.2, warmup_epochs=2.0, stable_share=0.6)

    factors = [schedule.factor(e) for e in (1.0, 2.0, 5.0, 8.0, 10.0, 12.0)]
    assert factors == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.6, 0.2])
