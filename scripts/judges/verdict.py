"""`Verdict`: one row of the table of external test results."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Result of one external test with its expected value."""

    judge: str
    """Package, with its version."""
    check: str
    """Name of the tested quantity in the package, with its unit."""
    measured: float | str
    """Value for the potential of this package."""
    expected: float | str
    """Expected value: of the reference potential by the same test, or as documented by
    the package."""
    limit: str
    """Criterion for passing."""
    passed: bool
    seconds: float
    """Run time of the whole run of this row."""


def print_table(verdicts: list[Verdict]) -> None:
    """One line per verdict, and the number of passed ones."""
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
