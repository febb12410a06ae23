"""YAML that runs code, explodes, or holds what no computation takes."""

import pytest

from equipot.config.load import ConfigError, load_config
from equipot.config.train import TrainConfig

BASE = "data: {train: [a.xyz]}\n"


@pytest.fixture
def load(tmp_path):
    """Load a configuration of this content."""

    def load(content, *overrides):
        path = tmp_path / "a.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_config(path, overrides, TrainConfig)

    return load


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [{canary}]",
        "!!python/object/new:os.mkdir [{canary}]",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!!python/object:os.PathLike {{}}",
    ],
)
def test_tags_of_python_are_refused_and_not_executed(load, tag, tmp_path):
    canary = tmp_path / "canary"
    value = tag.format(canary=canary)

    with pytest.raises(ConfigError, match=r"a\.yaml: not valid YAML"):
        load(f"{BASE}seed: {value}\n")
    with pytest.raises(ConfigError, match=r"--set .* not a YAML value"):
        load(BASE, f"seed={value}")
    assert not canary.exists()


def aliases(levels, first, repeat):
    """Aliases of which each stands for nine of the one before."""
    lines = [f"a0: &a0 {first}"]
    for n in range(levels):
        lines.append(f"a{n + 1}: &a{n + 1} " + repeat.format(", ".join([f"*a{n}"] * 9)))
    return "\n".join(lines)


MANY = "model:\n" + "".join(f"  k{n}: {'x' * 2000}\n" for n in range(50))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (aliases(30, "[x, x]", "[{}]"), "aliases stand for"),
        (aliases(30, "{k: 1}", "{{<<: [{}]}}"), "aliases stand for"),
        ("data: &a {train: *a}", "aliases stand for"),
        ("a: " + "[" * 5000, "levels"),
        ("- " * 60 + "1", "more than 50 levels"),
        ("a: 1\n" * 30000, "bytes, expected at most"),
        ("seed: " + "9" * 5000, "more than 4096"),
        ("seed: 2001-99-99", "must be a valid integer"),
        ("seed: !!timestamp x", "a value cannot be read"),
        ("seed: 0x_", "must be a valid integer"),
        ('seed: "a\\0b"', "cannot be printed"),
        ('seed: "\\ud800"', "cannot be printed"),
        ("? [a, b]\n: 1", "unhashable"),
        ("%YAML 9.9\n---\nseed: 1", "not valid YAML"),
        ("--- 1\n--- 2", "not valid YAML"),
        ("seed: *a", "not valid YAML"),
        ("model: !!set {a, b}", "model"),
        ("model: !!binary aGVsbG8=", "model"),
        ("seed: !!float x", "a value cannot be read"),
        ("[]", "expected"),
        ("", "data"),
        ("? {a: b}\n: 1", "unhashable"),
        ("seed: 1\nseed: 2", "the key 'seed' occurs twice"),
        (b"seed: \x00", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (MANY, "and 41 more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_yaml_trips_over_are_refused(load, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(text)

    assert "a.yaml" in str(caught.value)
    assert len(str(caught.value)) < (10_000 if text == MANY else 2000)


REFUSED_OVERRIDES = {
    "finite": [
        "model.cutoff=.nan",
        "model.cutoff=.inf",
        "training.optimizer.lr=1.0e+400",
        "data.reference_energies={H: .nan}",
    ],
    r"less than 2\^63": ["seed=" + "9" * 30],
    "exceeded maximum size": ["seed=1.0e+30"],
    "less than or equal": [
        "model.channels=1000000000",
        "model.lmax=500",
        "model.num_layers=1000000",
        "model.radial_hidden=[1000000000]",
    ],
    "give files": ["data.test=false", "data.test=7"],
    "must hold names of files": [
        "data.test=[{a: b}]",
        "data.train=[[a.xyz]]",
        "data.valid=[1]",
    ],
    "expected section.key=value": [".".join("a" * 100) + "=1", "a" * 9000],
}
"""By message."""


@pytest.mark.parametrize(
    ("message", "override"),
    [(m, override) for m, found in REFUSED_OVERRIDES.items() for override in found],
)
def test_numbers_that_no_run_has_are_refused(load, message, override):
    with pytest.raises(ConfigError, match=message) as caught:
        load(BASE, override)

    assert len(str(caught.value)) < 2000


def test_aliases_of_usual_size_are_fine(load):
    config = load(
        "data: {train: &files [a.xyz], valid: *files}\n"
        "training: {optimizer: {<<: {lr: 1.0e-3}}}\n"
    )

    assert config.data.valid == ["a.xyz"]
    assert config.training.optimizer.lr == 1e-3
