"""Conversion of NequIP."""

import math
from itertools import pairwise
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
from equipot.conversion.sources import nequip
from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import build_graph
from equipot.nn import polynomial_envelope
from equipot.so3 import spherical_harmonics, wigner_3j

CUTOFF = 4.0
TYPES = ["Si", "H", "O"]
GAINS = {1: 1.6791767923989418, -1: 1.5937334472592695}
PREFIX = "model.sole_model.model.func."
Kind = tuple[int, int]
"""Degree and parity."""
State = dict[str, Tensor]


def settings(**update: Any) -> dict[str, Any]:
    return {
        "_target_": "nequip.model.NequIPGNNModel", "seed": 1, "model_dtype": "float64",
        "type_names": TYPES, "r_max": CUTOFF, "num_layers": 3, "l_max": 1,
        "parity": False, "num_features": [4, 2], "type_embed_num_features": 3,
        "radial_mlp_depth": 1, "radial_mlp_width": 5, "num_bessels": 3,
        "avg_num_neighbors": 9.0, "per_type_energy_scales": 1.3,
        "per_type_energy_shifts": {"Si": -5.0, "H": -1.0, "O": -3.0}, **update,
    }  # fmt: skip


def layers(model: dict[str, Any]) -> list[dict[Kind, int]]:
    """Channels before the first layer and after each, in the order of the file."""
    lmax, count = model["l_max"], model["num_layers"]
    found = [{(0, 1): model["type_embed_num_features"]}]
    for n in range(count):
        kinds = [(0, 1)]
        if n < count - 1:
            parities = (1, -1) if model["parity"] else (None,)
            kinds = [
                (degree, p or (-1) ** degree)
                for degree in range(lmax + 1)
                for p in parities
            ]
        reached = {path[2] for path in paths(found[-1], lmax, kinds)}
        found.append({k: model["num_features"][k[0]] for k in kinds if k in reached})
    return found


def paths(before: Any, lmax: int, kinds: Any) -> list[tuple[Kind, int, Kind]]:
    return [
        ((l1, p), l2, (l3, p * (-1) ** l2))
        for l1, p in before
        for l2 in range(lmax + 1)
        for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        if (l3, p * (-1) ** l2) in kinds
    ]


def gated(after: dict[Kind, int]) -> dict[Kind, int]:
    """Channels that enter the gate."""
    more = sum(count for (degree, _), count in after.items() if degree)
    return {**after, (0, 1): after[(0, 1)] + more}


def rows_of(before: dict[Kind, int], of_layer: Any) -> dict[Kind, int]:
    ends = sorted({end for *_, end in of_layer})
    return {
        end: sum(before[start] for start, _, other in of_layer if other == end)
        for end in ends
    }


def random_state(model: dict[str, Any]) -> State:
    """Tensors of the model with the names of the package."""
    generator = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    embedding, lmax = model["type_embed_num_features"], model["l_max"]
    state = {
        "type_embed.embed_module.weight": normal(len(TYPES), embedding),
        "edge_norm._rmax_recip": torch.tensor(1 / CUTOFF, dtype=torch.float64),
        "bessel_encode.bessel_weights": torch.arange(1.0, 4.0, dtype=torch.float64)[
            None
        ],
    }
    every = layers(model)
    for n, (before, after) in enumerate(pairwise(every)):
        name, update = f"layer{n}_convnet.conv", gated(after)
        of_layer = paths(before, lmax, update)
        columns = sum(before[start] for start, *_ in of_layer)
        sizes = {
            "linear_1": sum(c * c for c in before.values()),
            "linear_2": sum(
                c * update[k] for k, c in rows_of(before, of_layer).items()
            ),
        }
        state |= {
            f"layer{n}_convnet.equivariant_nonlin.mul.weight": normal(0),
            f"{name}.edge_mlp.mlp.0.weight": normal(3, 5),
            f"{name}.edge_mlp.mlp.2.weight": normal(5, columns),
            f"{name}.tp_scatter.tp.weight": normal(0),
        }
        for module, size in sizes.items():
            state[f"{name}.{module}.weight"] = normal(size)
            state[f"{name}.{module}.bias"] = normal(0)
            state[f"{name}.{module}.output_mask"] = normal(2)
        if n:
            size = sum(
                c * embedding * update[k] for k, c in before.items() if k in update
            )
            state[f"{name}.sc.weight"] = normal(size)
        for (l1, _), l2, (l3, _) in of_layer:
            if l1 and l2 and l3:
                state[symbol_name(n, l1, l2, l3)] = wigner_3j(l1, l2, l3)
    width = model["num_features"][0]
    state["per_atom_energy_readout.mlp_module.mlp.0.weight"] = normal(width, 1)
    shifts = torch.tensor([[-5.0], [-1.0], [-3.0]], dtype=torch.float64)
    scales = torch.tensor([[1.3]], dtype=torch.float64)
    state["per_type_energy_scale_shift.scales"] = scales
    state["per_type_energy_scale_shift.shifts"] = shifts
    if model.get("pair_potential"):
        numbers = torch.tensor([14.0, 1.0, 8.0], dtype=torch.float64)
        half = torch.tensor(14.399645 / 2, dtype=torch.float64)
        state["pair_potential.atomic_numbers"] = numbers
        state["pair_potential._qqr2exesquare"] = half
    return state


