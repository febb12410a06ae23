import pytest
import yaml

from equipot.config.load import ConfigError, dump_config, load_config
from equipot.config.train import TrainConfig


@pytest.fixture
def config_file(tmp_path):
    """Writes a configuration and returns its path."""

    def write(text: str = "data: {train: [a.xyz]}\n"):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def load(path, *overrides):
    return load_config(path, overrides, TrainConfig)


def test_overrides_edit_the_tree_before_it_is_checked(config_file):
    config = load(
        config_file(),
        "training.optimizer.lr=1e-4",
        "training.ema=null",
        "model.radial_hidden=[8, 8]",
        "training.schedule={kind: plateau}",
        "training.schedule.patience=3",
        "training.loss.energy.weight=[{from_epoch: 0, weight: 1}]",
    )

    assert config.training.optimizer.lr == 1e-4
    assert config.training.ema is None
    assert config.model.radial_hidden == (8, 8)
    assert config.training.schedule.patience == 3
    assert config.training.loss.energy.weight[0].weight == 1


def test_a_schedule_is_a_cosine_unless_it_says_otherwise(config_file):
    config = load(config_file(), "training.schedule.min_factor=0.5")

    assert config.training.schedule.kind == "cosine"
    assert config.training.schedule.min_factor == 0.5


def test_a_written_configuration_reads_back_as_itself(config_file, tmp_path):
    config = load(config_file(), "training.loss.stress.weight=3", "model.l_max=1")
    written = tmp_path / "resolved.yaml"

    written.write_text(dump_config(config))

    assert load(written) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimiser.lr=1", r"--set: training\.optimiser: .*mean optimizer\?"),
        ("training.optimizer.lrr=1", r"--set: training\.optimizer\.lrr: .*mean lr\?"),
        ("trainnig.epochs=1", r"--set: trainnig: unknown key; did you mean training"),
        (
            "training.schedule={kind: cosine, warmup_epoch: 1}",
            r"--set: training\.schedule\.warmup_epoch: .*mean warmup_epochs\?",
        ),
        (
            "training.schedule={kind: step}",
            r"training\.schedule: 'kind' must be one of 'constant', .*, got 'step'",
        ),
        ("training.optimizer=3", "must be a section of keys, got 3"),
        ("model.envelope_power=3", "must be at least 4, got 3: otherwise third"),
        (
            "data={train: [a], keys: 3, energy_key: E}",
            "data: move energy_key into the section keys",
        ),
        ("training.epochs=0", r"training\.epochs: must be greater than 0, got 0"),
        ("training.epochs=many", r"training\.epochs: .*integer.*, got 'many'"),
        ("training.ema.decay=2", r"training\.ema\.decay: .*less than 1, got 2"),
        ("training.epochs", "expected section.key=value"),
        ("seed.x=1", "--set seed.x=1: seed is a value, not a section"),
        ("model.backend=[", "not a YAML value"),
        (
            "training.loss.energy.weight=[{from_epoch: 3, weight: 1}]",
            "must start with from_epoch: 0",
        ),
        ("training.loss.forces.weight=-1", r"training\.loss\.forces\.weight.*got -1"),
        ("training.schedule.warmup_epochs=1000", "is longer than epochs = 100"),
        ("training.loss={energy: {weight: 0}, forces: {weight: 0}}", "all weights"),
    ],
)
def test_a_wrong_override_says_what_to_do(config_file, override, message):
    path = config_file(
        "seed: 1\ndata: {train: [a.xyz]}\ntraining: {schedule: {kind: cosine}}\n"
    )
    with pytest.raises(ConfigError, match=message):
        load(path, override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {lmax: 2, chanels: 3}\ndata: {train: [a]}", "did you mean channels"),
        ("model: {}", r"config\.yaml: data: required, but missing"),
        ("- 1", "expected sections such as 'model:' at the top level, got list"),
        ("seed: 1\nseed: 2", "duplicate key 'seed'"),
        ("seed: [", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_wrong_file_says_what_to_do(config_file, text, message):
    with pytest.raises(ConfigError, match=message):
        load(config_file(text))


def test_all_mistakes_are_told_at_once(config_file):
    with pytest.raises(ConfigError) as error:
        load(config_file(), "training.epoch=1", "model.cutoff=-1")

    assert "training.epoch" in str(error.value)
    assert "model.cutoff" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such"):
        load(tmp_path / "nowhere.yaml")


def test_resolved_configuration_is_plain_yaml(config_file):
    tree = yaml.safe_load(dump_config(load(config_file())))

    assert tree["training"]["optimizer"]["betas"] == [0.9, 0.999]
