"""From a checkpoint or package of NequIP to a potential in terms of equipot."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import OriginalNequIPConfig
from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.assembly import assembled, refuse_head
from equipot.conversion.converted import Converted, Original, Source, hashes
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources.nequip import package, settings
from equipot.conversion.sources.nequip.settings import Architecture
from equipot.conversion.sources.nequip.weights import Model
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive
from equipot.conversion.torch_package import is_torch_package

STATE: Final = "state_dict"
SETTINGS: Final = "hyper_parameters"
PREFIX: Final = "model.sole_model.model."
"""Of the names of the tensors of the only model of a checkpoint."""
AVERAGE: Final = "ema.ema_weight_"
"""Of the names of averaged weights."""
MODULES: Final = (
    "nequip.train.NequIPLightningModule",
    "nequip.train.EMALightningModule",
)
"""Classes of training, whose weights or averaged weights are those of the model."""
STATE_OF_TRAINING: Final = (
    *("epoch", "global_step", "pytorch-lightning_version", "loops", "callbacks"),
    *("optimizer_states", "lr_schedulers", "hparams_name", "hparams_type"),
    *("datamodule_*", "*DataModule"),
)
"""Parts of a checkpoint beside weights and settings."""
TRAINING: Final = (
    *("num_datasets", "optimizer", "lr_scheduler", "loss", "train_metrics"),
    *("val_metrics", "test_metrics", "ema_decay"),
)
"""Settings of the training."""
METRICS: Final = ("loss.", "train_metrics.", "val_metrics.", "test_metrics.", "ema.")
"""Prefixes of states of the training that are no tensors."""
OLDEST: Final = (0, 17)
"""First version of the package whose equations were compared."""
EMPTY: Final = (".bias", ".tp.weight", ".mul.weight", "_empty")
"""Ends of names of tensors that must not have numbers."""
ORIGINAL = Original(
    module="nequip",
    install="pip install nequip",
    script="""
def calculator(path, head, dtype):
    from nequip.integrations.ase import NequIPCalculator

    found = NequIPCalculator._from_saved_model(path, device="cpu")
    if str(found.model.model_dtype) != "torch." + dtype:
        raise ValueError("the model computes in " + str(found.model.model_dtype))
    return found
""",
)


def matches(path: Path) -> bool:
    """Whether a file is a package of nequip, or a checkpoint of its training."""
    if is_torch_package(path, package.RESOURCE):
        return True
    if not is_torch_archive(path):
        return False
    root = read_torch_archive(path, numbers=False).root
    if not isinstance(root, Mapping) or not isinstance(root.get(SETTINGS), Mapping):
        return False
    model = root[SETTINGS].get("model")
    target = model.get("_target_") if isinstance(model, Mapping) else None
    return isinstance(target, str) and target.split(".")[0] == "nequip"


def read(path: Path, head: str | None) -> Converted:
    """Read a model of NequIP.

    Args:
        path: Its checkpoint or package.
        head: None: these models have one.

    Raises:
        ConversionError: If it holds anything that the equations do not account for.
    """
    refuse_head(head, "NequIP")
    packaged = is_torch_package(path, package.RESOURCE)
    content = _packaged(path) if packaged else _checkpoint(path)
    found, lines = settings.read(content.settings)
    model = Model(
        content.tensors(found), found, content.prefix, has_symbols=not packaged
    )
    weights, energies = dict(model.weights()), model.energies()
    _declare(model.tensors)
    origin = ModelOrigin(
        package="nequip",
        version=content.version,
        architecture="NequIPGNNModel",
        files=hashes(path),
        dtype=model.dtype,
        training=content.training,
        without_effect=(*content.finish(), *_unused(found), *lines),
    )
    return assembled(
        _config(model),
        weights,
        origin,
        energies,
        scale=model.scale,
        neighbors=model.neighbors,
    )


SOURCE = Source(
    name="nequip",
    describes="NequIP 0.17 to 0.19, .ckpt or .nequip.zip",
    matches=matches,
    read=read,
    original=ORIGINAL,
)


def _config(model: Model) -> OriginalNequIPConfig:
    found = model.found
    hidden = found.readout_hidden
    if hidden and model.has_scales:
        raise ConversionError(
            "per_type_energy_scales differ between elements and the readout has hidden "
            "layers: the equations have one or the other"
        )
    return OriginalNequIPConfig(
        cutoff=found.cutoff,
        channels=found.hidden,
        lmax=len(found.hidden) - 1,
        num_layers=found.num_layers,
        num_basis=found.num_basis,
        radial_hidden=found.radial_hidden,
        envelope_power=found.envelope_power,
        both_parities=found.both,
        embedding_channels=found.embedding,
        trained_basis=found.trained_basis,
        sender_factors=len(found.neighbors) > 1,
        element_scale=model.has_scales,
        readout_hidden=hidden[0] if hidden else None,
        readout_depth=max(len(hidden), 1),
        zbl="nequip" if found.repulsion else False,
    )


@final
@dataclass(frozen=True)
class _Content:
    """What a file holds."""

    settings: Mapping[str, Any]
    """Of the model."""
    version: str
    """Of the package nequip."""
    tensors: Callable[[Architecture], SourceTensors]
    """Tensors of the model."""
    finish: Callable[[], tuple[str, ...]]
    """End of the account of all else."""
    prefix: str = ""
    """Of the names of the tensors."""
    training: dict[str, str] = field(default_factory=dict)
    """For the origin."""


def _packaged(path: Path) -> _Content:
    """Content of a package."""
    opened = package.Package(path)
    _check_version(opened.version)
    return _Content(
        opened.settings,
        opened.version,
        lambda _: opened.tensors,
        opened.finish,
        package.PREFIX,
    )


def _checkpoint(path: Path) -> _Content:
    """Content of a checkpoint."""
    root = read_torch_archive(path).root
    top = Flags(_names(root, "the checkpoint"), "the checkpoint")
    state = _names(top.take(STATE), STATE)
    hyper = Flags(_names(top.take(SETTINGS), SETTINGS), SETTINGS)
    for name in STATE_OF_TRAINING:
        top.without_effect(name, "state of the training")
    for name in TRAINING:
        hyper.without_effect(name, "describes the training")
    version, averaged = _training_module(_names(hyper.take("info_dict"), "info_dict"))
    tensors: list[SourceTensors] = []

    def of_model(found: Architecture) -> SourceTensors:
        tensors.append(_tensors(state, found, averaged=averaged))
        return tensors[0]

    return _Content(
        _names(hyper.take("model"), "model"),
        version,
        of_model,
        lambda: (*tensors[0].finish(), *hyper.finish(), *top.finish()),
        training={"weights": "exponential average" if averaged else "of the last step"},
    )


def _training_module(info: Mapping[str, Any]) -> tuple[str, bool]:
    """Version of the package, and whether weights are averaged."""
    version = str(_names(info.get("versions"), "versions").get("nequip"))
    _check_version(version)
    training = Flags(_names(info.get("training_module"), "training_module"), "training")
    return version, training.expect("_target_", MODULES) == MODULES[1]


def _check_version(version: str) -> None:
    """Refuse versions whose equations were not compared."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\..{1,40}", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise ConversionError(
            f"the file was written by nequip {version[:60]}: versions from "
            f"{OLDEST[0]}.{OLDEST[1]} on are read"
        )


