"""What a machine has found out and need not find out again: JSON in the user's cache.

Files are in ``$XDG_CACHE_HOME/equipot``, or ``~/.cache/equipot`` without that variable.
Each holds the whole question beside its answer; losing one costs time, nothing else.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipot.atomic_file import write_json

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
        if entry["question"] == json.loads(json.dumps(question)):
            answer = entry["answer"]
            if isinstance(answer, dict):
                return answer
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
        write_json(path, {"question": question, "answer": answer})
    except OSError as error:
        logger.warning("%s cannot be written (%s): it is not remembered", path, error)
