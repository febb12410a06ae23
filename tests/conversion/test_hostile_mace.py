"""Files of MACE that are damaged, or say what the equations do not have."""

import os
import pickle

import pytest
import torch
from torch import nn

from equipot.conversion.errors import ConversionError
from equipot.conversion.sources.mace import SOURCE
from tests.conversion.mace_files import (
    BLOCKS,
    Settings,
    made,
    record,
    tiny_model,
    write,
)


@pytest.fixture
def model():
    torch.set_default_dtype(torch.float64)
    yield tiny_model(Settings(heads=("Default",), correlation=2, repulsion=True))
    torch.set_default_dtype(torch.float32)


def refused(model, tmp_path, match):
    path = write(model, tmp_path / "hostile.model")
    with pytest.raises(ConversionError, match=match):
        SOURCE.read(path, None)


UNKNOWN = {
    "use_so3 of ScaleShiftMACE is True": lambda m: setattr(m, "use_so3", True),
    "ScaleShiftMACE unknown to this conversion: embedding_specs": lambda m: setattr(
        m, "embedding_specs", {"charge": 1}
    ),
    "from_the_future=1": lambda m: setattr(m.products[1], "from_the_future", 1),
    "cueq_config of interactions.1": lambda m: setattr(
        m.interactions[1], "cueq_config", record("mace.tools.cueq.Config", True)
    ),
    "apply_cutoff of ScaleShiftMACE is False": lambda m: setattr(
        m, "apply_cutoff", False
    ),
    "use_sc of products.1": lambda m: setattr(m.products[1], "use_sc", False),
    "normalization of spherical_harmonics": lambda m: setattr(
        m.spherical_harmonics, "normalization", "norm"
    ),
    "conv_fusion": lambda m: setattr(m.interactions[0], "conv_fusion", "atomic"),
    "contractions.0.weights.1 is missing": lambda m: setattr(
        m.products[1].symmetric_contractions.contractions[0], "correlation", 3
    ),
    "var_in of interactions.0.conv_tp_weights.layer0": lambda m: setattr(
        m.interactions[0].conv_tp_weights.layer0, "var_in", 2
    ),
    "is an unknown nonlinearity": lambda m: setattr(
        m.readouts[1].non_linearity.acts[0], "f", nn.functional.gelu
    ),
    "has no positive factor": lambda m: m.interactions[
        0
    ].linear.instructions.__setitem__(
        0, m.interactions[0].linear.instructions[0]._replace(field_3=float("nan"))
    ),
    "as in e3nn 0.4.4": lambda m: m.interactions[0].linear.instructions.__setitem__(
        0, record("e3nn.o3._linear.Linear.Instruction", 0, 0, (2, 2))
    ),
    r"conv_tp.irreps_in1 has the irreps 2x0e\+2x1e": lambda m: setattr(
        m.interactions[1].conv_tp, "irreps_in1", "2x0e+2x1e"
    ),
    r"conv_tp.irreps_in1 has \[2, 1\] channels of degrees 0, 1": lambda m: setattr(
        m.interactions[1].conv_tp, "irreps_in1", "2x0e+1x1o"
    ),
    "avg_num_neighbors": lambda m: setattr(m.interactions[0], "avg_num_neighbors", 0.0),
    "pair_repulsion": lambda m: setattr(m, "pair_repulsion", False),
}


@pytest.mark.parametrize("match", UNKNOWN)
def test_a_flag_that_the_equations_do_not_have_is_refused_by_name(
    match, model, tmp_path
):
    UNKNOWN[match](model)
    refused(model, tmp_path, match)


def test_unknown_classes_are_refused_by_name(model, tmp_path):
    kind = f"{BLOCKS}.RealAgnosticResidualNonLinearInteractionBlock"
    model.interactions[1] = made(kind)
    refused(model, tmp_path, "RealAgnosticResidualNonLinearInteractionBlock")


def test_models_of_dipoles_are_refused_by_name(tmp_path):
    model = made("mace.modules.models.AtomicDipolesMACE", weight=torch.zeros(1))
    refused(model, tmp_path, "class AtomicDipolesMACE")


def test_further_modules_are_refused_by_name(model, tmp_path):
    model.add_module("joint_embedding", made(f"{BLOCKS}.GenericJointEmbedding"))
    refused(model, tmp_path, r"joint_embedding \(GenericJointEmbedding\)")


def test_superfluous_tensors_are_refused_by_name(model, tmp_path):
    model.interactions[0].register_buffer("of_another_time", torch.ones(2))
    refused(model, tmp_path, r"interactions.0.of_another_time \(2,\)")


