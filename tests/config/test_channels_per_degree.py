"""Sections of architectures whose number of channels depends on the degree."""

import pytest

from equipot.config.load import ConfigError, load_config
from equipot.config.model import parse_model
from equipot.config.train import TrainConfig

by_name = pytest.mark.parametrize("name", ["nequix", "sevennet"])


@by_name
def test_one_number_is_that_of_all_degrees(name):
    config = parse_model({"architecture": name, "channels": 8, "lmax": 2})

    assert config.channels_per_degree == (8, 8, 8)
    assert config.num_scalars == 8


@by_name
def test_a_list_has_a_number_for_each_degree(name):
    config = parse_model({"architecture": name, "channels": [8, 4, 4], "lmax": 2})

    assert config.channels_per_degree == (8, 4, 4)
    assert config.num_scalars == 8


@by_name
@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([8, 4], "channels has 2 numbers: with lmax 2, 3 are expected"),
        ([8, 4, 5], "must not increase with the degree"),
        ([], "at least 1 item"),
        ([8, 4, 0], "greater than or equal to 1"),
    ],
)
def test_channels_that_no_tower_has_are_refused(name, channels, message):
    with pytest.raises(ValueError, match=message):
        parse_model({"architecture": name, "channels": channels, "lmax": 2})


def test_architectures_of_equal_channels_refuse_a_list():
    with pytest.raises(ValueError, match="valid integer"):
        parse_model({"architecture": "mace", "channels": [8, 4]})


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"envelope": "xplor"}, "give both or neither"),
        ({"envelope_onset": 3.0}, "give both or neither"),
        ({"envelope": "xplor", "envelope_onset": 6.0}, "must be less than cutoff 5"),
        ({"self_connection": ["linear", "element"]}, "2 entries for 5 layers"),
    ],
)
def test_settings_of_sevennet_that_contradict_each_other_are_refused(update, message):
    with pytest.raises(ValueError, match=message):
        parse_model({"architecture": "sevennet", **update})


def test_a_wrong_value_is_explained_by_all_forms_of_the_key(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(
        "model: {architecture: nequix, channels: many}\ndata: {train: a.xyz}\n",
        encoding="utf-8",
    )

    with pytest.raises(ConfigError, match=r"channels.* must be .*; or a list of"):
        load_config(path, [], TrainConfig)
