"""Golden outputs: a model file that was edited, or other code, is refused."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from torch.testing import assert_close

import equipot.checkpoint.file
import equipot.models.potential
from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import (
    CheckpointError,
    GoldenOutputError,
    load_domain,
    load_potential,
    read_header,
    save_potential,
)
from equipot.checkpoint.verification import verify_model
from equipot.config.model import parse_model
from equipot.domain import FeatureDistribution
from equipot.models import build_potential
from equipot.models.build import unsupported
from equipot.models.products import specs_of
from equipot.neighbors import build_graph
from equipot.storage.tensor_file import read_tensor_file, write_tensor_file
from equipot.storage.user_cache import cache_folder, store_cached
from equipot.tensor_products import BACKENDS, unavailable
from equipot.verify import BackendMismatchError, check_backend
from equipot.verify.golden import GoldenOutputs, golden_outputs, golden_structures
from tests.broken_backends import Wrapped, WrongWhere
from tests.potentials import ARCHITECTURES, SMALL, random_potential, statistics_of

CONFIG = parse_model(
    {
        "cutoff": 4.0,
        "lmax": 1,
        "channels": 4,
        "num_layers": 2,
        "radial_hidden": (8,),
        "zbl": True,
        "backend": "clebsch_gordan",
        "direct_hessian": {"cutoff": 5.0, "channels": 2, "hidden": (4,)},
    }
)
STATISTICS = statistics_of((1, 6, 8, 14, 16), 4.0)
"""No sample has sulfur."""


@pytest.fixture
def path(tmp_path, monkeypatch, structures):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    potential = build_potential(CONFIG, STATISTICS, seed=2)
    numbers = np.repeat(STATISTICS.elements, 2)
    values = np.random.default_rng(0).normal(size=(len(numbers), CONFIG.channels))
    cloud = FeatureDistribution.fit(numbers, values)
    save_potential(
        path, potential, CONFIG, STATISTICS, samples=structures, features=cloud
    )
    return path


def edit(path, change):
    """Alter header or tensors of a file and sign it again."""
    header, tensors = read_tensor_file(path, "potential")
    header = {k: v for k, v in header.items() if k not in ("sha256", "kind")}
    change(header, tensors)
    write_tensor_file(path, "potential", header, tensors)


def of(section, key, value):
    """Edit of one key; a function of the value that is there, or another one."""

    def change(header, tensors):
        before = header[section][key]
        header[section][key] = value(before) if callable(value) else value

    return pytest.param(change, id=f"{section}.{key}")


def swap(a, b):
    def change(energies):
        return {**energies, a: energies[b], b: energies[a]}

    return change


def of_embedding(header, tensors):
    """Two elements change places, one of which is in no sample."""
    (name,) = [n for n in tensors if "embedding" in n]
    tensors[name] = tensors[name][[0, 1, 2, 4, 3]]


SEEN = [
    of("statistics", "reference_energies", swap("1", "6")),
    of("statistics", "reference_energies", swap("14", "16")),
    of("statistics", "reference_energies", lambda e: {**e, "16": e["16"] + 1e-3}),
    of("statistics", "energy_scale", lambda s: s * 1.001),
    of("statistics", "energy_shift", lambda s: s + 1e-3),
    of("statistics", "average_num_neighbors", lambda n: n * 1.001),
    of("model", "cutoff", 4.01),
    of("model", "envelope_power", 7),
    of("model", "zbl", False),
    of("model", "direct_hessian", lambda h: {**h, "cutoff": 5.01}),
    of("model", "direct_hessian", lambda h: {**h, "sum_rule": "projection"}),
    pytest.param(of_embedding, id="embedding"),
]
"""Edits that change a prediction."""
UNSEEN = [
    of("model", "dtype", "float64"),
    of("model", "symmetry", "SO(3)"),
    of("model", "direct_hessian", lambda h: {**h, "detach": True}),
    of("statistics", "cutoff", 3.9),
    of("statistics", "minimum_distances", {"H-O": 0.1}),
    of("statistics", "density_range", [0.0, 9.0]),
    of("statistics", "largest_force", 1e6),
    of("statistics", "num_edges", 10**6),
    of("statistics", "reference_source", "isolated_atoms"),
    of("units", "energy", "kcal/mol"),
]
"""Edits of what a model claims, where no prediction changes."""


@pytest.mark.parametrize("change", SEEN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_edit_that_changes_predictions_is_refused_with_numbers(path, change, dtype):
    edit(path, change)

    with pytest.raises(CheckpointError, match=r"\d") as caught:
        load_potential(path, dtype=dtype, device="cpu")

    told = str(caught.value)
    if isinstance(caught.value, GoldenOutputError):
        assert caught.value.checks
        assert all(
            c.difference.relative > c.difference.tolerance for c in caught.value.checks
        )
        assert "golden outputs: " in told
    else:
        assert "architecture of the header" in told  # another number of weights


@pytest.mark.parametrize("change", UNSEEN)
def test_an_edit_of_what_a_model_claims_is_refused_with_its_key(path, change, request):
    edit(path, change)

    with pytest.raises(GoldenOutputError, match=r"the file was edited after") as caught:
        load_potential(path, device="cpu")

    key = request.node.callspec.id.split("-")[0]
    assert f"{key} is now " in str(caught.value)


def test_every_weight_shows_in_the_golden_outputs(path):
    potential = load_potential(path, device="cpu", dtype="float64")
    names = [name for name, v in potential.state_dict().items() if v.any()]
    content = path.read_bytes()

    for name in names:

        def scale(header, tensors, name=name):
            tensors[name] = tensors[name] * 1.001

        edit(path, scale)
        with pytest.raises(GoldenOutputError, match=r"golden outputs: .* differs by"):
            load_potential(path, device="cpu", dtype="float64")
        path.write_bytes(content)

    assert len(names) > 20


def of_domain(header, tensors):
    name = next(name for name in tensors if name.startswith("domain.features."))
    tensors[name] = tensors[name] + 1


def without_golden(header, tensors):
    del header["golden"]


def golden_null(header, tensors):
    header["golden"] = None


def downgraded(header, tensors):
    header["format_version"] = 3


def without_samples(header, tensors):
    header["samples"] = []


def moved_sample(header, tensors):
    header["samples"][0]["positions"][0][0] += 0.01


def without_generated(header, tensors):
    header["golden"]["generated"] = []


def golden_energy(header, tensors):
    header["golden"]["values"]["energy"][0] += 0.1


def golden_not_a_number(header, tensors):
    header["golden"]["values"]["forces"][0][0] = None


def fewer_quantities(header, tensors):
    for part in ("values", "rounding"):
        del header["golden"][part]["direct Hessian"]


def no_quantities(header, tensors):
    header["golden"]["values"] = {}
    header["golden"]["rounding"] = {}


def lenient(header, tensors):
    """Rounding errors that would allow anything, and another reference energy."""
    header["golden"]["rounding"] = dict.fromkeys(header["golden"]["rounding"], 1e9)
    header["statistics"]["reference_energies"]["1"] += 1.0


def without_seals(header, tensors):
    header["golden"]["sealed"] = {}


def text_for_numbers(header, tensors):
    header["golden"]["values"]["energy"] = "many"


def deep(header, tensors):
    header["golden"]["values"]["energy"] = [[[[[1.0]]]]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (of_domain, "domain.features is now different"),
        (without_golden, "has no golden outputs, but format 5 requires"),
        (golden_null, "has no golden outputs, but format 5 requires"),
        (downgraded, "has golden outputs, although its format version has none"),
        (without_samples, "golden outputs have 3 structures with 19 atoms, the file"),
        (moved_sample, "golden outputs: forces .* differs by"),
        (without_generated, "golden outputs have 3 structures with 19 atoms, the file"),
        (golden_energy, r"golden outputs: energy \(float32\) differs by 1.00e-01"),
        (golden_not_a_number, "golden outputs: forces .* differs by nan"),
        (fewer_quantities, "golden outputs contain energies, energy, forces, stress; "),
        (no_quantities, r"golden outputs: ValueError: unexpected golden outputs: \[\]"),
        (lenient, "golden outputs: energies .* differs by 1.00e"),
        (without_seals, "sealed must map keys to hashes"),
        (text_for_numbers, "golden outputs: TypeError: expected a number, got 'many'"),
        (deep, "golden outputs must have at most 3 axes"),
    ],
)
def test_an_edit_of_what_it_is_compared_with_is_refused(path, change, told):
    edit(path, change)

    with pytest.raises(CheckpointError, match=told):
        load_potential(path, device="cpu")


@pytest.mark.parametrize("change", [of_domain, UNSEEN[3].values[0]])
def test_an_edited_domain_is_refused_alone_too(path, change):
    edit(path, change)

    with pytest.raises(CheckpointError, match="is not the model that was saved"):
        load_domain(path)


def test_what_says_where_a_model_is_from_may_be_edited(path):
    edit(path, lambda header, _: header.update(provenance={"seed": 1}))
    edit(path, lambda header, _: header["model"].update(backend="auto"))

    assert load_potential(path, device="cpu", backend="clebsch_gordan")
    assert load_domain(path)


def test_other_code_is_refused_with_numbers_every_time(path, monkeypatch):
    load_potential(path, device="cpu")
    envelope = equipot.models.potential.polynomial_envelope
    monkeypatch.setattr(
        equipot.models.potential,
        "polynomial_envelope",
        lambda x, power: 1.0001 * envelope(x, power),
    )

    for _ in range(2):
        with pytest.raises(GoldenOutputError, match="file or the code was edited"):
            load_potential(path, device="cpu")
    with pytest.raises(GoldenOutputError):
        EquipotCalculator(path)
    with pytest.raises(GoldenOutputError):
        verify_model(path)
    assert load_potential(path, device="cpu", verify=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_right_models_load_under_every_backend(tmp_path, architecture, ethanol):
    """Backends agree within the tolerance: there are no false alarms."""
    point = ARCHITECTURES[architecture]
    small = SMALL.get(str(point.get("architecture", "nequip")), {})
    config = parse_model({"cutoff": 4.0, "channels": 4, **small, **point})
    potential = build_potential(config, STATISTICS, seed=4)
    path = tmp_path / "model.safetensors"
    save_potential(path, potential, config, STATISTICS, samples=[ethanol[:3]])
    able = [
        name
        for name in ("clebsch_gordan", "fused", "so2", "spherical_grid", "gaunt_fft")
        if unsupported(name, specs_of(potential)) is None
        and unavailable(name, potential.device) is None
    ]

    for backend in able:
        for used in ("float32", "float64"):
            assert load_potential(path, device="cpu", backend=backend, dtype=used)
    assert len(able) >= (2 if specs_of(potential) else 1)


def test_samples_are_completed_by_elements_periodicity_and_molecules(ethanol, silica):
    many = statistics_of(tuple(range(1, 41)), 4.0)
    few = statistics_of((1, 6, 8), 4.0)

    complete = golden_structures([ethanol, silica], statistics_of((1, 6, 8, 14), 4.0))
    molecules = golden_structures([ethanol], few)
    nothing = golden_structures([], many)
    atoms = golden_structures([Atoms("H"), Atoms("C"), Atoms("O")], few)

    assert complete == []
    assert [a.pbc.all() for a in molecules] == [True]
    assert {z for a in nothing for z in a.numbers} == set(range(1, 41))
    assert {bool(a.pbc.all()) for a in nothing} == {True, False}
    assert {z for a in atoms for z in a.numbers} == {1, 6, 8}


def test_golden_outputs_are_those_of_the_reference_in_float64(path, structures):
    potential = load_potential(path, device="cpu", dtype="float64")
    section = read_header(path)["golden"]

    predictions = [
        potential(build_graph(atoms, CONFIG.cutoff), {"energy", "forces"})
        for atoms in structures
    ]

    stored = torch.tensor(section["values"]["energy"][:2], dtype=torch.float64)
    energies = torch.cat([p.energy for p in predictions])
    assert_close(stored, energies, rtol=0, atol=1e-10)
    assert len(section["values"]["forces"]) == 9 + 2 + 8
    assert 0 < section["rounding"]["forces"] < 1e-4


@pytest.mark.parametrize(
    "limits", [{"nodes": 64}, {"edges": 5_000}, {"edges": 20_000}, {"edges": 30_000}]
)
def test_a_backend_that_is_wrong_at_large_size_is_refused(
    path, monkeypatch, limits, many_edges, structures
):
    monkeypatch.setitem(BACKENDS, "large", type("Large", (WrongWhere,), limits))
    potential = random_potential(lmax=1, num_layers=1, channels=2, dtype="float32")

    with pytest.raises(BackendMismatchError, match="edges in one batch") as caught:
        check_backend(potential, structures, "large")

    assert len(caught.value.report.failures) >= 3


@pytest.mark.parametrize(
    "poison",
    [
        lambda answer: answer.update(passed="yes"),
        lambda answer: answer.update(backend="fused"),
        lambda answer: answer.update(checks=[]),
        lambda answer: answer.update(checks=5),
        lambda answer: answer.update(error="it failed"),
        lambda answer: answer["checks"][0].update(relative=1.0),
        lambda answer: answer["checks"][0].update(relative="none"),
        lambda answer: answer["checks"][0].update(tolerance=1e9, relative=1.0),
        lambda answer: answer["checks"][0].pop("tolerance"),
        lambda answer: answer.clear(),
    ],
)
def test_a_poisoned_verdict_is_found_out_anew(path, monkeypatch, poison):
    load_potential(path, backend="right", device="cpu")
    (file,) = (cache_folder() / "verified").iterdir()
    entry = json.loads(file.read_text())
    poison(entry["answer"])
    store_cached("verified", entry["question"], entry["answer"])  # with its new hash
    asked = []
    check = equipot.checkpoint.file.check_backend

    def counted(potential, structures):
        asked.append(potential.backend)
        return check(potential, structures)

    monkeypatch.setattr(equipot.checkpoint.file, "check_backend", counted)

    load_potential(path, backend="right", device="cpu")
    load_potential(path, backend="right", device="cpu")

    assert asked == ["right"]


def test_a_verdict_that_the_golden_outputs_belie_is_found_out_anew(path, monkeypatch):
    load_potential(path, backend="right", device="cpu")
    monkeypatch.setattr(Wrapped, "spoil", lambda self, messages: 1.001 * messages)

    for _ in range(2):
        with pytest.raises(BackendMismatchError, match=r"clebsch_gordan: .* differs"):
            load_potential(path, backend="right", device="cpu")


def test_golden_outputs_survive_json_to_the_bit(structures):
    potential = build_potential(CONFIG, STATISTICS, seed=2)

    golden = golden_outputs(potential, structures, STATISTICS)
    again = GoldenOutputs.from_json(json.loads(json.dumps(golden.to_json())))

    assert again.rounding == golden.rounding
    assert again.generated == golden.generated
    assert all(torch.equal(again.values[k], v) for k, v in golden.values.items())