def _tensors(
    state: Mapping[str, Any], found: Architecture, *, averaged: bool
) -> SourceTensors:
    """Tensors of the model without prefix, averaged weights among them."""
    named = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for name in state.keys() - named.keys():
        if not name.startswith(METRICS):
            raise ConversionError(f"{name[:200]} of {STATE}: expected a tensor")
    of_model = {
        name.removeprefix(PREFIX).removeprefix("func."): value
        for name, value in named.items()
        if name.startswith(PREFIX)
    }
    rest = {
        name: value
        for name, value in named.items()
        if not name.startswith((PREFIX, *METRICS))
    }
    if averaged:
        of_model |= _averaged(state, of_model, found)
    return SourceTensors({**rest, **of_model})


def _averaged(
    state: Mapping[str, Any], tensors: Mapping[str, Tensor], found: Architecture
) -> dict[str, Tensor]:
    """Averaged weights, which are in the order of the parameters of the model."""
    extra = _names(state.get("ema._extra_state"), "ema._extra_state")
    if extra.get("is_holding_ema_weights") is not True:
        raise ConversionError(
            "ema._extra_state: expected averaged weights in the tensors ema_weight_*"
        )
    names = [name for name in tensors if _is_parameter(name, found)]
    count = sum(name.startswith(AVERAGE) for name in state)
    if count != len(names):
        raise ConversionError(
            f"{count} averaged weights for {len(names)} weights of the model"
        )
    out = {}
    for n, name in enumerate(names):
        value = state.get(f"{AVERAGE}{n}")
        if not isinstance(value, Tensor) or value.shape != tensors[name].shape:
            raise ConversionError(f"{AVERAGE}{n} does not have the shape of {name}")
        out[name] = value
    return out


def _is_parameter(name: str, found: Architecture) -> bool:
    """Whether a tensor of the model is trained."""
    trained = {
        "bessel_encode.bessel_weights": found.trained_basis,
        "per_type_energy_scale_shift.scales": found.trained_scales,
        "per_type_energy_scale_shift.shifts": found.trained_shifts,
    }
    if name in trained:
        return trained[name]
    return name.endswith(".weight") and not name.endswith(EMPTY)


def _declare(tensors: SourceTensors) -> None:
    """Declare tensors without effect, and check those that must be empty."""
    tensors.without_effect("*.output_mask", "says which outputs are not zero")
    for name in tensors.names():
        if name.endswith(EMPTY):
            tensors.take(name, (0,))
    tensors.without_effect("run_stage", "state of the training")


def _unused(found: Architecture) -> tuple[str, ...]:
    """Line on parts of tensors without effect."""
    if not found.both or found.num_layers < 2:
        return ()
    return (
        "features of the parity opposite to harmonics in the last but one layer, and "
        "odd scalars in the last two but one: they reach no energy, nor do their rows "
        "and columns in the tensors of these layers",
    )


def _names(values: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(k, str) for k in values):
        raise ConversionError(f"{name} of the file: expected a dictionary of names")
    return values
