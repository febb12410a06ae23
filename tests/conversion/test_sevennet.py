"""Conversion of SevenNet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor
from torch.nn.functional import silu

from equipot.conversion.convert import build, find_source, read_model
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources import sevennet
from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import build_graph
from equipot.nn import polynomial_envelope, xplor_envelope
from equipot.so3 import wigner_3j
from tests.conversion.convolutions import (
    Path as Coupling,
)
from tests.conversion.convolutions import bessel, convolve, gate, linear, paths_of
from tests.conversion.goldens import assert_golden

GAIN = 1.6791767923989418
TYPES = {14: 1, 1: 0, 8: 2}  # atomic number to index
NUMBERS = [1, 14, 8]
HIDDEN = [4, 3, 2]
LAYERS = 3
CUTOFF = 4.0
FLIPPED = [(1, 2, 2), (2, 1, 2), (2, 2, 1)]
State = dict[str, Tensor]


@pytest.mark.parametrize("backend", ["clebsch_gordan", "fused"])
def test_the_original_is_reproduced(backend):
    name = "SevenNet_0__11Jul2024"
    assert_golden(
        "sevennet", f"sevennet/{name}/checkpoint_sevennet_0.pth", name, backend
    )


def settings() -> dict[str, Any]:
    hidden = "4x0e+3x1e+2x2e"
    return {
        "version": "0.9.1", "_model_type": "E3_equivariant_model", "_type_map": TYPES,
        "act_gate": {"e": "silu", "o": "tanh"}, "act_radial": "silu",
        "act_scalar": {"e": "silu", "o": "tanh"}, "channel": 4, "lmax": 2,
        "irreps_manual": ["4x0e", *[hidden] * (LAYERS - 1), "4x0e"], "lmax_edge": -1,
        "is_parity": False, "radial_basis": {
            "radial_basis_name": "bessel", "bessel_basis_num": 3,
        },
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 3.2},
        "cutoff": CUTOFF, "num_convolution_layer": LAYERS, "_normalize_sph": True,
        "weight_nn_hidden_neurons": [5, 6], "use_bias_in_linear": False,
        "readout_as_fcn": False, "self_connection_type": "linear",
        "optimizer": "adam", "shift": torch.ones(3), "device": torch.device("cpu"),
    }  # fmt: skip


def channels(layer: int) -> tuple[list[int], list[int]]:
    """Before and after a layer."""
    every = [HIDDEN[:1], *[HIDDEN] * (LAYERS - 1), HIDDEN[:1]]
    return every[layer], every[layer + 1]


def is_sorted(config: dict[str, Any]) -> bool:
    return config["version"] != "0.9.1"


def paths(config: dict[str, Any], layer: int) -> list[Coupling]:
    before, after = channels(layer)
    degrees = range(len(before)), range(len(after))
    found = list(paths_of(degrees[0], 2, degrees[1], odd=True))
    return sorted(found, key=lambda p: p[2]) if is_sorted(config) else found


def kinds(config: dict[str, Any]) -> list[str]:
    kind = config["self_connection_type"]
    return [kind] * LAYERS if isinstance(kind, str) else list(kind)


def random_state(config: dict[str, Any]) -> State:
    """Tensors in float32 with the names of the package."""
    torch.manual_seed(2)
    count, mask = len(TYPES), torch.ones(3)

    def flat(name: str, shapes: list[tuple[int, int]]) -> State:
        size = sum(a * b for a, b in shapes) + modal_count(config, name) * shapes[0][1]
        width = shapes[0][1] if has_bias(config, name) else 0
        return {
            f"{name}.linear.weight": torch.randn(size),
            f"{name}.linear.bias": torch.randn(width),
            f"{name}.linear.output_mask": mask,
        }

    state = {
        "edge_embedding.basis_function.coeffs": torch.tensor([0.9, 1.5, 2.3]),
        "rescale_atomic_energy.shift": torch.tensor([-1.0, -5.0, -3.0]),
        "rescale_atomic_energy.scale": torch.full((count,), 1.7),
        **config.get("tensors", {}),
        **flat("onehot_to_feature_x", [(count, 4)]),
        **flat("reduce_input_to_hidden", [(4, 2)]),
        **flat("reduce_hidden_to_energy", [(2, 1)]),
    }
    for k in range(LAYERS):
        before, after = channels(k)
        update = [sum(after), *after[1:]]
        of_layer = paths(config, k)
        convolution = f"{k}_convolution"
        columns = sum(before[path[0]] for path in of_layer)
        widths = [3, 5, 6, columns]
        for n in range(3):
            name = f"{convolution}.weight_nn.layer{n}.weight"
            state[name] = torch.randn(widths[n], widths[n + 1])
        rows = [sum(before[p[0]] for p in of_layer if p[2] == n) for n in range(3)]
        shapes = list(zip(before, update, strict=False))
        if kinds(config)[k] == "nequip":
            size = sum(a * count * b for a, b in shapes)
            name = f"{k}_self_connection_intro.fc_tensor_product"
            state |= {f"{name}.weight": torch.randn(size), f"{name}.output_mask": mask}
        else:
            state |= flat(f"{k}_self_connection_intro", shapes)
        state |= flat(f"{k}_self_interaction_1", [(c, c) for c in before])
        shapes = list(zip(rows, update, strict=False))
        state |= flat(f"{k}_self_interaction_2", shapes)
        state |= {
            f"{convolution}.denominator": torch.tensor([2.0 + k]),
            f"{convolution}.convolution.weight": torch.zeros(0),
            f"{convolution}.convolution.output_mask": mask,
            f"{k}_equivariant_gate.gate.mul.weight": torch.zeros(0),
            f"{k}_equivariant_gate.gate.mul.output_mask": mask,
        }
        for path in of_layer:
            if 0 not in path:
                state[symbol_name(k, path)] = symbol(path).float()
    return state


def symbol(path: Coupling) -> Tensor:
    """3j symbol with the sign of e3nn 0.4."""
    return wigner_3j(*path) * (-1 if path in FLIPPED else 1)


def symbol_name(layer: int, path: Coupling) -> str:
    prefix = f"{layer}_convolution.convolution._compiled_main_left_right._w3j"
    return "_".join([prefix, *map(str, path)])


def blocks(flat: Tensor, shapes: list[tuple[int, ...]]) -> dict[int, Tensor]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = flat.split(sizes)
    return {n: p.reshape(s) for n, (p, s) in enumerate(zip(parts, shapes, strict=True))}


def modal_count(config: dict[str, Any], name: str) -> int:
    """Modalities that enter a linear map; all maps that may have them, do."""
    entered = name.endswith(
        ("to_feature_x", "interaction_1", "interaction_2", "input_to_hidden")
    )
    return len(config.get("_modal_map", ())) if entered else 0


def has_bias(config: dict[str, Any], name: str) -> bool:
    return config["use_bias_in_linear"] and "self_connection" not in name


def mapped(
    config: dict[str, Any],
    s: State,
    name: str,
    x: dict[int, Tensor],
    shapes: list[tuple[int, int]],
) -> dict[int, Tensor]:
    """A linear map: the modality is a one-hot vector of further scalars."""
    count = modal_count(config, name)
    more = [(count, shapes[0][1])] if count else []
    matrices = blocks(s[f"{name}.linear.weight"], [*shapes, *more])
    if count:
        matrices[0] = torch.cat([matrices[0], matrices.pop(len(shapes))])
        one_hot = torch.eye(count, dtype=torch.float64)[config["modality"]]
        x = {**x, 0: torch.cat([x[0], one_hot.expand(*x[0].shape[:2], count)], dim=2)}
    out = linear(x, matrices)
    if has_bias(config, name):
        out[0] = out[0] + s[f"{name}.linear.bias"]
    return out


def energies(config: dict[str, Any], state: State, atoms: Atoms) -> Tensor:
    """Energies of the atoms, from the equations of the original."""
    s = {name: tensor.double() for name, tensor in state.items()}
    graph = build_graph(atoms, CUTOFF)
    z = torch.tensor([TYPES[n] for n in atoms.numbers])
    lengths = edge_vectors(graph).norm(dim=1, keepdim=True)
    kind = config["cutoff_function"]
    if kind["cutoff_function_name"] == "XPLOR":
        fade = xplor_envelope(lengths, kind["cutoff_on"], CUTOFF)
    else:
        fade = polynomial_envelope(lengths / CUTOFF, kind.get("poly_cut_p_value", 6))
    basis = bessel(graph, s["edge_embedding.basis_function.coeffs"], CUTOFF) * fade
    one_hot = {0: torch.eye(3, dtype=torch.float64)[z][:, None]}
    x = mapped(config, s, "onehot_to_feature_x", one_hot, [(3, 4)])
    for k in range(LAYERS):
        before, after = channels(k)
        update = [sum(after), *after[1:]]
        of_layer = paths(config, k)
        radial = basis
        for n in range(3):
            matrix = s[f"{k}_convolution.weight_nn.layer{n}.weight"]
            radial = (silu(radial) * GAIN if n else radial) @ matrix
            radial = radial / len(matrix) ** 0.5
        if not config["_normalize_sph"]:
            powers = [p[1] for p in of_layer for _ in range(before[p[0]])]
            radial = radial * lengths ** torch.tensor(powers)
        square = [(c, c) for c in before]
        sent = mapped(config, s, f"{k}_self_interaction_1", x, square)
        message = convolve(sent, graph, 2, radial, of_layer, symbol)
        denominator = s[f"{k}_convolution.denominator"]
        message = {n: part / denominator for n, part in message.items()}
        rows = [sum(before[p[0]] for p in of_layer if p[2] == n) for n in range(3)]
        shapes = list(zip(rows, update, strict=False))
        new = mapped(config, s, f"{k}_self_interaction_2", message, shapes)
        if kinds(config)[k] == "nequip":
            shapes = [(a, 3, b) for a, b in zip(before, update, strict=False)]
            flat = s[f"{k}_self_connection_intro.fc_tensor_product.weight"]
            kept = {
                n: torch.einsum("nmc,cnd->nmd", x[n], w[:, z]) / (3 * len(w)) ** 0.5
                for n, w in blocks(flat, shapes).items()
            }
        else:
            shapes = list(zip(before, update, strict=False))
            kept = mapped(config, s, f"{k}_self_connection_intro", x, shapes)
        x = {n: part + kept.get(n, 0.0) for n, part in new.items()}
        x = gate(x, after, GAIN)
    x = mapped(config, s, "reduce_input_to_hidden", x, [(4, 2)])
    x = mapped(config, s, "reduce_hidden_to_energy", x, [(2, 1)])
    shift, scale = (s[f"rescale_atomic_energy.{n}"] for n in ("shift", "scale"))
    if shift.ndim == 2:
        shift = shift[config["modality"]]
    return x[0][:, 0, 0] * scale.expand(3)[z] + shift.expand(3)[z]


def write(path: Path, config: dict[str, Any], state: State) -> Path:
    names = config.keys() - {"tensors", "modality"}
    of_file = {name: config[name] for name in sorted(names)}
    checkpoint = {"model_state_dict": state, "config": of_file, "epoch": 3}
    torch.save(checkpoint | {"optimizer_state_dict": {"lr": 0.1}}, path)
    return path


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("SiO", "zincblende", a=4.3).repeat((2, 1, 1))
    atoms.numbers[0] = 1
    atoms.rattle(0.2, seed=3)
    return atoms


VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "sorted paths": {"version": "0.11.1"},
    "development version": {"version": "0.11.0.dev0", "_normalize_sph": True},
    "solid harmonics": {"_normalize_sph": False},
    "matrices of elements": {"self_connection_type": "nequip"},
    "mixed": {"self_connection_type": ["nequip", "linear", "linear"]},
    "biases": {"use_bias_in_linear": True},
    "scales of elements": {
        "tensors": {"rescale_atomic_energy.scale": torch.tensor([1.5, 0.7, 2.0])}
    },
    "one scale and shift": {
        "tensors": {
            "rescale_atomic_energy.scale": torch.tensor([1.5]),
            "rescale_atomic_energy.shift": torch.tensor([-2.0]),
        }
    },
    "polynomial": {
        "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 5}
    },
}


MODAL: dict[str, Any] = {
    "use_modality": True,
    "_modal_map": {"r2SCAN": 1, "PBE": 0},
    "use_modal_node_embedding": True,
    "use_modal_self_inter_intro": True,
    "use_modal_self_inter_outro": True,
    "use_modal_output_block": True,
    "tensors": {"rescale_atomic_energy.shift": torch.arange(6.0).reshape(2, 3)},
}


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("name", ["PBE", "r2SCAN"])
def test_a_modality_is_a_head(name, biases, tmp_path, crystal):
    modality = MODAL["_modal_map"][name]
    config = settings() | MODAL | {"use_bias_in_linear": biases, "modality": modality}
    state = random_state(config)
    path = write(tmp_path / "m.pth", config, state)

    converted = read_model(path, sevennet.SOURCE, name)

    assert converted.origin.head == name
    for atoms in (crystal, Atoms("O", cell=20 * np.eye(3), pbc=True)):
        found = build(converted)(build_graph(atoms, CUTOFF), ("energy",)).energies
        expected = energies(config, state, atoms)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("update", "head", "message"),
    [
        (MODAL, None, "PBE, r2SCAN; none was chosen"),
        (MODAL, "B3LYP", "PBE, r2SCAN; not B3LYP"),
        ({}, "PBE", "modalities of the file: none; not PBE"),
    ],
)
def test_a_modality_must_be_chosen_among_those_of_the_file(
    update, head, message, tmp_path
):
    config = settings() | update
    path = write(tmp_path / "m.pth", config, random_state(config))

    with pytest.raises(ConversionError, match=message):
        read_model(path, sevennet.SOURCE, head)


@pytest.mark.parametrize("variant", VARIANTS)
def test_energies_are_those_of_the_equations(variant, tmp_path, crystal):
    config = settings() | VARIANTS[variant]
    of_order = config | {"version": "0.9.1"} if "dev" in config["version"] else config
    state = random_state(of_order)
    path = write(tmp_path / "m.pth", config, state)
    alone = Atoms("O", cell=20 * np.eye(3), pbc=True)

    assert find_source(path) is sevennet.SOURCE
    potential = build(read_model(path, sevennet.SOURCE))

    for atoms in (crystal, alone):
        found = potential(build_graph(atoms, CUTOFF), ("energy",)).energies
        expected = energies(of_order, state, atoms)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_names_of_the_first_versions_are_understood(tmp_path, crystal):
    config = {k: v for k, v in settings().items() if k != "_normalize_sph"}
    state = random_state(config)
    old = {
        name.replace("edge_embedding", "EdgeEmbedding")
        .replace("_self_connection_intro", " self connection intro")
        .replace("_self_interaction_2", " self interaction 2")
        .replace("_convolution.", " convolution.")
        .replace("denominator", "denumerator")
        .replace("_equivariant_gate", " equivariant gate")
        .replace("reduce_input_to_hidden", "reducing nn input to hidden")
        .replace("reduce_hidden_to_energy", "reducing nn hidden to energy")
        .replace("rescale_atomic_energy", "rescale atomic energy"): tensor
        for name, tensor in state.items()
    }
    path = write(tmp_path / "m.pth", config, old)

    potential = build(read_model(path, sevennet.SOURCE))

    found = potential(build_graph(crystal, CUTOFF), ("energy",)).energies
    solid = config | {"_normalize_sph": False}  # what these versions computed
    expected = energies(solid, state, crystal)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_origin_says_what_the_original_lacks(tmp_path):
    path = write(tmp_path / "m.pth", settings(), random_state(settings()))

    converted = read_model(path, sevennet.SOURCE)

    remarks = " ".join(converted.origin.remarks)
    assert "second derivatives jump where an edge is 3.2 Å or 4 Å long" in remarks
    assert "no parity" in remarks
    assert build(converted).backbone.hessian_jumps == (3.2, 4.0)
    assert converted.origin.version == "0.9.1"
    lines = " ".join(converted.origin.without_effect)
    for expected in (
        "*.output_mask (18 tensors): says which outputs are not zero",
        "config.act_gate.o: there are no odd features",
        "config.shift: the original evaluates the tensor",
        "the checkpoint.optimizer_state_dict: state of the training",
    ):
        assert expected in lines


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown setting": ({"attention": 4}, "1 setting of config unknown .*attention=4"),
    "both parities": ({"is_parity": True}, "is_parity of config is True"),
    "biases": (
        {"use_bias_in_linear": True},
        r"linear.bias has the shape \(0,\), expected \(4,\)",
    ),
    "readout": ({"readout_as_fcn": True}, "readout_as_fcn of config is True"),
    "modalities": ({"use_modality": True}, "config has no _modal_map"),
    "one modality": (
        {"use_modality": True, "_modal_map": {"PBE": 0}},
        "_modal_map: expected the indices 0, 1, ... once each",
    ),
    "activation": ({"act_radial": "ssp"}, "act_radial of config is 'ssp'"),
    "gates": ({"act_gate": {"e": "ssp"}}, "act_gate.e of config is 'ssp'"),
    "section": ({"act_gate": "silu"}, "act_gate: expected a dictionary"),
    "unknown in section": (
        {"radial_basis": {"radial_basis_name": "bessel", "zeta": 2}},
        "radial_basis.zeta=2",
    ),
    "envelope": (
        {"cutoff_function": {"cutoff_function_name": "cosine"}},
        "cutoff_function_name of config is 'cosine'",
    ),
    "late onset": (
        {"cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 4.5}},
        "cutoff_on is 4.5, beyond the cutoff",
    ),
    "rough envelope": (
        {
            "cutoff_function": {
                "cutoff_function_name": "poly_cut",
                "poly_cut_p_value": 2,
            }
        },
        "poly_cut_p_value is 2",
    ),
    "odd features": (
        {"irreps_manual": ["4x0e", "4x0e+3x1o", "4x0e+3x1o", "4x0e"]},
        "of even parity",
    ),
    "other layers": (
        {"irreps_manual": ["4x0e", "4x0e+3x1e+2x2e", "4x0e+3x1e", "4x0e"]},
        "the same numbers of channels between all layers",
    ),
    "few layers": ({"irreps_manual": ["4x0e", "4x0e"]}, "expected a list of 4"),
    "lower degree": ({"lmax": 3}, "irreps_manual has degrees to 2, lmax is 3"),
    "few harmonics": ({"lmax_edge": 1}, "degrees above 1, the highest"),
    "connection": (
        {"self_connection_type": "MACE"},
        r"self_connection_type is \['MACE'",
    ),
    "types": ({"_type_map": {1: 0, 8: 2}}, "indices 0, 1, ... once each"),
    "version": ({"version": "new"}, "version is 'new'"),
    "interaction": ({"interaction_type": "mace"}, "interaction_type of config"),
    "widths": ({"weight_nn_hidden_neurons": [5, 7]}, "layer1.weight has the shape"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_the_equations_do_not_have_are_refused(change, tmp_path):
    update, message = CHANGES[change]
    path = write(tmp_path / "m.pth", settings() | update, random_state(settings()))

    with pytest.raises(ConversionError, match=message):
        read_model(path, sevennet.SOURCE)


TENSORS: dict[str, tuple[str, Tensor | None, str]] = {
    "missing": (
        "1_self_interaction_2.linear.weight",
        None,
        "tensor 1_self_interaction_2.linear.weight is missing",
    ),
    "too many": ("0_attention.weight", torch.ones(2), "0_attention.weight"),
    "bias": ("0_self_interaction_1.linear.bias", torch.ones(4), r"expected \(0,\)"),
    "scales": (
        "rescale_atomic_energy.scale",
        torch.tensor([1.0, 1.0, -2.0]),
        "scale is 0 in the mean: expected a positive number",
    ),
    "shifts": (
        "rescale_atomic_energy.shift",
        torch.ones(2, 3),
        r"shift has the shape \(2, 3\): expected one number, or 3",
    ),
    "no 3j symbol": (
        symbol_name(1, (1, 1, 2)),
        torch.ones(3, 3, 5),
        "_w3j_1_1_2 is not a 3j symbol up to its sign",
    ),
    "missing 3j symbol": (symbol_name(1, (1, 1, 2)), None, "_w3j_1_1_2 is missing"),
    "denominator": (
        "1_convolution.denominator",
        torch.zeros(1),
        "1_convolution.denominator: expected a positive number",
    ),
    "roots": (
        "edge_embedding.basis_function.coeffs",
        torch.ones(4),
        r"basis_function.coeffs has the shape \(4,\), expected \(3,\)",
    ),
}


@pytest.mark.parametrize("change", TENSORS)
def test_tensors_that_do_not_fit_are_refused(change, tmp_path):
    name, value, message = TENSORS[change]
    state = random_state(settings())
    if value is None:
        del state[name]
    else:
        state[name] = value
    path = write(tmp_path / "m.pth", settings(), state)

    with pytest.raises(ConversionError, match=message):
        read_model(path, sevennet.SOURCE)


def test_other_files_of_torch_are_not_recognized(tmp_path):
    torch.save({"model_state_dict": {}}, tmp_path / "m.pth")

    assert not sevennet.matches(tmp_path / "m.pth")
    assert not sevennet.matches(tmp_path / "missing.pth")
