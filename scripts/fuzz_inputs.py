"""Reads mutated inputs of all kinds: each is read or refused with a clear error.

python scripts/fuzz_inputs.py --files 100000 [--seed 0] [--kind KIND] [--json FILE]
python scripts/fuzz_inputs.py --replay FILE

Inputs are a function of seed, kind and number. Each is read in a process with limits
of memory and time, under an audit of what it executes and writes; see
`fuzzing.sandbox`. What fails is kept in a folder, where it can be replayed; then the
exit status is 1.
"""

import argparse
import json
import platform
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
import numpy as np
import safetensors
import torch
import yaml
from fuzzing.cases import Case
from fuzzing.corpus import KINDS, Corpus
from fuzzing.sandbox import FAILED, READ, REFUSED, Verdict, judge
from fuzzing.targets import read_input
from rich.console import Console
from rich.table import Table

SHARES = {"models": 0.15, "configs": 0.05, "hessians": 0.15, "structures": 0.65}
"""Of all files, by kind."""
FOLDER = Path("fuzz-failures")


@dataclass
class Tally:
    """Results of one kind."""

    files: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one input."""
        self.files += 1
        self.verdicts[verdict.verdict] += 1
        self.labels[f"{case.label}: {verdict.verdict}"] += 1
        self.seconds += verdict.seconds
        self.slowest = max(self.slowest, (verdict.seconds, case.label))
        self.largest = max(self.largest, (verdict.megabytes, case.label))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("all", *KINDS), default="all")
    parser.add_argument("--first", type=int, default=0, help="number to begin at")
    parser.add_argument("--json", type=Path, help="write results")
    parser.add_argument("--failures", type=Path, default=FOLDER, help="folder")
    parser.add_argument("--replay", type=Path, help="read one kept file, unprotected")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    corpus = Corpus(options.seed)
    for case in corpus.intact():
        warm_up(case)
    intact = judge(enumerate(corpus.intact()))
    broken = [(c, v) for c, v in intact if v.verdict != READ]
    for case, verdict in broken:
        print(f"{case.kind} {case.label} is intact, but: {verdict.message}")
    counts = {options.kind: options.files}
    if options.kind == "all":
        counts = {kind: round(options.files * SHARES[kind]) for kind in SHARES}
    tallies = {kind: Tally() for kind in counts}
    failures: list[dict[str, Any]] = []
    inputs = every_input(corpus, counts, options.first)
    for case, verdict in judge(inputs):
        tallies[case.kind].add(case, verdict)
        if verdict.verdict == FAILED:
            failures.append(keep(options.failures, case, verdict))
    console = Console(width=120)
    console.print(table(tallies))
    show_failures(console, failures)
    if options.json is not None:
        write_results(options.json, options.seed, tallies)
    return 1 if failures or broken else 0


def every_input(
    corpus: Corpus, counts: dict[str, int], first: int
) -> Iterator[tuple[int, Case]]:
    """All inputs, the kinds one after another."""
    for kind, count in counts.items():
        for number in range(first, first + count):
            yield number, corpus.case(kind, number)


def warm_up(case: Case) -> None:
    """Read an intact input here: what is imported once is not what inputs execute."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, case.name)
        path.write_bytes(case.data)
        read_input(case.kind, path)


def keep(folder: Path, case: Case, verdict: Verdict) -> dict[str, Any]:
    """Save what failed under a name that tells how to read it."""
    place = folder / f"{case.kind}-{verdict.number}"
    place.mkdir(parents=True, exist_ok=True)
    (place / case.name).write_bytes(case.data)
    (place.with_suffix(".txt")).write_text(verdict.message + "\n", encoding="utf-8")
    return {
        "file": str(place / case.name),
        "label": case.label,
        "message": verdict.message,
    }


def replay(path: Path) -> int:
    """Read one kept file in this process, with the traceback of what it leaks."""
    kind = path.resolve().parent.name.partition("-")[0]
    if kind not in KINDS:
        raise SystemExit(f"{path}: expected a file in a folder such as models-12")
    verdict, message = read_input(kind, path)
    print(f"{verdict}: {message}" if message else verdict)
    return 0


def table(tallies: dict[str, Tally]) -> Table:
    """Results by kind."""
    out = Table(title="Mutated inputs")
    for name in (
        "kind",
        "files",
        READ,
        REFUSED,
        FAILED,
        "ms/file",
        "slowest",
        "memory",
    ):
        out.add_column(name, justify="left" if name == "kind" else "right")
    total = Tally()
    for kind, tally in tallies.items():
        _row(out, kind, tally)
        total.files += tally.files
        total.verdicts += tally.verdicts
        total.seconds += tally.seconds
        total.slowest = max(total.slowest, tally.slowest)
        total.largest = max(total.largest, tally.largest)
    out.add_section()
    _row(out, "all", total)
    return out


def _row(out: Table, name: str, tally: Tally) -> None:
    counts = [f"{tally.verdicts[verdict]:,}" for verdict in (READ, REFUSED, FAILED)]
    slowest, largest = tally.slowest, tally.largest
    out.add_row(
        name,
        f"{tally.files:,}",
        *counts,
        f"{1e3 * tally.seconds / max(tally.files, 1):.2f}",
        f"{slowest[0]:.2f} s ({slowest[1]})",
        f"{largest[0]:.0f} MiB ({largest[1]})",
    )


def show_failures(console: Console, failures: list[dict[str, Any]]) -> None:
    """Failures, those that look alike once."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for failure in failures:
        text = re.sub(r"/\S+|'[^']*'|[-+0-9.e]+", "_", failure["message"])
        tail = failure["message"].rpartition("[")[2]
        groups.setdefault(text[:50] + tail, []).append(failure)
    for group in sorted(groups.values(), key=len, reverse=True):
        first = group[0]
        console.print(
            f"{len(group)} x {first['label']}: {first['file']}\n    {first['message']}",
            markup=False,
            soft_wrap=True,
        )


def as_json(tally: Tally) -> dict[str, Any]:
    """Plain values of a tally."""
    return {
        "files": tally.files,
        **{verdict: tally.verdicts[verdict] for verdict in (READ, REFUSED, FAILED)},
        "milliseconds_per_file": round(1e3 * tally.seconds / max(tally.files, 1), 3),
        "slowest_seconds": round(tally.slowest[0], 3),
        "slowest": tally.slowest[1],
        "largest_mebibytes": round(tally.largest[0], 1),
        "largest": tally.largest[1],
        "labels": dict(sorted(tally.labels.items())),
    }


def write_results(path: Path, seed: int, tallies: dict[str, Tally]) -> None:
    """Write results; kinds that were not read now are kept from an earlier run."""
    kinds = {kind: as_json(tally) for kind, tally in tallies.items()}
    results: dict[str, Any] = {"seed": seed, "versions": versions(), "kinds": kinds}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["seed"] == seed and before["versions"] == results["versions"]:
            results["kinds"] = {**before["kinds"], **kinds}
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """What did the reading."""
    return {
        "python": platform.python_version(),
        "ase": ase.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
        "torch": str(torch.__version__),
        "yaml": yaml.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