def symbol_name(layer: int, *degrees: int) -> str:
    name = f"layer{layer}_convnet.conv.tp_scatter.tp._compiled_main_left_right._w3j"
    return "_".join([name, *map(str, degrees)])


def mapped(
    x: dict[Kind, Tensor], flat: Tensor, outputs: dict[Kind, int]
) -> dict[Kind, Tensor]:
    """A linear map of e3nn: matrices lie in the order of the inputs."""
    out, start = {}, 0
    for kind, part in x.items():
        if kind in outputs:
            rows, columns = part.shape[2], outputs[kind]
            matrix = flat[start : start + rows * columns].reshape(rows, columns)
            out[kind] = part @ matrix / rows**0.5
            start += rows * columns
    assert start == len(flat)
    return out


def energies(model: dict[str, Any], s: State, atoms: Atoms) -> Tensor:
    """Energies of the atoms, from the equations of the original."""
    graph = build_graph(atoms, CUTOFF)
    senders, receivers = graph.edge_index
    z = torch.tensor([TYPES.index(name) for name in atoms.get_chemical_symbols()])
    vectors = edge_vectors(graph)
    r = vectors.norm(dim=1, keepdim=True)
    lmax, harmonics = model["l_max"], spherical_harmonics(model["l_max"], vectors / r)
    orders = s["bessel_encode.bessel_weights"]
    basis = torch.sinc(r / CUTOFF * orders) * orders * 2 * math.pi / CUTOFF**2
    basis = basis * polynomial_envelope(r / CUTOFF, 6)
    neighbors = model["avg_num_neighbors"]
    if isinstance(neighbors, dict):
        counts = torch.tensor([neighbors[name] for name in TYPES], dtype=torch.float64)
    else:
        counts = torch.full((len(TYPES),), neighbors, dtype=torch.float64)
    e = s["type_embed.embed_module.weight"][z]
    x = {(0, 1): e[:, None]}
    every = layers(model)
    for n, (before, after) in enumerate(pairwise(every)):
        name, update = f"layer{n}_convnet.conv", gated(after)
        radial = silu(basis @ s[f"{name}.edge_mlp.mlp.0.weight"] / 3**0.5)
        radial = radial @ s[f"{name}.edge_mlp.mlp.2.weight"] * (2 / 5) ** 0.5
        sent = mapped(x, s[f"{name}.linear_1.weight"], before)
        blocks: dict[Kind, list[Tensor]] = {}
        start = 0
        for source, l2, end in paths(before, lmax, update):
            width = before[source]
            part = sent[source] / counts[z].sqrt()[:, None, None]
            message = torch.einsum(
                "abk,eac,eb,ec->ekc",
                wigner_3j(source[0], l2, end[0]) * (2 * end[0] + 1) ** 0.5,
                part[senders],
                harmonics[:, l2**2 : (l2 + 1) ** 2],
                radial[:, start : start + width],
            )
            start += width
            zeros = message.new_zeros(len(z), *message.shape[1:])
            blocks.setdefault(end, []).append(zeros.index_add(0, receivers, message))
        joined = {end: torch.cat(blocks[end], dim=2) for end in sorted(blocks)}
        new = mapped(joined, s[f"{name}.linear_2.weight"], update)
        if n:
            flat = s[f"{name}.sc.weight"]
            for kind, kept in self_connection(x, e, flat, update).items():
                new[kind] = new[kind] + kept
        x = gate(new, after)
    readout = s["per_atom_energy_readout.mlp_module.mlp.0.weight"]
    out = (x[(0, 1)][:, 0] @ readout)[:, 0] / len(readout) ** 0.5
    scales, shifts = (
        s[f"per_type_energy_scale_shift.{name}"].expand(len(TYPES), 1)[z, 0]
        for name in ("scales", "shifts")
    )
    out = out * scales + shifts
    if model.get("pair_potential"):
        out = out.index_add(0, receivers, repulsion(atoms, graph.edge_index, r))
    return out


