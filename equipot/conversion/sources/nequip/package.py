"""NequIP packages, ``.nequip.zip``: whole modules, whose settings are attributes."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ase.data import chemical_symbols
from torch import Tensor

from equipot.conversion.accounting import SourceTensors
from equipot.conversion.errors import ConversionError
from equipot.conversion.irreps import parse_irreps
from equipot.conversion.module_account import ModuleAccount, Part
from equipot.conversion.records import Global, Record
from equipot.conversion.sources.nequip.settings import MODEL
from equipot.conversion.torch_package import read_package_text, read_torch_package
from equipot.models.architectures.nequip_original import SILU_GAIN, TANH_GAIN

RESOURCE: Final = "model/eager_model.pkl"
"""Pickle of the model, in the package."""
METADATA: Final = "model/package_metadata.txt"
PREFIX: Final = "model.func."
"""Of the names of tensors."""
SHAPES: Final = "follows from the shapes of the weights"
FIELDS: Final = "name of a field of the data"
PRECISION: Final = "type in which the original computes"
CODE: Final = "generated code, never run"
OF_PRODUCTS: Final = {
    name: SHAPES
    for name in (
        *("irreps_in1", "irreps_in2", "irreps_out", "instructions", "_in1_dim"),
        *("_in2_dim", "internal_weights", "shared_weights", "weight_numel"),
    )
}
WITHOUT_EFFECT: Final[dict[str, dict[str, str]]] = {
    "": {
        "__codegen__": CODE,
        "_optimize_einsums": CODE,
        "_specialized_code": CODE,
        "_did_compile_right": CODE,
        "_profiling_str": "text about the module",
        "_prof_str": "text about the module",
        "irreps_in": SHAPES,
        "irreps_out": SHAPES,
        "_irreps_in": SHAPES,
        "_irreps_out": SHAPES,
        "irreps_outs": SHAPES,
        "num_types": SHAPES,
        "field": FIELDS,
        "in_field": FIELDS,
        "out_field": FIELDS,
        "edge_type_field": FIELDS,
        "norm_length_field": FIELDS,
        "edge_invariant_field": FIELDS,
        "per_atom_energy_field": FIELDS,
        "norm_key": FIELDS,
        "model_dtype": PRECISION,
        "out_dtype": PRECISION,
        "_output_dtype": PRECISION,
    },
    "GraphModel": {
        "model_input_fields": FIELDS,
        "_metadata": "repeats settings of the modules",
    },
    "ForceStressOutput": {"do_derivatives": "which derivatives the original computes"},
    "NodeTypeEmbed": {
        "type_embed_init": "of the weights before training",
        "set_features": "the first layer takes these features",
        "categorical_graph_field_embed_shifts": "there are no such fields",
    },
    "Embedding": {"num_embeddings": SHAPES, "sparse": "of the training"}
    | dict.fromkeys(("norm_type", "scale_grad_by_freq"), "of the training"),
    "SphericalHarmonics": {"_is_range_lmax": "follows from the degrees"},
    "SphericalHarmonicEdgeAttrs": {"irreps_edge_sh": SHAPES},
    "Gate": dict.fromkeys(("irreps_scalars", "irreps_gates", "irreps_gated"), SHAPES),
    "Extract": {"instructions": SHAPES},
    "Activation": {"paths": "the modules in it have the functions"},
    "TensorProduct": OF_PRODUCTS,
    "ElementwiseTensorProduct": OF_PRODUCTS,
    "FullyConnectedTensorProduct": OF_PRODUCTS,
    "TensorProductScatter": dict.fromkeys(
        ("feature_irreps_in", "irreps_edge_attr", "irreps_mid", "instructions"), SHAPES
    ),
    "Linear": dict.fromkeys(
        (
            *("internal_weights", "shared_weights", "instructions", "weight_numel"),
            *("bias_numel", "weight_index_slices"),
        ),
        SHAPES,
    ),
    "AvgNumNeighborsNorm": {"norm_shortcut": SHAPES},
    "ScalarMLPFunction": {"num_layers": SHAPES, "is_nonlinear": SHAPES},
    "ScalarLinearLayer": dict.fromkeys(("in_features", "out_features"), SHAPES),
    "SiLU": {"inplace": "the result is the same"},
    "PerTypeScaleShift": dict.fromkeys(
        ("scales_shortcut", "shifts_shortcut", "has_scales", "has_shifts"), SHAPES
    ),
}
"""By class and name; those of the class ``""`` are of all classes."""


class Package:
    """Content of a package: settings as a checkpoint has them, and tensors.

    Args:
        path: The file.

    Raises:
        ConversionError: If a module or a setting is not accounted for.
    """

    def __init__(self, path: Path) -> None:
        root = read_torch_package(path, RESOURCE).root
        models = root.children() if isinstance(root, Record) else {}
        if list(models) != ["sole_model"]:
            raise ConversionError(
                f"the package holds the models {', '.join(models)[:100] or 'none'}: "
                "expected sole_model"
            )
        self._account = ModuleAccount(models["sole_model"], WITHOUT_EFFECT)
        versions = read_package_text(path, METADATA)
        self.version = _version(versions, "nequip")
        if _version(versions, "e3nn").startswith("0.4."):
            # symbols are part of the generated code, which is not read
            raise ConversionError(
                "the package was made with e3nn 0.4, whose 3j symbols have other signs"
            )
        self.settings = _settings(self._account)

    @property
    def tensors(self) -> SourceTensors:
        """Tensors by the names of the modules."""
        return self._account.tensors

    def finish(self) -> tuple[str, ...]:
        """Lines on what has no effect; see `ModuleAccount.finish`."""
        return self._account.finish()


def _version(text: str, name: str) -> str:
    """Version of a package that the file was made with."""
    pattern = rf"^  {name}: ['\"]?([\w.+]{{1,60}})['\"]?$"
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise ConversionError(f"{METADATA} does not state the version of {name}")
    return found[1]


def _settings(account: ModuleAccount) -> dict[str, Any]:
    """Settings of the builder that the attributes of the modules correspond to."""
    graph = account.part("", "GraphModel")
    names = graph.flags.take("type_names")
    outer = graph.part("model", "ForceStressOutput")
    model = outer.part("func", "SequentialGraphNetwork")
    embed = model.part("type_embed", "NodeTypeEmbed")
    embed.flags.expect("do_categorical_graph_field_embed", False, default=False)
    embed.ignore("categorical_graph_field_embed_modules", "there are no such fields")
    table = embed.part("embed_module", "Embedding")
    for name in ("padding_idx", "max_norm"):
        table.flags.expect(name, None)
    edges = model.part("edge_norm", "EdgeLengthNormalizer")
    edges.flags.expect("_per_edge_type", False)
    cutoff = edges.flags.take("r_max")
    bessel = model.part("bessel_encode", "BesselEdgeLengthEncoding")
    lmax = _harmonics(model)
    _factor(model.part("factor", "ApplyFactor"), cutoff)
    count = 0
    while model.has(f"layer{count}_convnet"):
        count += 1
    layers = [model.part(f"layer{n}_convnet", "ConvNetLayer") for n in range(count)]
    found = [_layer(layer, first=n == 0) for n, layer in enumerate(layers)]
    hidden = [layer.flags.take("feature_irreps_hidden") for layer in layers]
    channels, parity = _channels(hidden, lmax)
    if any(item != found[0] for item in found):
        raise ConversionError("layers differ in radial MLPs or numbers of neighbors")
    radial, neighbors = found[0]
    scale_shift = model.part("per_type_energy_scale_shift", "PerTypeScaleShift")
    scale_shift.flags.expect("type_names", names)
    readout = _mlp(
        model.part("per_atom_energy_readout", "ScalarMLP").part(
            "mlp_module", "ScalarMLPFunction"
        )
    )
    total = model.part("total_energy_sum", "AtomwiseReduce")
    total.flags.expect("constant", 1.0)
    total.flags.expect("reduce", "sum")
    settings = {
        "_target_": MODEL,
        "type_names": names,
        "r_max": cutoff,
        "num_layers": len(layers),
        "l_max": lmax,
        "parity": parity,
        "num_features": channels,
        "type_embed_num_features": table.flags.take("embedding_dim"),
        "radial_mlp_depth": len(radial),
        "num_bessels": bessel.flags.take("num_bessels"),
        "bessel_trainable": bessel.flags.take("trainable"),
        "polynomial_cutoff_p": _power(bessel),
        "avg_num_neighbors": (
            dict(zip(names, neighbors, strict=True))
            if len(neighbors) > 1
            else neighbors[0]
        ),
        "readout_mlp_hidden_layers_depth": len(readout),
        "per_type_energy_scales_trainable": scale_shift.flags.take("scales_trainable"),
        "per_type_energy_shifts_trainable": scale_shift.flags.take("shifts_trainable"),
        "pair_potential": _repulsion(model),
    }
    for name, widths in (
        ("radial_mlp", radial),
        ("readout_mlp_hidden_layers", readout),
    ):
        if len(set(widths)) > 1:
            raise ConversionError(f"{name}: expected hidden layers of one width")
        if widths:
            settings[f"{name}_width"] = widths[0]
    return settings


def _harmonics(model: Part) -> int:
    """Highest degree of the harmonics of edges."""
    part = model.part("spharm", "SphericalHarmonicEdgeAttrs").part(
        "sh", "SphericalHarmonics"
    )
    part.flags.expect("normalize", True)
    part.flags.expect("normalization", "component")
    part.flags.without_effect("sph_func", "function of the harmonics")
    lmax = part.flags.take("_lmax")
    if type(lmax) is not int or not 0 <= lmax <= 10:
        raise ConversionError(f"{part.path} has the highest degree {lmax!r:.60}")
    part.flags.expect("_ls_list", list(range(lmax + 1)))
    return lmax


def _factor(part: Part, cutoff: Any) -> None:
    """Factor of the radial functions, which makes them those of Bessel."""
    factor = part.flags.take("factor")
    if not isinstance(factor, float) or not isinstance(cutoff, float):
        raise ConversionError(f"{part.path} has the factor {factor!r:.60}")
    if not math.isclose(factor * cutoff**2, 2 * math.pi, rel_tol=1e-6):
        raise ConversionError(
            f"{part.path} has the factor {factor:g}: expected 2 pi / r_max^2"
        )


def _layer(layer: Part, *, first: bool) -> tuple[list[int], tuple[float, ...]]:
    """Hidden widths of the radial MLP of a layer, and its numbers of neighbors."""
    layer.flags.expect("resnet", False)
    _gate(layer.part("equivariant_nonlin", "Gate"))
    conv = layer.part("conv", "InteractionBlock")
    conv.flags.expect("use_sc", not first)
    conv.flags.expect("is_first_layer", first)
    conv.flags.expect("sc", None, default=None)
    for name in ("linear_1", "linear_2"):
        conv.part(name, "Linear")
    conv.part("tp_scatter", "TensorProductScatter").part("tp", "TensorProduct")
    if not first:
        conv.part("sc", "FullyConnectedTensorProduct")
    conv.ignore("ghost_exchange", "exchange between processes")
    norm = conv.part("avg_num_neighbors_norm", "AvgNumNeighborsNorm")
    factors = norm.take("norm_const").flatten().tolist()
    if not factors or not all(factor > 0 for factor in factors):
        raise ConversionError(f"{norm.path}.norm_const: expected positive numbers")
    neighbors = tuple(factor**-2 for factor in factors)
    return _mlp(conv.part("edge_mlp", "ScalarMLPFunction")), neighbors


def _gate(gate: Part) -> None:
    """Nonlinearities and their factors."""
    gate.part("sc", "_Sortcut").part("cut", "Extract")
    gate.part("mul", "ElementwiseTensorProduct")
    gains = {"torch.nn.functional.silu": SILU_GAIN, "torch.tanh": TANH_GAIN}
    for name in ("act_scalars", "act_gates"):
        activation = gate.part(name, "Activation")
        count = 0
        while activation.has(f"acts.{count}"):
            act = activation.part(f"acts.{count}", "normalize2mom")
            act.flags.expect("_is_id", False)
            function = act.flags.take("f")
            known = function.name if isinstance(function, Global) else ""
            if known not in gains or (name == "act_gates" and known == "torch.tanh"):
                raise ConversionError(f"{act.path}: the function {function!r:.100}")
            act.flags.expect("cst", gains[known])
            count += 1


def _mlp(part: Part) -> list[int]:
    """Widths of the hidden layers of an MLP, whose factors must be as expected."""
    part.flags.expect("bias", False)
    widths = part.flags.take("dims")
    if not isinstance(widths, list) or not all(
        type(n) is int and n > 0 for n in widths
    ):
        raise ConversionError(f"{part.path} has the widths {widths!r:.60}")
    for n, (rows, _) in enumerate(pairwise(widths)):
        linear = part.part(f"mlp.{2 * n}", "ScalarLinearLayer")
        alpha = linear.number("alpha")
        if not math.isclose(alpha, ((2 if n else 1) / rows) ** 0.5, rel_tol=1e-6):
            raise ConversionError(f"{linear.path} has the factor alpha {alpha:g}")
        if n < len(widths) - 2:
            part.part(f"mlp.{2 * n + 1}", "SiLU")
    return widths[1:-1]


def _channels(hidden: list[Any], lmax: int) -> tuple[list[int], bool]:
    """Channels of each degree, and whether there are features of both parities."""
    irreps = [parse_irreps(value) for value in hidden]
    inner = irreps[0]
    both = any(i.parity != (-1) ** i.degree for i in inner)
    channels = [i.channels for i in inner if i.parity == (-1) ** i.degree]
    if len(irreps) == 1:
        channels = channels * (lmax + 1)
    parities = [(1, -1) if both else ((-1) ** n,) for n in range(len(channels))]
    expected = tuple(
        (count, n, p) for n, count in enumerate(channels) for p in parities[n]
    )
    scalars = ((channels[0], 0, 1),)
    if (
        irreps != [expected] * (len(irreps) - 1) + [scalars]
        or len(channels) != lmax + 1
    ):
        raise ConversionError(
            "feature_irreps_hidden: expected the same degrees to that of the harmonics "
            "in all layers, and even scalars in the last one"
        )
    return channels, both


def _power(part: Part) -> int:
    """Order of the polynomial envelope of a module."""
    power = part.part("cutoff", "PolynomialCutoff").flags.take("p")
    if not isinstance(power, int | float) or power != int(power):
        raise ConversionError(f"{part.path}.cutoff has the order {power!r:.60}")
    return int(power)


def _repulsion(model: Part) -> Mapping[str, Any] | None:
    """Settings of the ZBL repulsion; its numbers are compared with the weights."""
    if not model.has("pair_potential"):
        return None
    part = model.part("pair_potential", "ZBL")
    part.part("_zbl", "_ZBL")
    numbers: Tensor = part.take("atomic_numbers")
    return {
        "_target_": "nequip.nn.pair_potential.ZBL",
        "units": "metal",
        "chemical_species": [
            chemical_symbols[int(z)] if 0 < z < len(chemical_symbols) else "?"
            for z in numbers.flatten().tolist()
        ],
        "polynomial_cutoff_p": _power(part),
    }
