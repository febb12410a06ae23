"""Fuzzing of the readers with hypothesis: each input is read or refused clearly.

    python scripts/fuzz.py TARGET --examples 100000 [--seed 0] [--format FORMAT]
    python scripts/fuzz.py TARGET --replay FILE
    python scripts/fuzz.py TARGET --atheris [options of libFuzzer]

Targets are structures, hessians, configurations, models, foreign (models of other
packages), and all. The smallest input that fails, or the input that ended the process,
is left in `fuzz-failures/TARGET`. An input may take 256 MiB and 5 s; 60 s end the
process. With ``--atheris`` (pip install -e .[fuzz]) libFuzzer chooses the inputs by the
code that they reach.
"""

import argparse
import faulthandler
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

FAILURES = Path("fuzz-failures")
INPUT_SECONDS, PROCESS_SECONDS = 5.0, 60.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ("structures", "hessians", "configurations", "models", "foreign", "all")
    parser.add_argument("target", choices=names)
    parser.add_argument("--examples", type=int, default=2000, help="inputs by target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", help="one format of structures, such as traj")
    parser.add_argument("--replay", type=Path, help="read one file, without limits")
    parser.add_argument("--atheris", action="store_true", help="guide by coverage")
    options, others = parser.parse_known_args()
    if others and not options.atheris:
        parser.error(f"unknown options: {' '.join(others)}")
    if options.atheris:
        fuzz_by_coverage(options.target, others)
    elif options.replay is not None:
        from fuzzing.readers import READERS  # noqa: PLC0415

        READERS[options.target][0](options.replay)
    else:
        for target in names[:-1] if options.target == "all" else [options.target]:
            fuzz(target, options.examples, options.seed, options.format)


def fuzz(target: str, examples: int, number: int, only: str | None = None) -> None:
    """Read so many random inputs, and print how many were read and refused."""
    outcomes: Counter[str] = Counter()
    begin = time.monotonic()
    test = seed(number)(
        settings(
            max_examples=examples,
            deadline=timedelta(seconds=INPUT_SECONDS),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )(make_test(target, FAILURES / target, outcomes, only))
    )
    test()
    shutil.rmtree(FAILURES / target)
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes.items()))
    print(f"{target}: {counts}, none failed, {time.monotonic() - begin:.0f} s")


def make_test(
    target: str, folder: Path, outcomes: Counter[str], only: str | None = None
) -> Callable[[], None]:
    """Test of hypothesis that writes an input into a folder of its own and reads it."""
    from fuzzing.readers import check_input  # noqa: PLC0415
    from fuzzing.strategies import TARGETS  # noqa: PLC0415

    arguments = {"only": only} if only else {}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    @given(TARGETS[target](**arguments))
    def test(drawn: tuple[str, bytes]) -> None:
        for left in folder.iterdir():
            left.unlink()
        path = folder / drawn[0]
        path.write_bytes(drawn[1])
        faulthandler.dump_traceback_later(PROCESS_SECONDS, exit=True)
        try:
            outcomes[check_input(target, path)] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()

    return test


def fuzz_by_coverage(target: str, options: list[str]) -> None:
    """Let libFuzzer choose the bytes that hypothesis draws an input from."""
    import atheris  # noqa: PLC0415

    packages = ["ase", "yaml", "equipot.config", "equipot.data", "equipot.checkpoint"]
    with atheris.instrument_imports(include=[*packages, "equipot.storage"]):
        test: Any = make_test(target, FAILURES / target, Counter())
    atheris.Setup([sys.argv[0], *options], test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