def self_connection(
    x: dict[Kind, Tensor], e: Tensor, flat: Tensor, update: dict[Kind, int]
) -> dict[Kind, Tensor]:
    out, start = {}, 0
    for kind, part in x.items():
        if kind in update:
            shape = (part.shape[2], e.shape[1], update[kind])
            block = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
            kept = torch.einsum("nic,na,cad->nid", part, e, block)
            out[kind] = kept / math.prod(shape[:2]) ** 0.5
    assert start == len(flat)
    return out


def gate(new: dict[Kind, Tensor], after: dict[Kind, int]) -> dict[Kind, Tensor]:
    even = (0, 1)
    gates = silu(new[even][:, :, after[even] :]) * GAINS[1]
    out, start = {}, 0
    for kind, count in after.items():
        if kind == even:
            out[kind] = silu(new[kind][:, :, :count]) * GAINS[1]
        elif kind == (0, -1):
            out[kind] = torch.tanh(new[kind]) * GAINS[-1]
        else:
            out[kind] = new[kind] * gates[:, :, start : start + count]
            start += count
    return out


def repulsion(atoms: Atoms, edge_index: Tensor, r: Tensor) -> Tensor:
    """Half of the energy of each pair, with the constants of LAMMPS."""
    z = torch.tensor(atoms.numbers, dtype=torch.float64)[edge_index]
    x = (z**0.23).sum(0)[:, None] * r / 0.4685
    terms = {
        0.02817: 0.20162, 0.28022: 0.4029, 0.50986: 0.94229, 0.18175: 3.1998
    }  # fmt: skip
    phi = sum(c * torch.exp(-d * x) for c, d in terms.items())
    pair = 14.399645 / 2 * z.prod(0)[:, None] / r * phi
    return (pair * polynomial_envelope(r / CUTOFF, 6))[:, 0]


def write(
    path: Path,
    model: dict[str, Any],
    state: State,
    averaged: State | None = None,
    **more: Any,
) -> Path:
    """A checkpoint; with averaged weights, the others are something else."""
    module = "EMALightningModule" if averaged else "NequIPLightningModule"
    content: dict[str, Any] = {PREFIX + name: value for name, value in state.items()}
    for n, value in enumerate((averaged or {}).values()):
        content[f"ema.ema_weight_{n}"] = value
    if averaged:
        content["ema._extra_state"] = {"is_holding_ema_weights": True, "decay": 0.9}
    hyper = {
        "model": model,
        "optimizer": {"lr": 0.01},
        "info_dict": {
            "versions": {"nequip": "0.19.1"},
            "training_module": {"_target_": f"nequip.train.{module}"},
        },
    }
    state_dict = {"run_stage": torch.zeros(1, dtype=torch.long), **content}
    checkpoint = {"state_dict": state_dict, "hyper_parameters": hyper, "epoch": 3}
    torch.save(checkpoint | more, path)
    return path


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("SiO", "zincblende", a=4.3).repeat((2, 1, 1))
    atoms.numbers[0] = 1
    atoms.rattle(0.2, seed=3)
    return atoms


