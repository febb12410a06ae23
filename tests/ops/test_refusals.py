"""What the compiled ops for the CPU refuse instead of crashing."""

import pytest
import torch

from equipot.tensor_products import TensorProductSpec
from tests.ops.operands import ops, random_operands

SPEC = TensorProductSpec(1, 1, 1)


@pytest.fixture
def operands():
    return random_operands(SPEC)


def run(operands):
    operands.results(ops)


OPERANDS = [
    ("x", lambda x: x[0], r"x must have shape \(nodes, components, channels\), got"),
    ("x", lambda x: x[:, :3], "x has 3 components, too few for a path from degree 1"),
    ("y", lambda y: y[0], r"y must have shape \(edges, harmonics\)"),
    ("y", lambda y: y[:, :2], "columns must be in 0 to 1, the components of y, got"),
    ("w", lambda w: w[:, :3], r"w must have shape \(edges, paths, channels\), got"),
    ("w", lambda w: w[1:], r"w must have shape \(edges, paths, channels\), got"),
    ("w", lambda w: w[..., :2], r"w must have shape \(edges, paths, channels\), got"),
    ("g", lambda g: g[:, :3], r"g must have shape \(nodes, num_outputs, channels\)"),
    ("x_dot", lambda t: t[:2], "x_dot must have the shape of x, .* or no elements"),
    ("y_dot", lambda t: t[:2], "y_dot must have the shape of y, .* or no elements"),
    ("w_dot", lambda t: t[:2], "w_dot must have the shape of w, .* or no elements"),
    ("w", lambda w: w.float(), "w must be float64, got float32"),
    ("g", lambda g: g.float(), "g must be float64, got float32"),
]
TOPOLOGY = [
    ("senders", lambda t: t.int(), "senders must be int64, got int32"),
    ("receivers", lambda t: t[1:], r"receivers must have shape \(edges,\)"),
    ("senders", lambda t: t + 5, "senders must be in 0 to 4, got"),
    ("senders", lambda t: t - 1, "senders must be in 0 to 4, got -1"),
    ("receivers", lambda t: t + 9, "receiver_pointers assign edge 0 to node"),
    ("receiver_pointers", lambda t: t[1:], r"must have shape \(nodes \+ 1,\)"),
    ("receiver_pointers", lambda t: t * 2, "must ascend from 0 to 19"),
    ("receiver_pointers", lambda t: t.flip(0), "must ascend from 0 to 19"),
    ("sender_pointers", lambda t: t + 1, "must ascend from 0 to 19"),
    ("sender_order", lambda t: t + 19, "sender_order and sender_pointers must list"),
    ("sender_order", lambda t: t.flip(0), "sender_order and sender_pointers must list"),
    ("sender_order", lambda t: t * 0, "sender_order and sender_pointers must list"),
]
TABLE = [
    ("paths", lambda p: p[1:], "paths must hold three degrees for each path"),
    ("paths", lambda p: [-1, *p[1:]], "degrees of a path must be in 0 to 127, got -1"),
    ("paths", lambda p: [2, *p[1:]], "x has 4 components, too few .* degree 2"),
    ("rows", lambda r: r.flip(0), "rows must ascend"),
    (
        "rows",
        lambda r: r + 99,
        "rows must be indices of elements of the matrices of 4 paths",
    ),
    ("rows", lambda r: r[1:], r"columns must have shape \(nonzeros,\)"),
    ("columns", lambda c: c + 4, "columns must be in 0 to 3, the components of y"),
    ("columns", lambda c: c.long(), "columns must be int32, got int64"),
    ("values", lambda v: v.float(), "values must be float64, got float32"),
    ("num_outputs", lambda n: 3, "num_outputs is 3, too few for a path to degree 1"),
]


@pytest.mark.parametrize(("name", "change", "message"), OPERANDS)
def test_wrong_operands(operands, name, change, message):
    part = change(getattr(operands, name)).contiguous()
    changed = operands._replace(**{name: part})
    with pytest.raises(RuntimeError, match=message):
        run(changed)


@pytest.mark.parametrize("name", ["x", "y", "w", "g", "x_dot", "y_dot", "w_dot"])
def test_strided_operands(operands, name):
    part = getattr(operands, name).mT.contiguous().mT
    with pytest.raises(RuntimeError, match=f"^{name} must be contiguous: call .cont"):
        run(operands._replace(**{name: part}))


@pytest.mark.parametrize(("name", "change", "message"), TOPOLOGY)
def test_wrong_edges(operands, name, change, message):
    part = change(getattr(operands.topology, name)).contiguous()
    topology = operands.topology._replace(**{name: part})
    with pytest.raises(RuntimeError, match=message):
        run(operands._replace(topology=topology))


@pytest.mark.parametrize(("name", "change", "message"), TABLE)
def test_wrong_couplings(operands, name, change, message):
    part = change(getattr(operands.table, name))
    table = operands.table._replace(**{name: part})
    with pytest.raises(RuntimeError, match=message):
        run(operands._replace(table=table))


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.bfloat16, "bfloat16"), (torch.float16, "float16")]
)
def test_types_of_too_few_bits(operands, dtype, name):
    with pytest.raises(RuntimeError, match=f"must be float32 or float64, got {name}"):
        run(operands.to(dtype))


def test_instructions_that_do_not_exist(operands, monkeypatch):
    monkeypatch.setenv("EQUIPOT_CPU_ISA", "sse9")
    with pytest.raises(RuntimeError, match="sse9: choose avx512, avx2 or portable"):
        run(operands)
