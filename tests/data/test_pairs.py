import pytest

from equipot.data.pairs import overall_minimum, pair_name, parse_pair


def test_the_lighter_element_comes_first():
    assert pair_name(8, 1) == pair_name(1, 8) == "H-O"
    assert parse_pair("H-O") == (1, 8)


@pytest.mark.parametrize("text", ["HO", "H-O-H", "H-Q"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(ValueError, match=f"like 'H-O', got '{text}'"):
        parse_pair(text)


def test_the_shortest_distance_counts_and_pairs_are_sorted_by_element():
    closest = [{"Si-Si": 2.2, "H-Si": 1.5}, {"H-Si": 1.4, "H-H": 0.7}]

    shortest = overall_minimum(closest)

    assert list(shortest.items()) == [("H-H", 0.7), ("H-Si", 1.4), ("Si-Si", 2.2)]
