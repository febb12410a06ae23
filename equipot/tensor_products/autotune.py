"""``backend="auto"``: selection of the fastest backend by timing on this machine."""

import json
import logging
import math
import statistics
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from equipot.storage.user_cache import cache_folder, load_cached, store_cached
from equipot.tensor_products import (
    BACKENDS,
    REFERENCE,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.fingerprint import fingerprint
from equipot.tensor_products.trial import (
    Problem,
    cast,
    disagreements,
    limited_to_time,
    random_inputs,
    seconds,
)

logger = logging.getLogger(__name__)

TOPIC = "autotune"
TIMING_BUDGET_SECONDS = 1.0
"""Time budget in seconds after the first `MIN_ROUNDS` passes of every candidate."""
MIN_ROUNDS = 3
"""Smallest number of passes of every candidate; a single pass may be disturbed."""
MAX_ROUNDS = 15
"""Largest number of passes of a candidate."""
PASS_SECONDS = 0.1
"""Largest time in seconds of a pass of the reference; the number of edges is reduced
to meet it."""
MAX_SLOWDOWN = 3.0
"""Slowdown relative to the fastest candidate above which a candidate is dropped."""
MAX_RELATIVE_SPREAD = 0.5
"""Largest relative spread of pass times (`Choice.spread`) with which a choice is
cached; on an idle machine the spread is below a tenth of it."""


class BackendExcludedWarning(UserWarning):
    """A backend disagrees with the reference or fails."""


@dataclass(frozen=True)
class Choice:
    """Selected backend with the measurements behind the selection."""

    backend: str
    """Name among `equipot.tensor_products.BACKENDS`."""
    milliseconds: dict[str, float]
    """Minimum time of a forward and backward pass of each candidate."""
    skipped: dict[str, str]
    """Backends that do not support the products or this machine, with the reason."""
    excluded: dict[str, str]
    """Backends that disagree with the reference, with the difference."""
    problem: str
    """Description of the timed problem."""
    spread: float = 0.0
    """Largest relative spread of pass times, median over minimum minus one, of all
    candidates that were not dropped."""
    remembered: bool = False
    """Whether the choice comes from the cache."""

    def __str__(self) -> str:
        others = [
            f"{name} {ms:.3g} ms"
            for name, ms in sorted(self.milliseconds.items(), key=lambda item: item[1])
            if name != self.backend
        ]
        parts = [f"backend auto is {self.backend} on this machine"]
        if self.backend in self.milliseconds:
            took = f"{self.milliseconds[self.backend]:.3g} ms"
            parts.append(
                f"{took} for {self.problem} ({', '.join(others)})"
                if others
                else f"{took} for {self.problem}"
            )
        else:
            parts.append("it is the only candidate")
        if self.excluded:
            wrong = [f"{name} ({reason})" for name, reason in self.excluded.items()]
            parts.append(f"excluded: {', '.join(wrong)}")
        if self.skipped and not self.remembered:
            # `equipot doctor` and `equipot verify` give the reasons.
            parts.append(f"not supported: {', '.join(self.skipped)}")
        if self.spread > MAX_RELATIVE_SPREAD:
            parts.append(
                f"not cached, as repeated timings differ by {self.spread:.0%}: the "
                "machine is busy"
            )
        parts.append("from the cache" if self.remembered else "measured now")
        return "; ".join(parts)


_CHOICE = TypeAdapter(Choice)


def choose_backend(problem: Problem) -> Choice:
    """Select the fastest backend that agrees with the reference.

    Candidates are compared with the reference in values, gradients and second
    derivatives, then timed alternately, forward and backward; the minimum time decides.
    The choice is cached by hardware, versions and problem, unless the timings of a
    candidate vary too much.

    Args:
        problem: Products of the model and the size of a typical evaluation.

    Returns:
        The choice; `str` of it describes the measurement. Without products it is the
        reference.

    Warns:
        BackendExcludedWarning: If a backend is excluded because its results are wrong.
    """
    if not problem.specs:
        return Choice(REFERENCE, {}, {}, {}, problem="no tensor products")
    problem = problem.bounded()
    skipped = _skipped(problem)
    question = _question(problem, skipped)
    if (answer := load_cached(TOPIC, question)) is not None:
        choice = _from_answer(answer, set(BACKENDS) - set(skipped))
        if choice is not None:
            for name, reason in choice.excluded.items():
                _warn(name, reason)
            return choice
        logger.warning("the cache in %s is damaged: measuring again", cache_folder())
    candidates, excluded = _agreeing(problem, [n for n in BACKENDS if n not in skipped])
    measured = limited_to_time(problem, candidates[REFERENCE], PASS_SECONDS)
    passes = _measure(candidates, measured) if len(candidates) > 1 else {}
    times = {name: 1000 * min(taken) for name, taken in passes.items()}
    choice = Choice(
        backend=min(times, key=lambda name: times[name]) if times else REFERENCE,
        milliseconds=times,
        skipped=skipped,
        excluded=excluded,
        problem=_describe(measured),
        spread=_spread(passes),
    )
    if choice.spread <= MAX_RELATIVE_SPREAD:
        store_cached(TOPIC, question, asdict(choice))
    return choice


Products = Mapping[TensorProductSpec, TensorProduct[Any]]


def _skipped(problem: Problem) -> dict[str, str]:
    """Backends that are not supported, with the reason."""
    skipped = {}
    for name, backend in BACKENDS.items():
        reasons = (backend.unsupported(spec) for spec in problem.specs)
        reason = next((r for r in reasons if r is not None), None)
        reason = reason or unavailable(name, problem.device)
        if reason is not None:
            skipped[name] = reason
    return skipped


def _agreeing(
    problem: Problem, names: Iterable[str]
) -> tuple[dict[str, Products], dict[str, str]]:
    """Products of the backends that agree, and the differences of the others."""
    specs = dict.fromkeys(problem.specs)
    reference = {spec: BACKENDS[REFERENCE](spec) for spec in specs}
    candidates: dict[str, Products] = {}
    excluded: dict[str, str] = {}
    for name in names:
        if name == REFERENCE:
            candidates[name] = reference
            continue
        try:
            products = {spec: BACKENDS[name](spec) for spec in specs}
            found = disagreements(products, reference, problem)
        except RuntimeError as error:
            excluded[name] = f"it raised {type(error).__name__}: {error}"
        else:
            if not found:
                candidates[name] = products
                continue
            what, first = next(iter(found.items()))
            excluded[name] = (
                f"{what} differ from {REFERENCE} by a relative error of "
                f"{first.relative:.1e}, expected at most {first.tolerance:.1e}"
            )
        _warn(name, excluded[name])
    return candidates, excluded


def _warn(name: str, reason: str) -> None:
    warnings.warn(
        f"backend {name!r} is excluded, it is wrong on this machine: {reason}",
        BackendExcludedWarning,
        stacklevel=3,
    )


def _measure(
    candidates: Mapping[str, Products], problem: Problem
) -> dict[str, list[float]]:
    """Pass times in seconds of each candidate, measured alternately."""
    inputs = cast(random_inputs(problem), problem.dtype)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for products in candidates.values():
        seconds(products, problem, inputs)  # warm-up
    for _ in range(MIN_ROUNDS):
        for name, products in candidates.items():
            times[name].append(seconds(products, problem, inputs))
    deadline = time.perf_counter() + TIMING_BUDGET_SECONDS
    for _ in range(MAX_ROUNDS - MIN_ROUNDS):
        hopeful = _hopeful(times)
        for name in hopeful:
            if time.perf_counter() > deadline:
                break
            times[name].append(seconds(candidates[name], problem, inputs))
    return times


def _hopeful(times: Mapping[str, list[float]]) -> list[str]:
    """Candidates within `MAX_SLOWDOWN` of the fastest."""
    best = min(min(taken) for taken in times.values())
    return [name for name, taken in times.items() if min(taken) < MAX_SLOWDOWN * best]


def _spread(times: Mapping[str, list[float]]) -> float:
    """Largest relative spread of pass times; see `Choice.spread`."""
    if not times:
        return 0.0
    taken = [times[name] for name in _hopeful(times)]
    return max(statistics.median(t) / min(t) - 1 for t in taken)


def _question(problem: Problem, skipped: Mapping[str, str]) -> dict[str, Any]:
    """Cache key: everything that the choice depends on, as JSON."""
    return {
        **fingerprint(problem.device),
        "candidates": [name for name in BACKENDS if name not in skipped],
        "skipped": dict(skipped),
        "specs": [asdict(spec) for spec in problem.specs],
        "channels": problem.channels,
        "nodes": problem.num_nodes,
        "edges": problem.num_edges,
        "dtype": str(problem.dtype),
        "device": problem.device.type,
    }


def _from_answer(answer: Mapping[str, Any], able: set[str]) -> Choice | None:
    """Choice from a cache entry; None if its backend is not available."""
    try:
        text = json.dumps({**answer, "remembered": True})
        choice = _CHOICE.validate_json(text, strict=True)
    except ValidationError:
        return None
    times = choice.milliseconds
    measured = able - set(choice.excluded)
    sound = all(0 < time < math.inf for time in times.values())
    fastest = min(times, key=lambda name: times[name]) if times else REFERENCE
    expected = measured if len(measured) > 1 else set()
    quiet = 0 <= choice.spread <= MAX_RELATIVE_SPREAD
    whole = set(answer) == {field.name for field in fields(Choice)}
    right = whole and sound and quiet and set(times) == expected
    return choice if right and choice.backend == fastest else None


def _describe(problem: Problem) -> str:
    arithmetic = str(problem.dtype).removeprefix("torch.")
    threads = torch.get_num_threads()
    where = (
        f"{threads} thread{'s' * (threads != 1)}"
        if problem.device.type == "cpu"
        else "cuda"
    )
    return f"{problem.num_edges} edges forward and backward, {arithmetic}, {where}"
