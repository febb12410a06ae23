"""Explanations of checks, and what their failures mean for the use of a model."""

from equipot.tensor_products.agreement import Difference
from equipot.verify.meaning import (
    ACROSS_JUMPS,
    CONSEQUENCES,
    KINDS,
    MEANING,
    SOUNDNESS,
    consequences,
)
from equipot.verify.result import Check


def failed(name, ratio=2.0):
    return Check("energy", "eV", name, "float64", Difference(ratio, 1.0, 1.0), "why")


def test_kinds_are_those_of_checks_and_have_consequences():
    assert set(KINDS) | set(ACROSS_JUMPS) < set(MEANING)
    assert {SOUNDNESS, *KINDS.values()} == set(CONSEQUENCES)


def test_failures_are_grouped_by_consequence_and_the_most_severe_comes_first():
    pairs, bonds = "short-range attraction, pairs", "bond-strength limits"

    severe, mild = consequences(map(failed, [pairs, "rotation", bonds, bonds]))

    assert "(rotation): results are wrong" in severe
    assert f"({pairs}; {bonds}): structures near equilibrium are not" in mild
    assert consequences([]) == ()


def test_declared_jumps_explain_small_errors_of_integrals():
    work = "work along a path"

    (small,) = consequences([failed(work)], jumps=True)
    (large,) = consequences([failed(work, ratio=1e3)], jumps=True)
    (smooth,) = consequences([failed(work)])

    assert small.startswith(f"failed checks of smoothness ({work})")
    assert large == smooth
    assert "results are wrong" in large