ZBL = {
    "_target_": "nequip.nn.pair_potential.ZBL",
    "units": "metal",
    "chemical_species": TYPES,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "natural parity": {},
    "both parities": {"parity": True, "num_layers": 4},
    "odd scalars": {"parity": True, "num_layers": 6},
    "neighbors of elements": {"avg_num_neighbors": {"Si": 9.0, "H": 5.0, "O": 7.0}},
    "repulsion": {"pair_potential": ZBL, "l_max": 2, "num_features": [3, 3, 2]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_energies_are_those_of_the_equations(variant, tmp_path, crystal):
    model = settings(**VARIANTS[variant])
    state = random_state(model)
    path = write(tmp_path / "m.ckpt", model, state)

    assert find_source(path) is nequip.SOURCE
    potential = build(read_model(path, nequip.SOURCE))

    for atoms in (crystal, Atoms("O", cell=20 * np.eye(3), pbc=True)):
        found = potential(build_graph(atoms, CUTOFF), ("energy",)).energies
        expected = energies(model, state, atoms)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_scales_of_elements_and_trained_radial_functions(tmp_path, crystal):
    model = settings(bessel_trainable=True)
    state = random_state(model)
    scales = torch.tensor([[1.5], [0.7], [2.0]], dtype=torch.float64)
    state["per_type_energy_scale_shift.scales"] = scales
    state["bessel_encode.bessel_weights"] += 0.1
    path = write(tmp_path / "m.ckpt", model, state)

    converted = read_model(path, nequip.SOURCE)

    found = build(converted)(build_graph(crystal, CUTOFF), ("energy",)).energies
    torch.testing.assert_close(
        found, energies(model, state, crystal), rtol=0, atol=1e-11
    )


def test_averaged_weights_are_those_of_the_model(tmp_path, crystal):
    model = settings()
    state = random_state(model)
    trained = [
        name
        for name, value in state.items()
        if name.endswith("weight") and value.numel() and "_w3j" not in name
    ]
    averaged = {name: 0.9 * state[name] for name in trained}
    path = write(tmp_path / "m.ckpt", model, state, averaged)

    converted = read_model(path, nequip.SOURCE)

    found = build(converted)(build_graph(crystal, CUTOFF), ("energy",)).energies
    expected = energies(model, {**state, **averaged}, crystal)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "edge types": ({"per_edge_type_cutoff": {"Si": 3.0}}, "per_edge_type_cutoff"),
    "fields": (
        {"categorical_graph_field_embed": [{}]},
        "categorical_graph_field_embed",
    ),
    "unknown": ({"num_heads": 2}, "num_heads"),
    "package": ({"_target_": "nequip.model.ModelFromPackage"}, "ModelFromPackage"),
    "names": ({"type_names": ["my_Si", "H", "O"]}, "type_names"),
    "increasing": ({"num_features": [2, 4]}, "num_features"),
    "units": ({"pair_potential": ZBL | {"units": "real"}}, "units of pair_potential"),
    "pair": (
        {"pair_potential": {"_target_": "nequip.nn.pair_potential.LennardJones"}},
        "LennardJones",
    ),
    "power": (
        {"polynomial_cutoff_p": 5, "pair_potential": ZBL},
        "polynomial_cutoff_p of pair_potential is 6",
    ),
    "cutoff": ({"r_max": 5.0}, "r_max is 5"),
    "resnet": ({"convnet_resnet": True}, "convnet_resnet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_without_equations_are_refused_by_name(case, tmp_path):
    update, message = REFUSED[case]
    state = random_state(settings())
    path = write(tmp_path / "m.ckpt", settings(**update), state)

    with pytest.raises(ConversionError, match=message):
        read_model(path, nequip.SOURCE)


def _missing(state: State) -> None:
    del state["layer1_convnet.conv.sc.weight"]


def _additional(state: State) -> None:
    state["layer1_convnet.conv.extra.scale"] = torch.ones(2)


def _turned(state: State) -> None:
    name = "layer1_convnet.conv.linear_2.weight"
    state[name] = state[name][:-1]


def _not_finite(state: State) -> None:
    state["layer0_convnet.conv.linear_1.weight"][0] = torch.nan


def _bias(state: State) -> None:
    state["layer0_convnet.conv.linear_1.bias"] = torch.ones(3)


def _roots(state: State) -> None:
    state["bessel_encode.bessel_weights"] += 0.1


def _symbol(state: State) -> None:
    state[symbol_name(1, 1, 1, 1)] = torch.ones(3, 3, 3)


DAMAGED = {
    "missing": (_missing, "sc.weight is missing"),
    "additional": (_additional, "extra.scale"),
    "another shape": (_turned, "linear_2.weight has the shape"),
    "not finite": (_not_finite, "not finite"),
    "bias": (_bias, "linear_1.bias has the shape"),
    "radial functions": (_roots, "bessel_weights are not"),
    "symbol": (_symbol, "not a 3j symbol"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_tensors_that_do_not_fit_are_refused_by_name(case, tmp_path):
    damage, message = DAMAGED[case]
    model = settings(parity=True, num_layers=4)
    state = random_state(model)
    damage(state)
    path = write(tmp_path / "m.ckpt", model, state)

    with pytest.raises(ConversionError, match=message):
        read_model(path, nequip.SOURCE)


def test_parts_of_a_checkpoint_that_are_unknown_are_refused(tmp_path):
    path = write(tmp_path / "m.ckpt", settings(), random_state(settings()), adapter={})

    with pytest.raises(ConversionError, match="adapter"):
        read_model(path, nequip.SOURCE)


def test_a_head_is_refused(tmp_path):
    path = write(tmp_path / "m.ckpt", settings(), random_state(settings()))

    with pytest.raises(ConversionError, match="no heads"):
        read_model(path, nequip.SOURCE, "PBE")
