"""Plain scalars of YAML 1.2: ``NO`` is a string, ``1e-3`` a number.

PyYAML implements version 1.1, in which ``no``, ``on`` and ``NO`` are booleans,
``1e-3`` is a string, ``010`` is eight, ``1:30`` is ninety, ``2001-01-01`` is a date.

Source: YAML 1.2.2, section 10.3 (core schema).
"""

import re
from typing import Any, Final

import yaml

TAG: Final = "tag:yaml.org,2002:"
MERGE: Final = f"{TAG}merge"
"""Tag of the key ``<<``."""

RESOLVERS: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("merge", r"<<", "<"),
)
"""Type, pattern of the whole scalar, and first characters."""


class PlainLoader(yaml.SafeLoader):
    """Safe loader with the types of YAML 1.2; keys of mappings are strings."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as PyYAML types it)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """Integer: decimal, even with leading zeros, or after ``0x`` or ``0o``."""
        text = self.construct_scalar(node)
        return int(text, 0 if text[:2] in ("0x", "0o") else 10)

    def key_of(self, node: yaml.Node) -> Any:
        """Key of a mapping as a string, such as ``NO`` or ``29``."""
        if isinstance(node, yaml.ScalarNode):
            return self.construct_scalar(node)
        return self.construct_object(node, deep=True)


class PlainDumper(yaml.SafeDumper):
    """Safe dumper that quotes strings with another type in either YAML version."""


for _name, _pattern, _first in RESOLVERS:
    _whole = re.compile(f"^(?:{_pattern})$")
    PlainLoader.add_implicit_resolver(f"{TAG}{_name}", _whole, list(_first))
    PlainDumper.add_implicit_resolver(f"{TAG}{_name}", _whole, list(_first))
PlainLoader.add_constructor(f"{TAG}int", PlainLoader.construct_number)
