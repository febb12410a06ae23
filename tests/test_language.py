"""Documents, help texts and docstrings use standard terms and American spelling."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    path
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/*.md",
        "data/*.md",
        "configs/*.yaml",
        "equipot/**/*.py",
        "equipot/report/templates/*",
        "benchmarks/**/*.py",
        "scripts/**/*.py",
    )
    for path in ROOT.glob(pattern)
)
FORBIDDEN = {
    "person": r"[Ww]ho (computes|minimizes|answers|predicts)|[Ww]hom to|looks away"
    r"|nobody looks|believed then",
    "bit for bit": r"to the bit\b",
    "channels per degree": r"Copies of each degree",
    "extrapolation event": r"[Ee]xcursion",
    "report": r"\b(Model)?Certificate\b|certificate\.json",
    "training and validation sets": r"structures? to learn from|\d to select by",
    "checks of verify": r"company in a batch|[Ii]ts transpose \||[Aa]nother search \|"
    r"|its atoms apart|the same call again|the other side of the cutoff",
    "American spelling": r"[Nn]eighbour|[Ll]abelled\b|[Bb]ehaviour|[Cc]olour"
    r"|[Ll]icence|[Ss]poilt|[Mm]is?sspelt|\banalysed?\b"
    r"|(normal|general|diagonal|symmetr|initial|optim|minim|summar)is(e|ed|es|ing)\b",
}
ALLOWED = {
    "equipot/report/templates/macros.html.jinja": ["labelled"],  # aria-labelledby
    "equipot/cli/main.py": ["analyse"],  # hidden alias of `equipot analyze`
    "scripts/judges/ml_peg_judge.py": ["analyse"],  # a module of ml-peg
    "CONTRIBUTING.md": ["to the bit"],  # an example of what not to write
}


@pytest.mark.parametrize("term", FORBIDDEN)
def test_paraphrases_and_british_spelling_are_absent(term):
    pattern = re.compile(FORBIDDEN[term])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := pattern.search(line))
        and match[0] not in ALLOWED.get(str(path.relative_to(ROOT)), [])
    ]

    assert found == []