def test_tensors_in_generated_code_are_refused_by_name(model, tmp_path):
    contraction = model.products[0].symmetric_contractions.contractions[0]
    code = made("torch_fx.GraphModule", hidden=torch.ones(1))
    code.__class__.__module__ = "mace.modules.blocks"
    contraction.add_module("graph_opt_main", code)
    refused(model, tmp_path, "graph_opt_main.hidden is a tensor where there should be")


@pytest.mark.parametrize(
    "name",
    [
        "interactions.0.linear_up.weight",
        "interactions.1.skip_tp.weight",
        "interactions.1.conv_tp_weights.layer1.weight",
        "products.1.linear.weight",
        "products.0.symmetric_contractions.contractions.1.weights_max",
        "products.0.symmetric_contractions.contractions.1.weights.0",
        "products.0.symmetric_contractions.contractions.1.U_matrix_2",
        "readouts.1.linear_2.weight",
        "node_embedding.linear.weight",
        "radial_embedding.bessel_fn.bessel_weights",
        "pair_repulsion_fn.covalent_radii",
        "atomic_energies_fn.atomic_energies",
        "scale_shift.scale",
        "atomic_numbers",
        "r_max",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "longer", "not_finite"])
def test_a_damaged_tensor_is_refused_by_name(damage, name, model, tmp_path):
    path, _, key = name.rpartition(".")
    part = model.get_submodule(path)
    section = part._parameters if key in part._parameters else part._buffers
    tensor = section[key]
    if damage == "not_finite" and not tensor.is_floating_point():
        pytest.skip("integers are finite")
    if damage == "missing":
        del section[key]
    elif damage == "longer":
        section[key] = type(tensor)(torch.ones(*tensor.shape, 7, dtype=tensor.dtype))
    else:
        section[key] = type(tensor)(torch.full_like(tensor, float("nan")))

    last = name.split(".")[0] if name.startswith("atomic_num") else key
    refused(model, tmp_path, last)


@pytest.mark.parametrize("cutoff", [0.0, -3.0])
def test_a_cutoff_that_is_not_positive_is_refused(cutoff, model, tmp_path):
    model.radial_embedding.cutoff_fn.r_max.fill_(cutoff)
    refused(model, tmp_path, f"cutoff of the file is {cutoff}")


def test_an_envelope_that_is_rough_at_zero_is_refused(model, tmp_path):
    model.radial_embedding.cutoff_fn.p.fill_(2)
    model.pair_repulsion_fn.p.fill_(2)
    refused(model, tmp_path, "envelope_power must be at least 4")


def test_weights_that_are_whole_numbers_are_refused(model, tmp_path):
    contraction = model.products[0].symmetric_contractions.contractions[0]
    weights = torch.zeros(contraction.weights_max.shape, dtype=torch.int64)
    contraction._parameters["weights_max"] = nn.Parameter(weights, requires_grad=False)
    refused(model, tmp_path, "weights_max holds torch.int64")


def test_couplings_that_are_not_equivariant_are_refused(model, tmp_path):
    contraction = model.products[0].symmetric_contractions.contractions[1]
    contraction.U_matrix_2[0, 1, 2, 0] += 0.1
    refused(model, tmp_path, "differ by .* from equivariant ones")


def test_radial_basis_without_derivatives_is_refused_with_the_reason(model, tmp_path):
    basis = made("mace.modules.radial.ChebychevBasis", n=torch.arange(1.0, 5.0)[None])
    model.radial_embedding.bessel_fn = basis
    refused(model, tmp_path, "does not differentiate")


def test_a_payload_in_a_module_is_refused_and_not_run(model, tmp_path):
    trap = tmp_path / "trap"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    model.interactions[0].radial_MLP = Payload()
    refused(model, tmp_path, "posix.mkdir")
    assert not trap.exists()


def test_a_truncated_file_is_refused(model, tmp_path):
    path = write(model, tmp_path / "whole.model")
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "cut.model").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ConversionError):
            SOURCE.read(tmp_path / "cut.model", None)


def test_a_state_dict_is_refused_with_the_reason(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "state.model")

    with pytest.raises(ConversionError, match="not a whole model"):
        SOURCE.read(tmp_path / "state.model", None)


def test_other_files_are_not_of_this_source(tmp_path):
    torch.save({"a": 1}, tmp_path / "state.pt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps([1]))

    assert not SOURCE.matches(tmp_path / "state.pt")
    assert not SOURCE.matches(tmp_path / "bare.pkl")
