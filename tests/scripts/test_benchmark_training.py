"""How epochs are timed and losses compared; nothing is trained here."""

import benchmark_training as benchmark
import pytest


def history(seconds, losses):
    return [
        {"seconds": s, "train_loss": loss, "valid_loss": 2 * loss}
        for s, loss in zip(seconds, losses, strict=True)
    ]


REFERENCE = history([10.0, 18.0, 26.0], [1.0, 0.5, 0.25])


def test_seconds_of_a_run_become_those_of_its_epochs():
    assert benchmark.epoch_seconds(REFERENCE) == [10.0, 8.0, 8.0]


def test_speed_is_that_of_the_median_epoch():
    fast = history([3.0, 5.0, 7.0], [1.0, 0.5, 0.25])

    row = benchmark.summarize("fused", fast, REFERENCE)

    assert row["median_seconds"] == 2.0
    assert row["speed"] == 4.0
    assert row["loss_difference"] == 0.0


def test_losses_are_compared_epoch_by_epoch():
    other = history([3.0, 5.0, 7.0], [1.0, 0.5 * 1.01, 0.25])

    difference = benchmark.largest_difference(other, REFERENCE)

    assert difference == pytest.approx(0.01)


def test_runs_of_different_length_are_not_compared():
    with pytest.raises(ValueError, match="argument 2"):
        benchmark.largest_difference(REFERENCE[:2], REFERENCE)


def test_the_reference_is_trained_first_and_once():
    order = benchmark._order(["fused", "clebsch_gordan"])

    assert order == ["clebsch_gordan", "fused"]


def test_the_table_has_a_row_for_every_backend():
    rows = [benchmark.summarize(name, REFERENCE, REFERENCE) for name in "ab"]

    assert benchmark.table(rows).row_count == 2


def test_losses_agree_if_rounding_moves_them_as_much():
    nudged = history([10.0, 18.0, 26.0], [1.0 + 1e-12, 0.5 + 1e-9, 0.25 + 1e-6])
    close = history([10.0, 18.0, 26.0], [1.0 - 3e-12, 0.5 - 3e-9, 0.25 + 3e-6])
    far = history([10.0, 18.0, 26.0], [1.0 + 1e-9, 0.5 + 1e-9, 0.25 + 1e-6])

    assert benchmark.agrees(REFERENCE, nudged, REFERENCE)
    assert benchmark.agrees(close, nudged, REFERENCE)
    assert not benchmark.agrees(far, nudged, REFERENCE)
