"""Ops in the frames of edges: exact, differentiable along the sphere, deterministic."""

import itertools

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from equipot.graph.connectivity import CompressedEdges, Connectivity
from equipot.ops import edge_rotations, so2_convolve, so2_reference, unavailable
from equipot.ops.convolution import Table, convolve
from equipot.so3 import num_components, representation_matrix, spherical_harmonics
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.fused import Fused

pytestmark = pytest.mark.skipif(
    unavailable(torch.device("cpu")) is not None, reason="compiled ops are not built"
)

OPS = torch.ops.equipot
SPECS = [
    TensorProductSpec(0, 0, 0),
    TensorProductSpec(0, 2, 2),
    TensorProductSpec(3, 2, 0),
    TensorProductSpec(1, 3, 2),
    TensorProductSpec(3, 3, 3),
    TensorProductSpec(6, 2, 5),
    TensorProductSpec(6, 6, 6),
    TensorProductSpec(2, 4, 6),
    TensorProductSpec(1, 1, 2, symmetry="SO(3)"),
    TensorProductSpec(3, 6, 4, symmetry="SO(3)"),
    TensorProductSpec(6, 6, 6, symmetry="SO(3)"),
]
IDS = [f"{s.lmax_in}{s.lmax_filter}{s.lmax_out}-{s.symmetry}" for s in SPECS]

AXES = torch.cat([torch.eye(3), -torch.eye(3)]).double()
NEAR_POLES = torch.tensor(
    [[e, p, -e / 3] for e in (1e-4, 1e-8, 1e-30, 1e-300) for p in (1.0, -1.0)]
).double()
ON_THE_EQUATOR = torch.tensor(
    [[0.6, 1e-17, 0.8], [0.6, -1e-17, 0.8], [-0.8, 0.0, 0.6], [0.8, -0.0, -0.6]]
).double()
NASTY = normalize(torch.cat([AXES, NEAR_POLES, ON_THE_EQUATOR]))
"""Directions at which an angle or a frame is singular, or jumps."""


def randn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


class Problem:
    """Operands of the ops; node 0 has no edges, and nodes send and receive unevenly."""

    def __init__(self, spec, *, channels=3, nodes=6, edges=30, dtype=torch.float64):
        generator = torch.Generator().manual_seed(1)
        ends = torch.randint(1, nodes, (2, edges), generator=generator).sort(1).values
        self.senders = ends[0][torch.randperm(edges, generator=generator)]
        connectivity = Connectivity(torch.stack([self.senders, ends[1]]), nodes)
        self.spec = spec
        self.topology = connectivity.compressed
        directions = torch.cat([NASTY, normalize(randn(max(edges, 1), 3))])[:edges]
        self.directions = directions.to(dtype)
        shapes = {
            "x": (nodes, num_components(spec.lmax_in), channels),
            "w": (edges, len(spec.paths), channels),
            "g": (nodes, spec.num_outputs, channels),
        }
        self.x, self.w, self.g, self.x_dot, self.w_dot = (
            randn(*shapes[name], seed=seed, dtype=dtype)
            for seed, name in enumerate(["x", "w", "g", "x", "w"])
        )
        motion = torch.linalg.cross(directions, randn(edges, 3, seed=9))
        self.directions_dot = motion.to(dtype)
        self.table: Table = Fused(spec)._table(self.x)
        self.lmax = max(spec.lmax_in, spec.lmax_out)
        rotations = OPS.edge_rotations(self.directions, self.lmax)
        self.constants = (rotations, *self.topology, *self.table)
        self.operands = {
            "so2_convolve": (self.x, self.directions, self.w),
            "so2_convolve_backward": (self.x, self.directions, self.w, self.g),
            "so2_convolve_double_backward": (
                *(self.x, self.directions, self.w, self.g),
                *(self.x_dot, self.directions_dot, self.w_dot),
            ),
        }

    def run(self, name):
        """Results of the kernels of an op, in a tuple."""
        out = getattr(OPS, name)(*self.operands[name], *self.constants)
        return out if isinstance(out, tuple) else (out,)

    def reference(self, name):
        """The same in double precision without kernels in frames."""
        constants = [
            c.double() if isinstance(c, torch.Tensor) and c.is_floating_point() else c
            for c in self.constants
        ]
        operands = [t.double() for t in self.operands[name]]
        out = getattr(so2_reference, name)(*operands, *constants)
        return out if isinstance(out, tuple) else (out,)


