import pytest
from pydantic import ValidationError

from equipot.config.data import DataConfig, KeysConfig


def test_a_single_file_is_a_list_of_one():
    config = DataConfig.model_validate(
        {"train": "a.xyz", "valid": "b.xyz", "test": {"hot": "c.xyz"}}
    )

    assert config.train == ["a.xyz"]
    assert config.valid == ["b.xyz"]
    assert config.test == {"hot": ["c.xyz"]}


@pytest.mark.parametrize(
    ("given", "read"), [(0.2, 0.2), (50, 50), (1, 1), (0, 0), (["v.xyz"], ["v.xyz"])]
)
def test_validation_is_a_fraction_a_number_or_files(given, read):
    config = DataConfig.model_validate({"train": "a.xyz", "valid": given})

    assert config.valid == read
    assert type(config.valid) is type(read)


@pytest.mark.parametrize("valid", [1.0, -3, 1.5, True, 0.0])
def test_validation_of_all_or_none_by_a_fraction_is_refused(valid):
    with pytest.raises(ValidationError, match="valid"):
        DataConfig.model_validate({"train": "a.xyz", "valid": valid})


def test_test_files_are_sets_named_by_their_stem():
    config = DataConfig.model_validate(
        {"train": "a.xyz", "test": ["x/t300.xyz", "b.db"]}
    )

    assert config.test == {"t300": ["x/t300.xyz"], "b": ["b.db"]}


def test_test_files_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="have the same name"):
        DataConfig.model_validate({"train": "a.xyz", "test": ["x/t.xyz", "y/t.xyz"]})


def test_keys_may_stand_beside_the_files():
    config = DataConfig.model_validate(
        {"train": "a.xyz", "energy_key": "dft_energy", "stress_key": None}
    )

    assert config.keys.energy == "dft_energy"
    assert config.keys.stress is None
    assert config.keys.forces == "REF_forces"


def test_only_keys_that_were_written_are_demanded():
    assert KeysConfig().named == {}
    assert KeysConfig.model_validate({"forces": "f"}).named == {"forces": "f"}
    assert KeysConfig.model_validate({"stress": None}).named == {}


def test_a_dumped_configuration_demands_the_same_keys():
    config = DataConfig.model_validate({"train": "a.xyz", "energy_key": "E"})

    again = DataConfig.model_validate(config.model_dump(mode="json"))

    assert again == config
    assert again.keys.named == {"energy": "E"}


def test_stress_and_virials_exclude_each_other():
    with pytest.raises(ValidationError, match="two sources of one label"):
        KeysConfig.model_validate({"stress": "s", "virials": "v"})


def test_relative_paths_start_at_root():
    config = DataConfig.model_validate({"train": "a.xyz", "root": "sets"})

    assert config.path("a.xyz").as_posix() == "sets/a.xyz"
    assert config.path("/b.xyz").as_posix() == "/b.xyz"
