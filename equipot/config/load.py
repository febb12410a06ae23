"""Reads a configuration: YAML, edited by ``--set``, checked, explained if wrong."""

from collections.abc import Hashable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

C = TypeVar("C", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file, key and remedy."""


def load_config(path: Path | str, overrides: Sequence[str], schema: type[C]) -> C:
    """Read and check a configuration.

    Args:
        path: YAML file.
        overrides: Edits ``section.key=value`` in the order in which they apply; values
            are YAML, so ``a.b=3`` is a number and ``a.b=null`` is nothing.
        schema: Root section, such as `equipot.config.train.TrainConfig`.

    Returns:
        The checked configuration, with defaults filled in.

    Raises:
        ConfigError: If the file is not a YAML mapping, an override is malformed, or a
            key is unknown or has a value that it must not have.
    """
    path = Path(path)
    tree = _read_mapping(path)
    edited = [_apply(tree, override) for override in overrides]
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, schema, edited)) from error


def dump_config(config: BaseModel) -> str:
    """YAML of a configuration with all defaults; `load_config` reads it back."""
    tree = config.model_dump(mode="json")
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice instead of taking the last one."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such configuration file")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected sections such as 'model:' at the top level, "
            f"got {type(tree).__name__}"
        )
    return tree


def _apply(tree: dict[str, Any], override: str) -> str:
    """Edit the tree in place and return the path that was set."""
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(
            f"--set {override}: expected section.key=value, such as "
            "training.optimizer.lr=0.001"
        )
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: not a YAML value: {error}") from error
    section = tree
    for depth, name in enumerate(names[:-1]):
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(
                f"--set {override}: {'.'.join(names[: depth + 1])} is a value, not a "
                "section; set it as a whole"
            )
    section[names[-1]] = value
    return ".".join(names)


def _explain(
    error: ValidationError, path: Path, schema: type[BaseModel], edited: list[str]
) -> str:
    """One line for each thing wrong: who said it, which key, what was expected."""
    lines = []
    for detail in error.errors():
        names, siblings = _walk(schema, detail["loc"])
        key = ".".join(names) or "(top level)"
        unknown = detail["type"] == "extra_forbidden"
        origin = "--set" if _was_set(key, edited, within=unknown) else str(path)
        line = f"{origin}: {key}: {_message(detail, names, siblings)}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def _message(detail: ErrorDetails, names: list[str], siblings: list[str]) -> str:
    """What was expected and what was got, in words of the configuration."""
    got, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return "unknown key" + _suggest(names[-1], siblings)
        case "missing":
            return "required, but not given"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case "union_tag_invalid":
            got = context["tag"]
            text = (
                f"{context['discriminator']} must be one of {context['expected_tags']}"
            )
        case "union_tag_not_found":
            text = f"needs the key {context['discriminator']}"
        case "model_type" | "model_attributes_type":
            text = "must be a section with keys of its own"
        case _:
            text = detail["msg"].replace("Input should", "must")
    return f"{text}, got {got!r}"


def _was_set(key: str, edited: list[str], *, within: bool) -> bool:
    """Whether an override set a key, a section around it, or a key `within` it."""
    return any(
        key == e or key.startswith(f"{e}.") or (within and e.startswith(f"{key}."))
        for e in edited
    )


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known keys are {', '.join(known)}" if known else ""


def _walk(
    schema: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[str], list[str]]:
    """Path as the user wrote it, without tags of unions, and keys known at its end."""
    models, names = [schema], []
    siblings: list[str] = []
    for position, part in enumerate(location):
        field = next((f for m in models for n, f in _fields(m) if n == part), None)
        last = position == len(location) - 1
        if field is None and not last and isinstance(part, str):
            models = _tagged(models, part)
            continue
        names.append(str(part))
        siblings = [n for m in models for n in m.model_fields]
        if field is not None:
            models = list(_models_in(field.annotation))
    return names, list(dict.fromkeys(siblings))


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Fields under their name and their aliases."""
    for name, field in model.model_fields.items():
        yield name, field
        for alias in getattr(field.validation_alias, "choices", ()):
            if isinstance(alias, str) and alias != name:
                yield alias, field


def _tagged(models: list[type[BaseModel]], tag: str) -> list[type[BaseModel]]:
    """Members of a union that a tag, or the name of a class, selects."""
    chosen = [
        m
        for m in models
        if m.__name__ == tag or any(f.default == tag for f in m.model_fields.values())
    ]
    return chosen or models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
