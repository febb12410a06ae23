"""Keys that take several forms, and texts that YAML 1.1 takes for something else."""

import pytest
import yaml
from pydantic import BaseModel

from equipot.config.load import ConfigError, dump_config, load_config
from equipot.config.md import MDConfig
from equipot.config.train import TrainConfig

TRAIN = "data: {train: [a.xyz]}\n"
MD = "model: a\nstructure: {file: a}\nensemble: {name: nve}\nsteps: 3\n"
HOPELESS = ("null", "true", "'?'", "-1.5", "{x: [1]}", "[[1]]", "[null]", "{1: 2}")
FOREIGN = (
    "Input ",
    "constrained",
    "literal[",
    "list[",
    "tuple[",
    "dict[",
    "<class",
    "dictionary",
    "instance of",
    "None",
    "Config",
)
"""Words of pydantic and of Python that no message has."""


def keys_of(model, path=""):
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        stack = [field.annotation]
        while stack:
            form = stack.pop()
            if isinstance(form, type) and issubclass(form, BaseModel):
                yield from keys_of(form, f"{path}{name}.")
            stack += getattr(form, "__args__", ())


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides, schema=TrainConfig):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return load_config(path, overrides, schema)

    return load


@pytest.mark.parametrize(("text", "schema"), [(TRAIN, TrainConfig), (MD, MDConfig)])
def test_no_message_speaks_the_language_of_the_library(load, text, schema):
    refused = 0
    for key in dict.fromkeys(keys_of(schema)):
        for value in HOPELESS:
            try:
                load(text, f"{key}={value}", schema=schema)
            except ConfigError as error:
                refused += 1
                message = str(error)
                assert not [word for word in FOREIGN if word in message], message
                assert message.count("got") <= message.count("\n") + 1
    assert refused > 200


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.valid=null",
            "--set: data.valid: must be a list of strings; or a number above 0 and "
            "below 1; or an integer of at least 0, got null",
        ),
        ("data.valid=true", "--set: data.valid: give files, a fraction below 1 or a "),
        (
            "data.E0s=mean",
            "--set: data.E0s: must be one of auto, isolated_atoms, least_squares, "
            "none; or a section of names, each with a number, got 'mean'",
        ),
        ("data.E0s={Cu: x}", "--set: data.E0s.Cu: must be a valid number"),
        (
            "training.loss.energy.weight=[{from_epoch: 0, wieght: 1}]",
            "training.loss.energy.weight.0.wieght: unknown key; did you mean weight?",
        ),
        (
            "training.loss.energy.weight=big",
            "must be a number of at least 0; or a list of sections with the keys "
            "from_epoch and weight, got 'big'",
        ),
        (
            "data.E0s={cu: 1}",
            "'cu' is neither the symbol nor the number of an element; ",
        ),
        ("data.E0s={119: 1}", "'119' is neither the symbol nor the number"),
        ("data.E0s={Cu: 1, 29: 2}", "the element Cu occurs twice"),
    ],
)
def test_a_key_of_several_forms_is_one_sentence(load, override, message):
    with pytest.raises(ConfigError) as error:
        load(TRAIN, override)

    assert message in str(error.value)


def test_elements_are_symbols_or_numbers(load):
    config = load(TRAIN, "data.E0s={29: 0.0, N: -1, No: -2, Y: -3}")

    energies = {"Cu": 0.0, "N": -1.0, "No": -2.0, "Y": -3.0}
    assert config.data.reference_energies == energies
    assert load(dump_config(config)) == config


def test_names_stay_what_they_are_written_as(load):
    config = load(
        TRAIN,
        "data.test={NO: a.xyz, off: b.xyz, 300: c.xyz, 2001-01-01: d.xyz, 1e3: e.xyz}",
        "data.keys.config_type=NO",
        "data.keys.energy=1:30",
    )

    assert [*config.data.test] == ["NO", "off", "300", "2001-01-01", "1e3"]
    assert config.data.keys.config_type == "NO"
    assert config.data.keys.energy == "1:30"
    assert load(dump_config(config)) == config
    assert yaml.safe_load(dump_config(config))["data"]["keys"]["energy"] == "1:30"


@pytest.mark.parametrize("name", ["1e-3", "0o17", "010", "no", "null", "~", "1_0"])
def test_texts_that_look_like_something_else_are_quoted(load, name):
    config = load(TRAIN, f"data.keys.energy='{name}'", f"data.train=['{name}']")

    again = load(dump_config(config))

    assert again == config
    assert again.data.keys.energy == name


def test_numbers_are_decimal(load):
    config = load(TRAIN, "seed=010", "data.valid=1e-1", "training.optimizer.lr=2E-4")

    assert config.seed == 10
    assert config.data.valid == 0.1
    assert config.training.optimizer.lr == 2e-4
    assert load(TRAIN, "seed=0x1F").seed == 31


def test_switches_may_be_written_as_words(load):
    assert load(TRAIN, "training.verify=no").training.verify is False
    assert load(TRAIN, "training.verify=on").training.verify is True
