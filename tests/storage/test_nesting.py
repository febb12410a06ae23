"""JSON that would overflow the stack is refused before it is parsed."""

import json
import sys

import pytest

from equipot.storage.nesting import MAX_NESTING, load_json


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_whatever_the_recursion_limit(opening):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # as other packages do
    try:
        with pytest.raises(ValueError, match="nested more than"):
            load_json(opening * 100_000)
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_do_not_count():
    value = {"text": "[" * 1000 + '\\"[', "rows": [[1]] * 300}
    assert load_json(json.dumps(value)) == value
    assert load_json(json.dumps(value).encode()) == value


def test_the_bound_itself_is_allowed():
    text = "[" * MAX_NESTING + "]" * MAX_NESTING
    assert load_json(text) == json.loads(text)
