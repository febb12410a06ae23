"""`Verdict`: one line of the table that the judges fill."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a judge measured, and what it holds against it."""

    judge: str
    """Package, with its version."""
    check: str
    """What was checked, as the judge calls it, with its unit."""
    measured: float | str
    """Of our potential."""
    expected: float | str
    """What is right: of the teacher by the same judge, or in the judge's words."""
    limit: str
    """When it passes."""
    passed: bool
    seconds: float
    """Of the whole run that this line is part of."""


def print_table(verdicts: list[Verdict]) -> None:
    """One line for each, and how many passed."""
    rows = [("judge", "check", "measured", "expected", "passes if", "", "s")]
    rows += [
        (
            v.judge,
            v.check,
            _text(v.measured),
            _text(v.expected),
            v.limit,
            "pass" if v.passed else "FAIL",
            f"{v.seconds:.1f}",
        )
        for v in verdicts
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
    passed = sum(v.passed for v in verdicts)
    print(f"{passed} of {len(verdicts)} passed")


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.5g}"