NAMES = list(Problem(SPECS[0]).operands)


def assert_equal_to(results, expected, relative):
    for n, (result, reference) in enumerate(zip(results, expected, strict=True)):
        scale = reference.abs().max().item() if reference.numel() else 0.0
        assert_close(
            result.double(),
            reference,
            rtol=0,
            atol=relative * max(scale, 1e-300),
            msg=lambda text, n=n: f"result {n}: {text}",
        )


def _start(degree):
    return sum(2 + (k + 1) ** 2 + k**2 for k in range(1, degree))


def matrix_of(row, degree):
    """What the kernels apply to components of one degree, as a dense matrix."""
    size = 2 * degree + 1
    turn = torch.eye(size, dtype=row.dtype)
    for m in range(1, degree + 1):
        cosine, sine = row[_start(m)], row[_start(m) + 1]
        plus, minus = degree + m, degree - m
        turn[plus, plus] = turn[minus, minus] = cosine
        turn[plus, minus], turn[minus, plus] = sine, -sine
    blocks = row[_start(degree) + 2 : _start(degree + 1)]
    positive = blocks[: (degree + 1) ** 2].view(degree + 1, degree + 1)
    negative = blocks[(degree + 1) ** 2 :].view(degree, degree)
    tip = torch.zeros_like(turn)
    tip[degree:, degree:] = positive
    tip[:degree, :degree] = negative.flip(0, 1)
    return tip @ turn


@pytest.mark.parametrize("edge", range(len(NASTY) + 3))
def test_rotations_are_representations_of_one_that_takes_the_edge_to_the_pole(edge):
    direction = torch.cat([NASTY, normalize(randn(3, 3))])[edge]

    row = OPS.edge_rotations(direction[None], 6)[0]

    rotation = matrix_of(row, 1)
    expected = representation_matrix(6, rotation)
    assert_close(rotation @ direction, torch.tensor([0.0, 1.0, 0.0]).double())
    assert_close(torch.linalg.det(rotation), torch.tensor(1.0).double())
    for degree in range(1, 7):
        block = slice(degree**2, (degree + 1) ** 2)
        assert_close(matrix_of(row, degree), expected[block, block], rtol=0, atol=1e-13)


@pytest.mark.parametrize("edges", [0, 1, 7, 8, 9, 300])
def test_rotations_of_any_number_of_edges(edges):
    directions = normalize(randn(edges, 3))

    for lmax in range(7):
        result = OPS.edge_rotations(directions, lmax)
        assert_close(
            result, so2_reference.edge_rotations(directions, lmax), rtol=0, atol=1e-13
        )


def test_rotations_in_float32_are_those_of_float64_rounded():
    directions = torch.cat([NASTY, normalize(randn(50, 3))]).float()

    exact = OPS.edge_rotations(directions.double(), 6)

    assert torch.equal(OPS.edge_rotations(directions, 6), exact.float())


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("name", NAMES)
def test_kernels_equal_the_reference(name, spec):
    problem = Problem(spec)

    assert_equal_to(problem.run(name), problem.reference(name), 1e-13)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 64, 120, 128])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_channels(name, dtype, channels):
    problem = Problem(TensorProductSpec(3, 3, 2), channels=channels, dtype=dtype)

    rounding = {torch.float64: 1e-13, torch.float32: 3e-6}[dtype]
    assert_equal_to(problem.run(name), problem.reference(name), rounding)


