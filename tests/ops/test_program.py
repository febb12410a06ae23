"""Programs: their results for numbers that are known, and refusal of invalid ones."""

import copy
import pickle

import pytest
import torch

from equipot.frozen.builder import Builder
from equipot.frozen.splines import tabulate
from equipot.ops.program import Program, ReceivedEdges

FLOAT64 = torch.float64


def builder_of_pairs() -> tuple[Builder, list]:
    """Energy 2 f(r) of each atom, summed over its neighbors, with f(r) = (3 - r)^3."""
    builder = Builder(FLOAT64, num_elements=1, lmax=0)
    table = tabulate(lambda r: ((3 - r) ** 3)[:, None], [0.3, 3.0], 1e-10)
    return builder, builder.moments(table)


def compiled(builder: Builder, blocks: list) -> Program:
    builder.read(blocks[0], torch.tensor([[2.0]], dtype=FLOAT64))
    energies = torch.tensor([-1.0], dtype=FLOAT64)
    numbers = torch.tensor([0.0, 6.0, 3.0, 1.0, 0.3], dtype=FLOAT64)
    return builder.finish(blocks[0], energies, numbers, None)


@pytest.fixture
def program() -> Program:
    return compiled(*builder_of_pairs())


def operands(distance: float = 1.5) -> dict:
    index = torch.tensor([[1, 0], [0, 1]])
    return {
        "positions": torch.tensor([[0, 0, 0], [0, 0, distance]], dtype=FLOAT64),
        "translations": torch.zeros(2, 3, dtype=FLOAT64),
        "elements": torch.zeros(2, dtype=torch.int64),
        "edges": ReceivedEdges.of(index, 2, torch.tensor([1, 0])),
        "derivatives": True,
    }


def test_energies_forces_and_virials(program):
    found = program(**operands(1.5))
    torch.testing.assert_close(
        found.energies, torch.full((2,), -1 + 2 * 1.5**3).double()
    )
    slope = 2 * 2 * -3 * 1.5**2
    expected = torch.tensor([[0, 0, slope], [0, 0, -slope]], dtype=FLOAT64)
    torch.testing.assert_close(found.forces, expected, rtol=1e-9, atol=1e-12)
    virial = torch.zeros(3, 3, dtype=FLOAT64)
    virial[2, 2] = 1.5 * slope
    torch.testing.assert_close(found.virials.sum(0), virial, rtol=1e-9, atol=1e-12)


def test_lengths_beyond_the_functions_have_no_energy(program):
    found = program(**operands(3.5))
    assert found.energies.tolist() == [-1, -1]
    assert not found.forces.any()


def test_lengths_before_the_functions_are_not_evaluated(program):
    assert program(**operands(0.2)) is None


def test_no_atoms(program):
    empty = operands()
    for name in ("positions", "translations"):
        empty[name] = empty[name][:0]
    none = empty["elements"] = empty["elements"][:0]
    empty["edges"] = ReceivedEdges.of(none.expand(2, 0), 0, none)
    found = program(**empty)
    assert found.energies.shape == (0,)
    assert found.forces.shape == (0, 3)


def test_invalid_operands_are_refused(program):
    given = operands()
    wrong = {"elements": torch.tensor([0, 1])}
    with pytest.raises(RuntimeError, match="elements must be in 0 to 0"):
        program(**given | wrong)
    for name, values, message in (
        ("reverse", [1, 2], "reverse must be in 0 to 1"),
        ("receivers", [1, 0], "sorted by receiver"),
        ("senders", [1, -1], "senders must be in 0 to 1"),
        ("pointers", [0, 1, 1], "number of edges"),
    ):
        edges = given["edges"]._replace(**{name: torch.tensor(values)})
        with pytest.raises(RuntimeError, match=message):
            program(**given | {"edges": edges})


def test_invalid_code_is_refused():
    with pytest.raises(RuntimeError, match="ends before lmax"):
        Program(torch.tensor([1]), [], FLOAT64)
    with pytest.raises(RuntimeError, match="elements must be in 1"):
        Program(torch.tensor([0]), [], FLOAT64)
    with pytest.raises(RuntimeError, match="entries of the harmonics must be in 0"):
        Program(torch.tensor([1, 0, 5]), [], FLOAT64)
    with pytest.raises(RuntimeError, match="precision must be float32 or float64"):
        Program(torch.tensor([1]), [], torch.float16)


def test_programs_are_shared_by_copies_and_not_pickled(program):
    assert copy.deepcopy(program) is program
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(program)


def test_memory_is_kept_between_calls(program):
    program(**operands())
    before = program.num_bytes
    for _ in range(3):
        program(**operands())
    assert program.num_bytes == before > 0
