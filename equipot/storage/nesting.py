"""JSON of unknown origin, whose nesting is bounded before it is parsed.

The parser of Python recurses. Its own limit is that of the interpreter, which other
packages raise to values at which the stack overflows and the process ends.
"""

import json
import re
from typing import Any, Final

MAX_NESTING: Final = 200
STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def load_json(text: str | bytes, **options: Any) -> Any:
    """Parse JSON.

    Args:
        text: Text, or its encoding.
        **options: As for ``json.loads``.

    Raises:
        ValueError: If it is not JSON, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if text.count("[") + text.count("{") > MAX_NESTING:
        _check_nesting(text)
    return json.loads(text, **options)


def _check_nesting(text: str) -> None:
    depth = 0
    for match in STRUCTURE.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise ValueError(
                    f"JSON is nested more than {MAX_NESTING} deep at character "
                    f"{match.start()}"
                )
        elif match[0] in "]}":
            depth -= 1
