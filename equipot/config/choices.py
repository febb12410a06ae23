"""Error messages for keys that accept several types."""

import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

CHOICE = "choice"
"""Error type that replaces the errors of all alternatives."""
TECHNICAL = ("list_type", "dict_type", "tuple_type", "string_type", "path_type")
"""Error types of pydantic with messages for programmers."""
NAMES: Mapping[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    Path: ("a path", "paths"),
    bool: ("true or false", "true or false"),
    type(None): ("null", "null"),
}
"""Names of types, singular and plural."""


def merge_choices(
    errors: Sequence[ErrorDetails], schema: type[BaseModel]
) -> Iterator[ErrorDetails]:
    """Merge the errors of all alternatives of a key into one.

    Args:
        errors: Errors of pydantic, with one for each alternative of a union.
        schema: Root section.

    Yields:
        The errors of the alternative that was used, if the value is a section or a
        list; otherwise one error that describes all alternatives.
    """
    groups: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for error in errors:
        place = error["loc"]
        depth, _ = _choice_at(schema, place)
        groups.setdefault(place if depth is None else place[:depth], []).append(error)
    for place, group in groups.items():
        depth, form = _choice_at(schema, group[0]["loc"])
        if depth is None:
            yield from (_in_words(error, schema) for error in group)
            continue
        within = [e for e in group if len(e["loc"]) > depth + 1]
        whole = [e for e in group if len(e["loc"]) == depth]
        if whole:  # message of a validator of the key
            yield from whole
        elif within:
            for error in within:
                yield {**error, "loc": (*place, *error["loc"][depth + 1 :])}
        else:
            yield {
                **group[0],
                "loc": place,
                "type": CHOICE,
                "msg": f"must be {describe(form)}",
            }


def describe(form: Any, *, plural: bool = False) -> str:
    """Values that a type accepts, as text: ``"a number above 0"``."""
    form, limits = _without_limits(form)
    if members := _members(form):
        return "; or ".join(describe(m, plural=plural) for m in members)
    if isinstance(form, type) and issubclass(form, BaseModel):
        section = "sections" if plural else "a section"
        return f"{section} with the keys {' and '.join(form.model_fields)}"
    if get_origin(form) is not None:
        return _describe_generic(get_origin(form), get_args(form))
    return NAMES.get(form, (str(form), str(form)))[plural] + limits


def _describe_generic(origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return f"one of {', '.join(str(argument) for argument in arguments)}"
    if origin is dict:
        return f"a section of names, each with {describe(arguments[1])}"
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)} values"
    return f"a list of {describe(arguments[0], plural=True)}"


def _in_words(error: ErrorDetails, schema: type[BaseModel]) -> ErrorDetails:
    """Error about a list or a section, with the expected type."""
    form = _form_at(schema, error["loc"])
    if error["type"] not in TECHNICAL or form is None:
        return error
    return {**error, "type": CHOICE, "msg": f"must be {describe(form)}"}


def _without_limits(form: Any) -> tuple[Any, str]:
    """Type without its annotations, and its description with bounds."""
    if get_origin(form) is not Annotated:
        return form, ""
    form, *notes = get_args(form)
    inner, text = _without_limits(form)
    bounds = [
        bound
        for note in notes
        for bound in (note.metadata if isinstance(note, FieldInfo) else [note])
    ]
    words = []
    for bound in bounds:
        match bound:
            case annotated_types.Gt(gt):
                words.append(f"above {gt}")
            case annotated_types.Ge(ge):
                words.append(f"of at least {ge}")
            case annotated_types.Lt(lt):
                words.append(f"below {lt}")
            case annotated_types.Le(le):
                words.append(f"of at most {le}")
    return inner, text + (f" {' and '.join(words)}" if words else "")


def _members(form: Any) -> tuple[Any, ...]:
    """Alternatives of a union; empty for other types."""
    return get_args(form) if get_origin(form) in (Union, types.UnionType) else ()


def _choice_at(
    schema: type[BaseModel], place: tuple[int | str, ...]
) -> tuple[int | None, Any]:
    """Depth of the first untagged union on a path, and the union."""
    for depth, form in enumerate(_forms(schema, place)):
        if len([m for m in _members(form) if m is not type(None)]) > 1:
            return depth, form
    return None, None


def _form_at(schema: type[BaseModel], place: tuple[int | str, ...]) -> Any:
    forms = list(_forms(schema, place))
    return forms[-1] if len(forms) == len(place) + 1 else None


def _forms(schema: type[BaseModel], place: tuple[int | str, ...]) -> Iterator[Any]:
    """Types on a path from the root, as far as known."""
    form: Any = schema
    tagged = False
    yield form
    for part in place:
        if tagged:  # the name of the member of a union with a tag
            form = next((m for m in _members(form) if _has_tag(m, part)), None)
            tagged = False
        else:
            form, tagged = _step(form, part)
        if form is None:
            return
        yield None if tagged else form


def _step(form: Any, part: int | str) -> tuple[Any, bool]:
    """Type of a part of a value, and whether it is a tagged union."""
    form, _ = _without_limits(form)
    members = [m for m in _members(form) if m is not type(None)]
    if len(members) == 1:
        form, _ = _without_limits(members[0])
    if isinstance(form, type) and issubclass(form, BaseModel):
        for name, field in form.model_fields.items():
            aliases = getattr(field.validation_alias, "choices", ())
            if part in (name, *aliases):
                return field.annotation, field.discriminator is not None
        return None, False
    arguments = get_args(form)
    if get_origin(form) is dict:
        return arguments[1], False
    if get_origin(form) in (list, tuple) and isinstance(part, int):
        return arguments[0 if Ellipsis in arguments else part], False
    return None, False


def _has_tag(model: Any, tag: int | str) -> bool:
    return any(field.default == tag for field in model.model_fields.values())
