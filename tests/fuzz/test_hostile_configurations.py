"""YAML that runs code, explodes, or holds what no computation takes."""

import pytest
from fuzzing.configurations import MD, TRAIN

from equipot.config.load import ConfigError, dump_config, load_config
from equipot.config.md import MDConfig
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


def laughs(levels):
    lines = ["a0: &a0 [x, x]"]
    for n in range(levels):
        lines.append(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]")
    return "\n".join(lines) + "\n"


def merges(levels):
    lines = ["a0: &a0 {k: 1}"]
    for n in range(levels):
        lines.append(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("text", [laughs(30), merges(30), "data: &a {train: *a}\n"])
def test_bombs_of_aliases_are_refused(load, text):
    with pytest.raises(ConfigError, match="aliases are recursive, or expand") as caught:
        load(text)

    assert len(str(caught.value)) < 2000


def test_aliases_of_usual_size_are_fine(load):
    config = load(
        "data: {train: &files [a.xyz], valid: *files}\n"
        "training: {optimizer: {<<: {lr: 1.0e-3}}}\n"
    )

    assert config.data.valid == ["a.xyz"]
    assert config.training.optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 5000, "levels"),
        ("- " * 60 + "1", "more than 50 levels"),
        ("a: 1\n" * 30000, "bytes, expected at most"),
        ("seed: " + "9" * 5000, "more than 4096"),
        ("seed: 2001-99-99", "must be a valid integer"),
        ("seed: !!timestamp x", "a value cannot be read"),
        ("seed: 0x_", "must be a valid integer"),
        ('seed: "a\\0b"', "not printable"),
        ('seed: "\\ud800"', "not printable"),
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
        ("seed: 1\nseed: 2", "duplicate key 'seed'"),
        (b"seed: \x00", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
    ],
)
def test_values_that_yaml_trips_over_are_refused(load, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(text)

    assert "a.yaml" in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.cutoff=.nan", "finite"),
        ("model.cutoff=.inf", "finite"),
        ("training.optimizer.lr=1.0e+400", "finite"),
        ("data.reference_energies={H: .nan}", "finite"),
        ("seed=" + "9" * 30, r"less than 2\^63"),
        ("seed=1.0e+30", "exceeded maximum size"),
        ("model.channels=1000000000", "less than or equal"),
        ("model.lmax=500", "less than or equal"),
        ("model.num_layers=1000000", "less than or equal"),
        ("model.radial_hidden=[1000000000]", "less than or equal"),
        ("data.test=false", "give files"),
        ("data.test=7", "give files"),
        ("data.test=[{a: b}]", "must contain file names"),
        ("data.train=[[a.xyz]]", "must contain file names"),
        ("data.valid=[1]", "must contain file names"),
        (".".join("a" * 100) + "=1", "expected section.key=value"),
        ("a" * 9000, "expected section.key=value"),
    ],
)
def test_numbers_that_no_run_has_are_refused(load, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(BASE, override)

    assert len(str(caught.value)) < 2000


def test_many_mistakes_make_a_short_message(load):
    lines = "\n".join(f"k{n}: {'x' * 2000}" for n in range(50))

    with pytest.raises(ConfigError, match="and 41 more") as caught:
        load("model:\n" + "\n".join(f"  {line}" for line in lines.splitlines()))

    assert len(str(caught.value)) < 10_000


def test_valid_configurations_survive_a_round_trip(tmp_path):
    for schema, tree in ((TrainConfig, TRAIN), (MDConfig, MD)):
        config = schema.model_validate(tree)
        path = tmp_path / "a.yaml"
        path.write_text(dump_config(config), encoding="utf-8")

        assert load_config(path, [], schema) == config