def has(isa):
    """Whether kernels of the instruction set in EQUIPOT_CPU_ISA can run here."""
    try:
        OPS.edge_rotations(torch.ones(1, 3), 1)
    except RuntimeError as error:
        if f"EQUIPOT_CPU_ISA={isa}: this processor does not have it" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_instruction_set(name, dtype, isa, monkeypatch):
    problem = Problem(TensorProductSpec(6, 6, 6), channels=37, edges=12, dtype=dtype)
    monkeypatch.setenv("EQUIPOT_CPU_ISA", isa)
    if not has(isa):
        pytest.skip(f"this processor does not have {isa}")

    rounding = {torch.float64: 1e-13, torch.float32: 3e-6}[dtype]
    assert_equal_to(problem.run(name), problem.reference(name), rounding)


@pytest.mark.parametrize("name", NAMES)
def test_graph_without_edges(name):
    problem = Problem(SPECS[4], edges=0)

    for result in problem.run(name):
        assert not result.any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_depends_on_the_number_of_threads(name):
    """So many edges that gradients of features are sent in several goes."""
    problem = Problem(TensorProductSpec(4, 4, 4), channels=32, nodes=12, edges=900)
    threads = torch.get_num_threads()

    try:
        torch.set_num_threads(1)
        alone = problem.run(name)
        torch.set_num_threads(2)
        together = problem.run(name)
        again = problem.run(name)
    finally:
        torch.set_num_threads(threads)

    assert_equal_to(alone, problem.reference(name), 1e-13)
    for one, two, three in zip(alone, together, again, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(two, three)


@pytest.mark.parametrize("zeros", [{"w_dot"}, {"x_dot", "directions_dot"}, {"x_dot"}])
def test_tangents_without_elements_are_zero(zeros):
    problem = Problem(SPECS[4], channels=20)
    name = "so2_convolve_double_backward"
    names = ["x", "directions", "w", "g", "x_dot", "directions_dot", "w_dot"]
    operands = dict(zip(names, problem.operands[name], strict=True))
    problem.operands[name] = tuple(
        torch.zeros_like(t) if n in zeros else t for n, t in operands.items()
    )
    expected = problem.run(name)

    problem.operands[name] = tuple(
        t.new_empty(0) if n in zeros else t for n, t in operands.items()
    )

    assert_equal_to(problem.run(name), expected, 1e-15)
    assert_equal_to(problem.reference(name), expected, 1e-13)


def test_paths_in_any_order():
    """Nothing but the table says which path comes when."""
    spec = TensorProductSpec(2, 2, 2, symmetry="SO(3)")
    problem = Problem(spec, channels=4)
    order = torch.randperm(
        len(spec.paths), generator=torch.Generator().manual_seed(0)
    ).tolist()
    sizes = [(2 * p.l_in + 1) * (2 * p.l_out + 1) for p in spec.paths]
    starts = [0, *itertools.accumulate(sizes)]
    places = [0, *itertools.accumulate(sizes[n] for n in order)]
    rows, columns, values = [], [], []
    for place, n in zip(places, order, strict=False):
        inside = (problem.table.rows >= starts[n]) & (
            problem.table.rows < starts[n + 1]
        )
        rows.append(problem.table.rows[inside] - starts[n] + place)
        columns.append(problem.table.columns[inside])
        values.append(problem.table.values[inside])
    table = problem.table._replace(
        paths=[degree for n in order for degree in spec.paths[n]],
        rows=torch.cat(rows).int(),
        columns=torch.cat(columns),
        values=torch.cat(values),
    )

    (expected,) = problem.run("so2_convolve")
    problem.operands["so2_convolve"] = (
        problem.x,
        problem.directions,
        problem.w[:, order].contiguous(),
    )
    problem.constants = (problem.constants[0], *problem.topology, *table)
    (result,) = problem.run("so2_convolve")

    assert_close(result, expected, rtol=0, atol=1e-13)


def by_vectors(problem, function):
    """A function of vectors of any length that are made unit vectors first."""

    def evaluate(x, vectors, w):
        rotations = edge_rotations(normalize(vectors), problem.lmax)
        return function(x, rotations, w, problem.topology, problem.table)

    return evaluate


def with_harmonics(spec):
    """`so2_convolve` by the ops that it must agree with."""

    def function(x, rotations, w, topology, table):
        y = spherical_harmonics(spec.lmax_filter, rotations.directions)
        return convolve(x, y, w, topology, table)

    return function


@pytest.mark.parametrize("spec", [SPECS[3], SPECS[8]], ids=[IDS[3], IDS[8]])
def test_gradcheck(spec):
    problem = Problem(spec, channels=2, nodes=4, edges=20)
    lengths = 1 + torch.rand(20, 1, generator=torch.Generator().manual_seed(0))
    inputs = (problem.x, problem.directions * lengths.double(), problem.w)
    inputs = tuple(t.detach().requires_grad_() for t in inputs)
    function = by_vectors(problem, so2_convolve)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def nested_gradients(function, inputs, orders):
    """Derivatives of order 1, 2, ... of a nonlinear function along fixed motions."""
    value = function(*inputs).pow(3).sum()
    values = []
    for order in range(orders):
        gradients = torch.autograd.grad(value, inputs, create_graph=True)
        values.append([g.detach() for g in gradients])
        motions = [randn(*t.shape, seed=50 + order) for t in inputs]
        value = sum((g * m).sum() for g, m in zip(gradients, motions, strict=True))
    return values


@pytest.mark.parametrize("spec", [SPECS[3], SPECS[4], SPECS[8]])
def test_four_derivatives_equal_those_by_harmonics(spec):
    """Beyond the second they are composed; frames are singular at some of the edges."""
    problem = Problem(spec, channels=2, nodes=5, edges=24)
    inputs = [
        t.detach().requires_grad_()
        for t in (problem.x, 2 * problem.directions, problem.w)
    ]

    results = nested_gradients(by_vectors(problem, so2_convolve), inputs, 4)

    expected = nested_gradients(by_vectors(problem, with_harmonics(spec)), inputs, 4)
    for result, reference in zip(results, expected, strict=True):
        assert_equal_to(result, reference, 1e-12)


def test_third_derivative_without_a_graph_of_it():
    """What differentiates a Hessian in training does not ask for higher orders."""
    problem = Problem(SPECS[3], channels=2, nodes=4, edges=20)

    def third(function):
        inputs = [
            t.detach().requires_grad_()
            for t in (problem.x, problem.directions, problem.w)
        ]
        value = by_vectors(problem, function)(*inputs).pow(2).sum()
        for _ in range(2):
            gradients = torch.autograd.grad(value, inputs, create_graph=True)
            value = sum(g.pow(2).sum() for g in gradients)
        return torch.autograd.grad(value, inputs)

    assert_equal_to(third(so2_convolve), third(with_harmonics(SPECS[3])), 1e-12)


def test_gradients_are_along_the_sphere():
    problem = Problem(SPECS[4])
    n = problem.directions

    _, first, _ = problem.run("so2_convolve_backward")
    _, second, _, _ = problem.run("so2_convolve_double_backward")

    for gradient in (first, second):
        assert_close((gradient * n).sum(1), torch.zeros(len(n)).double())


@pytest.mark.parametrize("name", [*NAMES, "edge_rotations"])
def test_opcheck(name):
    problem = Problem(SPECS[3], channels=2, nodes=4, edges=7)
    if name == "edge_rotations":
        torch.library.opcheck(OPS.edge_rotations.default, (problem.directions, 3))
        return
    operands = [t.detach().requires_grad_() for t in problem.operands[name]]
    # rotations are made of the directions and constant by themselves
    torch.library.opcheck(getattr(OPS, name).default, (*operands, *problem.constants))


def test_vmap_equals_a_loop():
    problem = Problem(SPECS[3])
    directions = torch.stack([problem.directions, problem.directions.flip(0)])
    xs = torch.stack([problem.x, 2 * problem.x])

    def function(x, n):
        rotations = edge_rotations(n, problem.lmax)
        return so2_convolve(x, rotations, problem.w, problem.topology, problem.table)

    batched = torch.vmap(function)(xs, directions)

    for n in range(2):
        assert_close(batched[n], function(xs[n], directions[n]))


def test_rotations_of_higher_degree_serve_lower_ones():
    """Layers that differ in degree share the frames of their edges."""
    problem = Problem(SPECS[3])
    (expected,) = problem.run("so2_convolve")

    rotations = OPS.edge_rotations(problem.directions, 6)
    problem.constants = (rotations, *problem.constants[1:])

    (result,) = problem.run("so2_convolve")
    assert torch.equal(result, expected)


BAD_INPUTS = {
    "half precision": (
        lambda p: {"x": p.x.half()},
        r"x must be float32 or float64, got float16",
    ),
    "mixed types": (lambda p: {"w": p.w.float()}, r"w must be float64, got float32"),
    "too many components": (
        lambda p: {"x": torch.cat([p.x, p.x[:, :1]], 1)},
        r"x must hold \(lmax \+ 1\)\*\*2 components with lmax up to 6, got 17",
    ),
    "degree 7": (
        lambda p: {"x": randn(6, 64, 3)},
        r"lmax up to 6, got 64; for other products use equipot::convolve",
    ),
    "vectors of the plane": (
        lambda p: {"directions": p.directions[:, :2].contiguous()},
        r"directions must have shape \(edges, 3\), got \(30, 2\)",
    ),
    "too few edges": (
        lambda p: {"w": p.w[1:]},
        r"w must have shape \(edges, paths, channels\), got \(29, 23, 3\)",
    ),
    "rotations of degree 2": (
        lambda p: {"rotations": OPS.edge_rotations(p.directions, 2)},
        r"rotations must be those of degrees up to 3, 49 numbers for each edge, got 22",
    ),
    "strided": (
        lambda p: {"x": p.x.mT.contiguous().mT},
        r"x must be contiguous",
    ),
    "concatenated": (lambda p: {"concat": True}, r"call equipot::convolve"),
    "sender that does not exist": (
        lambda p: {"senders": p.senders + 6},
        r"senders must be in 0 to 5, got",
    ),
    "path to degree 4": (
        lambda p: {"paths": [3, 1, 4, *p.table.paths[3:]]},
        r"paths must lead from degrees up to 3 to degrees up to 3, got \(3, 1, 4\)",
    ),
    "no couplings": (
        lambda p: {"rows": (p.table.rows - p.table.rows % 7).int()},
        r"values must be coupling coefficients",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_refused(case):
    problem = Problem(SPECS[4])
    change, message = BAD_INPUTS[case]
    names = [
        "x",
        "directions",
        "w",
        "rotations",
        *CompressedEdges._fields,
        *Table._fields,
    ]
    values = dict(
        zip(
            names,
            [*problem.operands["so2_convolve"], *problem.constants],
            strict=True,
        )
    )
    values.update(change(problem))

    with pytest.raises(RuntimeError, match=message):
        OPS.so2_convolve(*values.values())


def test_bad_gradients_are_refused():
    problem = Problem(SPECS[4])
    x, n, w, g, x_dot, n_dot, w_dot = problem.operands["so2_convolve_double_backward"]

    with pytest.raises(RuntimeError, match=r"g must have shape \(nodes, num_outputs"):
        OPS.so2_convolve_backward(x, n, w, g[1:], *problem.constants)
    with pytest.raises(
        RuntimeError, match=r"x_dot must have the shape of x, \(6, 16, 3\), or no"
    ):
        OPS.so2_convolve_double_backward(
            *(x, n, w, g, x_dot[1:], n_dot, w_dot), *problem.constants
        )
    with pytest.raises(RuntimeError, match=r"lmax must be in 0 to 6, got 7"):
        OPS.edge_rotations(n, 7)
