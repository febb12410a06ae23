"""Whether a resumed run is the one that was started: configuration and data."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from equipot.config.train import TrainConfig
from equipot.storage.rotation import StateError

FREE: Final[tuple[str, ...]] = (
    "data.root",
    "training.max_minutes",
    "training.checkpoint_minutes",
    "training.checkpoint_steps",
    "training.keep",
    "training.early_stop",
    "training.verify",
)
"""Keys that a resume may change; the data behind `data.root` are compared by hash."""
KEPT: Final = ("model.backend", "auto")
"""Key and value that a resume may have, whatever the run had: the run keeps its own."""


def check_same_config(
    before: Mapping[str, Any], now: Mapping[str, Any], *, finished: bool = False
) -> None:
    """Refuse to go on with another configuration.

    Args:
        before: Configuration of the run as JSON; keys that its version did not have yet
            count as their defaults.
        now: That of the resume.
        finished: Whether the run has ended, so that it can be lengthened.

    Raises:
        StateError: Names every key that differs, with both values.
    """
    before = _with_new_keys(before)
    planned = before["training"]["schedule"]["kind"] == "cosine" and not finished
    free = FREE if planned else (*FREE, "training.epochs")
    changes = [
        f"  {key}: {old!r} in the run, {new!r} now"
        for key, old, new in _differences(before, now)
        if (key, new) != KEPT
        and not any(key == name or key.startswith(f"{name}.") for name in free)
    ]
    if changes:
        raise StateError(
            "cannot resume with another configuration:\n"
            + "\n".join(changes)
            + f"\nOnly {', '.join(free)} may change"
            + (", and training.epochs once the run has ended" if planned else "")
            + "; start a new run for anything else."
        )


def check_same_data(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with other data.

    Args:
        before: SHA-256 of every file when the run started.
        now: Those of the resume.

    Raises:
        StateError: Names the files that differ.
    """
    changed = [file for file in now if before.get(file) != now[file]]
    missing = [file for file in before if file not in now]
    if changed or missing:
        raise StateError(
            "cannot resume with other data: changed or new since the run started are "
            f"{', '.join(changed + missing)}; restore them, or start a new run"
        )


def _with_new_keys(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the defaults of keys that are newer than a configuration."""
    try:
        return TrainConfig.model_validate(tree).model_dump(mode="json")
    except ValidationError:
        # a key that is gone will be named among the differences
        return tree


def _differences(
    before: Any, now: Any, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            name = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key), now.get(key), name)
    elif before != now:
        yield path, before, now
