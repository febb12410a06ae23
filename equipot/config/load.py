"""Load a YAML configuration, apply ``--set`` options, validate it, explain errors."""

import copy
import logging
from collections.abc import Hashable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from equipot.config.choices import merge_choices
from equipot.config.kinds import meant_for_another_command
from equipot.config.plain_values import MERGE, TAG, PlainDumper, PlainLoader
from equipot.system.paths import located

logger = logging.getLogger(__name__)

C = TypeVar("C", bound=BaseModel)

TEXT = f"{TAG}str"
"""YAML tag of strings."""
MAX_NODES = 2**17
"""Maximum number of bytes, and of values after expansion of aliases."""
MAX_DEPTH = 50
"""Maximum nesting depth."""
MAX_TEXT_LENGTH = 4096
"""Maximum number of characters of a value."""
MAX_QUOTE_LENGTH = 300
"""Maximum number of characters of a value in a message."""
NOT_A_NUMBER = ("int_parsing", "float_parsing", "bool_parsing", "int_from_float")
"""Error types of pydantic with redundant messages."""
MAX_LINES = 10
"""Maximum number of errors in a message."""


class ConfigError(ValueError):
    """Invalid configuration; the message names the file, the key and the remedy."""


def load_config(path: Path | str, overrides: Sequence[str], schema: type[C]) -> C:
    """Load and validate a configuration.

    Args:
        path: YAML file.
        overrides: Edits ``section.key=value``, applied in order; values
            are YAML, so ``a.b=3`` is a number and ``a.b=null`` is null.
        schema: Root section, such as `equipot.config.train.TrainConfig`.

    Returns:
        The validated configuration, with defaults filled in.

    Raises:
        ConfigError: If the file is not a YAML mapping or meant for another command, an
            override is malformed, or a key is unknown or has an invalid
            value.
    """
    path = Path(path)
    tree = _read_mapping(path)
    if elsewhere := meant_for_another_command(path, tree, schema.model_fields):
        raise ConfigError(elsewhere)
    before = copy.deepcopy(tree)
    edited = [_apply(tree, override) for override in overrides]
    for name in edited:
        _leave_old_choice(tree, before, name.split("."), schema, edited)
    try:
        config = schema.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, schema, edited)) from error
    for key, number in _huge_integers(config.model_dump(), ""):
        raise ConfigError(f"{path}: {key}: must be less than 2^63, got {number:.3g}")
    return config


def _huge_integers(tree: Any, key: str) -> Iterator[tuple[str, float]]:
    """Integers of 2^63 or more, with their keys."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _huge_integers(value, f"{key}.{name}".removeprefix("."))
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _huge_integers(value, key)
    elif isinstance(tree, int) and abs(tree) >= 2**63:
        yield key, float(min(abs(tree), 10**300))


def dump_config(config: BaseModel) -> str:
    """Configuration as YAML with all defaults; the inverse of `load_config`."""
    tree = config.model_dump(mode="json")
    text: str = yaml.dump(tree, Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
    return text


class _Loader(PlainLoader):
    """Safe loader of limited size that rejects duplicate keys."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; rejects excessive depth before recursion."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"more than {MAX_DEPTH} levels",
                self.peek_event().start_mark,
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Compose the document; rejects excessive expansion of aliases."""
        node = super().get_single_node()
        if node is not None:
            _expanded_size(node, {})
        return node

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.key_of(key_node)
            if not isinstance(key, Hashable):
                continue  # rejected with its position below
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", node.start_mark
                )
            seen.add(key)
            if isinstance(key_node, yaml.ScalarNode):
                key_node.tag = TEXT
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if len(text) > MAX_TEXT_LENGTH or not text.replace("\n", "").isprintable():
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"a string has characters that are not printable, or more than "
                f"{MAX_TEXT_LENGTH}: {text[:60]!r}",
                node.start_mark,
            )
        return text


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Number of nodes of a tree after expansion of aliases."""
    if id(node) not in sizes:
        sizes[id(node)] = MAX_NODES  # for an alias of an enclosing node
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        total = 1 + sum(_expanded_size(child, sizes) for child in children)
        sizes[id(node)] = total
    if sizes[id(node)] >= MAX_NODES:
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"aliases are recursive, or expand to more than {MAX_NODES} values",
            node.start_mark,
        )
    return sizes[id(node)]


def _parse(text: str) -> Any:
    """Parse YAML.

    Raises:
        ValueError: If it is invalid or exceeds a limit; the message has the reason.
    """
    if len(text) > MAX_NODES:
        raise ValueError(f"{len(text)} characters, expected at most {MAX_NODES}")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(_cut(str(error))) from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        # numbers of thousands of digits, dates such as 2001-99-99, 0x_
        raise ValueError(f"a value cannot be read: {_cut(str(error))}") from error


