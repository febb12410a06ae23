"""Cache of machine-dependent results: JSON in the cache folder of the user.

Files are in ``$XDG_CACHE_HOME/equipot``, or ``~/.cache/equipot`` without that variable.
Each holds the whole question beside its answer, and a hash of both: one that was edited
is found out anew. Losing one costs time, nothing else.
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
    """Folder of all that is remembered; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "equipot"


def entry_path(topic: str, question: Mapping[str, Any]) -> Path:
    """File of the answer to a question.

    Args:
        topic: Folder of questions of one kind.
        question: JSON values; everything that the answer depends on.
    """
    text = json.dumps(question, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return cache_folder() / topic / f"{name}.json"


def recall(topic: str, question: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Answer that `remember` stored, or None; a damaged file is told of and ignored."""
    path = entry_path(topic, question)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        answer = entry["answer"]
        if entry["question"] != json.loads(json.dumps(question)):
            problem = "it holds something else"
        elif entry["sha256"] != _digest(question, answer):
            problem = "it was edited: it does not match its SHA-256"
        elif isinstance(answer, dict):
            return answer
        else:
            problem = "it holds something else"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    logger.warning("%s cannot be used (%s) and is made anew", path, problem)
    return None


def remember(
    topic: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> None:
    """Store an answer in one step; a folder that cannot be written to is told of."""
    path = entry_path(topic, question)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"question": question, "answer": answer}
        write_json(path, {**entry, "sha256": _digest(question, answer)})
    except OSError as error:
        logger.warning("%s cannot be written (%s): it is not remembered", path, error)


def forget(topic: str, question: Mapping[str, Any]) -> None:
    """Remove an answer, if there is one; a file that cannot be removed is told of."""
    path = entry_path(topic, question)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed (%s)", path, error)


def _digest(question: Mapping[str, Any], answer: Any) -> str:
    """SHA-256 of a question and its answer, in hexadecimal."""
    text = json.dumps([question, answer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
