"""Check that a resumed run has the same configuration and data as before."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from equipot.config.train import TrainConfig
from equipot.storage.rotation import StateError

CHANGEABLE_KEYS: Final[tuple[str, ...]] = (
    "data.root",
    "training.max_minutes",
    "training.checkpoint_minutes",
    "training.checkpoint_steps",
    "training.keep",
    "training.early_stop",
    "training.verify",
)
"""Keys that may change on resume; data files are compared by hash."""
KEPT_BACKEND: Final = ("model.backend", "auto")
"""Key and value accepted on resume; the run keeps its backend."""


def check_same_config(
    before: Mapping[str, Any], now: Mapping[str, Any], *, finished: bool = False
) -> None:
    """Reject to resume with a different configuration.

    Args:
        before: Configuration of the run as JSON; missing new keys get their
            defaults.
        now: Current configuration.
        finished: Whether the run has ended, so that epochs may be added.

    StateError: If keys differ; lists them with both values.
        StateError: Names every key that differs, with both values.
    """
    before = _with_new_keys(before)
    planned = before["training"]["schedule"]["kind"] == "cosine" and not finished
    free = CHANGEABLE_KEYS if planned else (*CHANGEABLE_KEYS, "training.epochs")
    changes = [
        f"  {key}: {old!r} in the run, {new!r} now"
        for key, old, new in _differences(before, now)
        if (key, new) != KEPT_BACKEND
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
    """Reject to resume with different data.

    Args:
        before: SHA-256 of every file when the run started.
        now: SHA-256 of every file on resume.

    Raises:
        StateError: If files differ; lists them.
    """
    changed = [file for file in now if before.get(file) != now[file]]
    missing = [file for file in before if file not in now]
    if changed or missing:
        raise StateError(
            "cannot resume with other data: changed or new since the run started are "
            f"{', '.join(changed + missing)}; restore them, or start a new run"
        )


def _with_new_keys(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Configuration with defaults for missing keys."""
    try:
        return TrainConfig.model_validate(tree).model_dump(mode="json")
    except ValidationError:
        # a removed key is reported among the differences
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
