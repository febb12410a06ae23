"""Writes docs/configuration.md: every key of every configuration, from the code.

Run it after a change of `equipot/config`; a test fails until it was run::

    python scripts/document_configuration.py
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from equipot.config.md import MDConfig
from equipot.config.train import TrainConfig

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

All keys, generated from `equipot/config` by `scripts/document_configuration.py`.
Unknown keys and values of a wrong type are errors. `--set` overrides any key, with
dots for nested sections: `--set training.optimizer.lr=1e-3 --set training.ema=null`.

Units: eV, Å, fs, K; pressures of dynamics in GPa. Paths of data are relative to
`data.root`, all others to the current folder.
"""
TITLES = {
    "`train-potential CONFIG`": TrainConfig,
    "`equipot md CONFIG`": MDConfig,
}
NAMES = {
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    bool: "true or false",
    type(None): "null",
}


def page() -> str:
    """The whole page in Markdown."""
    parts = [INTRODUCTION]
    for title, root in TITLES.items():
        parts.append(f"## {title}\n")
        parts.extend(section(root, "", set()))
    return "\n".join(parts)


def section(
    model: type[BaseModel], path: str, seen: set[type[BaseModel]]
) -> Iterator[str]:
    """A table of the keys of a section, and those of the sections in it.

    Args:
        model: Class of the section.
        path: Keys that lead to it, joined with dots; empty for the root.
        seen: Classes that have a table already; this one is added.

    Yields:
        Blocks of Markdown.
    """
    seen.add(model)
    if path:
        yield f"### {path}\n\n{flat(model.__doc__)}\n"
    fields = {n: f for n, f in model.model_fields.items() if n != tag_of(model)}
    if fields:
        yield "| key | value | default | |\n| --- | --- | --- | --- |"
        yield "\n".join(row(name, field) for name, field in fields.items()) + "\n"
    for name, field in fields.items():
        for inner in (s for s in sections_in(field.annotation) if s not in seen):
            where = f"{path.strip('`')}.{name}" if path else name
            tag = tag_of(inner)
            chosen = f" with `{tag}: {inner.model_fields[tag].default}`" if tag else ""
            yield from section(inner, f"`{where}`{chosen}", seen)


def row(name: str, field: FieldInfo) -> str:
    """One line of a table."""
    aliases = [a for a in getattr(field.validation_alias, "choices", ()) if a != name]
    also = f" Alias: `{'`, `'.join(map(str, aliases))}`." if aliases else ""
    inner = sections_in(field.annotation)
    meaning = field.description or (inner[0].__doc__ if len(inner) == 1 else "")
    cells = (
        f"`{name}`",
        " ".join([describe(field.annotation), *bounds_in(field.metadata)]),
        "required" if field.is_required() else default_of(field),
        flat(meaning) + also,
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def describe(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        text = " ".join([describe(arguments[0]), *bounds_in(arguments[1:])])
    elif origin is Literal:
        text = ", ".join(f"`{value}`" for value in arguments)
    elif origin in (Union, UnionType):
        text = " or ".join(dict.fromkeys(describe(a) for a in arguments))
    elif origin in (list, tuple):
        kinds = dict.fromkeys(describe(a) for a in arguments if a is not Ellipsis)
        text = f"list of {', '.join(kinds)}".replace("section", "sections")
    elif origin is dict:
        text = f"{describe(arguments[1])}, by name"
    else:
        text = NAMES.get(annotation, "section")
    return text


def bounds_in(constraints: Iterable[Any]) -> Iterator[str]:
    """Bounds of a number, such as "> 0"."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    for constraint in constraints:
        for part in getattr(constraint, "metadata", [constraint]):
            for name, sign in signs.items():
                if (bound := getattr(part, name, None)) is not None:
                    yield f"{sign} {bound:g}"


def sections_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Sections that a value may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(s for part in get_args(annotation) for s in sections_in(part))


def tag_of(model: type[BaseModel]) -> str | None:
    """The key that tells a section from its alternatives; None if it has none."""
    for name in ("architecture", "kind", "name"):
        field = model.model_fields.get(name)
        if field is not None and len(get_args(field.annotation)) == 1:
            return name
    return None


def default_of(field: FieldInfo) -> str:
    """The value of a key that is left out, as YAML would have it."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        changed = value.model_dump(mode="json", exclude_defaults=True)
        return f"`{json.dumps(changed)}`" if changed else "see below"
    plain = str(value) if isinstance(value, str | Path) else json.dumps(value)
    return f"`{plain}`"


def flat(text: str | None) -> str:
    """A text on one line, with single backquotes as Markdown has them."""
    return " ".join((text or "").replace("``", "`").split())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
