"""Explanations of checks, and what their failures mean for the use of a model."""

from equipot.verify.meaning import (
    CONSEQUENCES,
    KINDS,
    MEANING,
    SOUNDNESS,
    consequences,
)


def test_kinds_are_those_of_checks_and_have_consequences():
    assert set(KINDS) < set(MEANING)
    assert {SOUNDNESS, *KINDS.values()} == set(CONSEQUENCES)


def test_failures_are_grouped_by_consequence_and_the_most_severe_comes_first():
    pairs, bonds = "short-range attraction, pairs", "bond-strength limits"

    severe, mild = consequences([pairs, "rotation", bonds, bonds])

    assert "(rotation): results are wrong" in severe
    assert f"({pairs}; {bonds}): structures near equilibrium are not" in mild
    assert consequences([]) == ()
