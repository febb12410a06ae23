"""Every tensor and every flag of a file is used, or declared without effect."""

import pytest
import torch

from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record


@pytest.fixture
def tensors():
    return SourceTensors(
        {
            "a.weight": torch.tensor([[1.5, 2.5]]),
            "a.mask": torch.ones(2, dtype=torch.uint8),
            "b.mask": torch.ones(3, dtype=torch.bool),
            "half": torch.ones(1, dtype=torch.float16),
        }
    )


def test_taken_tensors_are_copies_in_float64(tensors):
    weight = tensors.take("a.weight", (1, 2))
    weight += 1

    assert weight.dtype == torch.float64
    assert tensors.take("a.weight").tolist() == [[1.5, 2.5]]
    assert tensors.take("a.mask").dtype == torch.int64
    assert tensors.take("b.mask").dtype == torch.bool
    assert tensors.take("half").dtype == torch.float64
    assert tensors.take_if_present("none") is None
    assert tensors.finish() == ()


def test_what_is_left_over_is_named(tensors):
    tensors.take("a.weight")
    tensors.without_effect("b.*", "no effect")

    with pytest.raises(ConversionError, match=r"2 tensors .*a\.mask \(2,\), half \(1,"):
        tensors.finish()


def test_what_has_no_effect_is_listed_with_its_reason(tensors):
    tensors.take("a.weight")
    tensors.without_effect("*.mask", "says where zeros are")
    tensors.without_effect("half", "of the optimizer")
    tensors.without_effect("absent", "older files")

    assert tensors.finish() == (
        "*.mask (2 tensors): says where zeros are",
        "half: of the optimizer",
    )


def test_a_missing_a_misshapen_and_an_infinite_tensor_are_refused(tensors):
    with pytest.raises(ConversionError, match=r"tensor c\.weight is missing"):
        tensors.take("c.weight")
    with pytest.raises(ConversionError, match=r"a\.weight has the shape \(1, 2\)"):
        tensors.take("a.weight", (2, 1))
    with pytest.raises(ConversionError, match="x is not finite"):
        SourceTensors({"x": torch.tensor([torch.inf])}).take("x")


def test_the_type_of_a_file_is_its_highest_one(tensors):
    assert tensors.dtype == "float32"
    assert SourceTensors({"x": torch.ones(1).double()}).dtype == "float64"


def test_names_are_found_by_their_beginning(tensors):
    assert tensors.names("a.") == ("a.weight", "a.mask")
    assert "half" in tensors


def test_flags_with_expected_values_are_accepted():
    flags = Flags({"on": True, "kind": "silu", "p": 6, "r": torch.tensor(5.0)}, "Model")

    assert flags.expect("on", True) is True
    assert flags.expect("kind", ("silu", "tanh")) == "silu"
    assert flags.expect("absent", None, default=None) is None
    assert flags.expect("r", 5.0) == 5.0
    assert flags.take("p") == 6
    assert flags.take("q", 7) == 7
    assert flags.finish() == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (False, "False"),
        (1, "1"),
        ("x" * 1000, "'xxx"),
        (Record("torch.nn.SiLU"), "<torch.nn.SiLU>"),
        (torch.zeros(2, 3), r"a tensor \(2, 3\)"),
        ([[1], [2]], r"list <list>, <list>"),
        (None, "None"),
    ],
)
def test_a_flag_with_another_value_is_refused_by_name(value, shown):
    flags = Flags({"apply_cutoff": value}, "Model")

    with pytest.raises(ConversionError, match=f"apply_cutoff of Model is {shown}") as e:
        flags.expect("apply_cutoff", True)

    assert len(str(e.value)) < 300


def test_a_flag_that_nobody_looked_at_is_refused_by_name():
    flags = Flags({"seen": 1, "new_feature": "on", "lammps": 0}, "products.0")
    flags.take("seen")
    flags.without_effect("lammps", "says which program calls")

    with pytest.raises(ConversionError, match=r"products\.0 .*: new_feature='on'$"):
        flags.finish()


def test_flags_without_effect_are_listed():
    flags = Flags({"_lmp_a": 1, "_lmp_b": 2}, "Model")
    flags.without_effect("_lmp_*", "of another program")

    assert flags.finish() == ("Model._lmp_*: of another program",)


def test_a_missing_flag_without_a_default_is_refused():
    with pytest.raises(ConversionError, match="Model has no r_max"):
        Flags({}, "Model").take("r_max")