def _cut(text: str) -> str:
    """Truncate a text for a message."""
    return text if len(text) <= MAX_QUOTE_LENGTH else f"{text[:MAX_QUOTE_LENGTH]} ..."


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{located(path)}: no such configuration file")
    try:
        if (size := path.stat().st_size) > MAX_NODES:
            raise ValueError(f"{size} bytes, expected at most {MAX_NODES}")
        tree = _parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
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
    if not equals or not all(names) or len(names) > MAX_DEPTH or not key.isprintable():
        raise ConfigError(
            f"--set {_cut(override)}: expected section.key=value, such as "
            "training.optimizer.lr=0.001"
        )
    try:
        value = _parse(text)
    except ValueError as error:
        raise ConfigError(
            f"--set {_cut(override)}: not a YAML value: {error}"
        ) from error
    section = tree
    for depth, name in enumerate(names[:-1]):
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(
                f"--set {_cut(override)}: {'.'.join(names[: depth + 1])} is a value, "
                "not a section; set it as a whole"
            )
    section[names[-1]] = value
    return ".".join(names)


def _leave_old_choice(
    tree: dict[str, Any],
    before: dict[str, Any],
    names: list[str],
    schema: type[BaseModel],
    edited: list[str],
) -> None:
    """Drop keys of the previous choice if an override selects another one.

    For example, ``ensemble.name=npt`` drops the friction of a Langevin section in the
    file; a log message names the dropped keys.
    """
    *parents, tag = names
    models: list[type[BaseModel]] = [schema]
    section, old = tree, before
    for name in parents:
        fields = [f for m in models for n, f in _fields(m) if n == name]
        models = [m for f in fields for m in _models_in(f.annotation)]
        section, old = section.get(name, {}), old.get(name, {})
        if not isinstance(section, dict) or not isinstance(old, dict):
            return
    choices = {
        m.model_fields[tag].default: m
        for m in models
        if tag in m.model_fields and isinstance(m.model_fields[tag].default, str)
    }
    was, now = _choice(old.get(tag), choices), _choice(section.get(tag), choices)
    if len(choices) < 2 or was is None or now is None or was is now:
        return
    prefix = ".".join(parents)
    left = [
        key
        for key in old
        if key in section
        and key in was.model_fields
        and key not in now.model_fields
        and f"{prefix}.{key}" not in edited
    ]
    for key in left:
        del section[key]
    if left:
        logger.info(
            "%s of the file not used: %s has no such key, it belongs to %s",
            ", ".join(f"{prefix}.{key}" for key in left),
            section[tag],
            old[tag],
        )
    lacking = [
        f"{prefix}.{n} ({_sentence(f.description)})"
        for n, f in now.model_fields.items()
        if f.is_required() and n not in section
    ]
    if lacking:
        raise ConfigError(
            f"--set {prefix}.{tag}={section[tag]}: {section[tag]} needs "
            f"{' and '.join(lacking)}; add --set {lacking[0].split(' ')[0]}=VALUE"
        )


def _choice(value: Any, choices: dict[str, type[BaseModel]]) -> type[BaseModel] | None:
    return choices.get(value) if isinstance(value, str) else None


def _sentence(description: str | None) -> str:
    return " ".join((description or "required").split()).rstrip(".")


def _explain(
    error: ValidationError, path: Path, schema: type[BaseModel], edited: list[str]
) -> str:
    """One line per error: its source, the key, and what was expected."""
    lines = []
    for detail in merge_choices(error.errors(), schema):
        names, siblings = _walk(schema, detail["loc"])
        key = ".".join(names) or "(top level)"
        unknown = detail["type"] == "extra_forbidden"
        origin = "--set" if _was_set(key, edited, within=unknown) else str(path)
        line = f"{origin}: {_cut(key)}: {_message(detail, names, siblings)}"
        if line not in lines:
            lines.append(line)
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"and {len(lines) - MAX_LINES} more"]
    return "\n".join(lines)


def _message(detail: ErrorDetails, names: list[str], siblings: list[str]) -> str:
    """Expected and actual value, in terms of the configuration."""
    got, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return "unknown key" + _suggest(names[-1], siblings)
        case "missing":
            return "required, but missing"
        case "choice":
            text = detail["msg"]
        case "path_type":
            text = "must be a path"
        case "value_error":
            return _cut(detail["msg"].removeprefix("Value error, "))
        case "union_tag_invalid":
            tag = context["discriminator"].strip("'")
            got = got.get(tag) if isinstance(got, dict) else context["tag"]
            text = (
                f"{context['discriminator']} must be one of {context['expected_tags']}"
            )
        case "union_tag_not_found":
            text = f"needs the key {context['discriminator']}"
        case "model_type" | "model_attributes_type":
            text = "must be a section of keys"
        case _:
            text = detail["msg"].replace("Input should", "must")
            if detail["type"] in NOT_A_NUMBER:  # redundant text after the comma
                text = text.split(",")[0]
    return f"{_cut(text)}, got {_cut(_shown(got))}"


def _shown(value: Any) -> str:
    """Value in the spelling of a configuration: null, true and false."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list | dict):
        text: str = yaml.dump(value, Dumper=PlainDumper, default_flow_style=True)
        return " ".join(text.split())
    return repr(value)


def _was_set(key: str, edited: list[str], *, within: bool) -> bool:
    """Whether an override set a key, an enclosing section, or a key `within` it."""
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
    """Path as written by the user, without union tags, and known keys at its end."""
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
    """Fields by name and aliases."""
    for name, field in model.model_fields.items():
        yield name, field
        for alias in getattr(field.validation_alias, "choices", ()):
            if isinstance(alias, str) and alias != name:
                yield alias, field


def _tagged(models: list[type[BaseModel]], tag: str) -> list[type[BaseModel]]:
    """Union members selected by a tag or a class name."""
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
