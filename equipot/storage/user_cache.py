"""Cache of machine-dependent results: JSON in the cache directory of the user.

Files are in ``$XDG_CACHE_HOME/equipot``, or ``~/.cache/equipot`` without that variable.
Each contains the full key, the value, and a hash of both; an edited entry is discarded
and recomputed. The cache can be deleted at any time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipot.storage.atomic_file import write_json

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Root directory of the cache; may not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "equipot"


def entry_path(topic: str, question: Mapping[str, Any]) -> Path:
    """File of a cache entry.

    Args:
        topic: Directory of the entries of one kind.
        question: Key: JSON values, everything that the value depends on.
    """
    text = json.dumps(question, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return cache_folder() / topic / f"{name}.json"


def load_cached(topic: str, question: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Stored value, or None; a damaged file is ignored with a warning."""
    path = entry_path(topic, question)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        answer = entry["answer"]
        if entry["question"] != json.loads(json.dumps(question)):
            problem = "its key is another one"
        elif entry["sha256"] != _digest(question, answer):
            problem = "it was edited: it does not match its SHA-256"
        elif isinstance(answer, dict):
            return answer
        else:
            problem = "its value is not a dictionary"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    logger.warning("%s cannot be used (%s) and is recomputed", path, problem)
    return None


def store_cached(
    topic: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> None:
    """Store a value in one step; log a warning if the file is not writable."""
    path = entry_path(topic, question)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"question": question, "answer": answer}
        write_json(path, {**entry, "sha256": _digest(question, answer)})
    except OSError as error:
        logger.warning("%s cannot be written (%s): it is not cached", path, error)


def delete_cached(topic: str, question: Mapping[str, Any]) -> None:
    """Remove a value, if there is one; log a warning if that fails."""
    path = entry_path(topic, question)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed (%s)", path, error)


def _digest(question: Mapping[str, Any], answer: Any) -> str:
    """SHA-256 of a key and its value, in hexadecimal."""
    text = json.dumps([question, answer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
