"""Files like those of mace-torch, of tiny random models, without that package.

Classes of the same names and with the same attributes are made here, as far as
predictions depend on them, and pickled by ``torch.save`` as users do.
"""

import itertools
import math
import sys
import types
from collections import namedtuple
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from ase.data import covalent_radii
from e3nn import o3
from torch import Tensor, nn

LINEAR = "e3nn.o3._linear"
PRODUCT = "e3nn.o3._tensor_product"
BLOCKS = "mace.modules.blocks"
SILU_GAIN = 1.6791767923989418


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a tiny model."""

    numbers: tuple[int, ...] = (8, 1, 6)
    """In an order of their own, as in some files."""
    kinds: tuple[str, ...] = ("", "Residual")
    """Of interactions: "", "Residual", "Density", "DensityResidual"."""
    heads: tuple[str, ...] | None = None
    """None for an old file, without flags and names of heads."""
    transform: str | None = None
    repulsion: bool = False
    scale_shift: bool = True
    apply_cutoff: bool = True
    gate: Any = nn.functional.silu
    channels: int = 2
    sent: int = 2
    """Channels that are sent after the first layer."""
    lmax: int = 1
    hidden: int = 1
    correlation: int = 3
    dtype: torch.dtype = torch.float64


def made(name: str, children: dict[str, nn.Module] | None = None, **own: Any) -> Any:
    """A module of a class of some name: parameters, buffers, and other attributes.

    Args:
        name: Of the class, with its module.
        children: Modules in it.
        own: Attributes; tensors become buffers, those of `nn.Parameter` parameters.
    """
    instance = _module_class(name)()
    for key, value in own.items():
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            instance.register_buffer(key, value)
        else:
            setattr(instance, key, value)
    for key, child in (children or {}).items():
        instance.add_module(key, child)
    return instance


def record(name: str, *fields: Any) -> Any:
    """A named tuple of a class of some name."""
    return _record_class(name, len(fields))(*fields)


@cache
def _module_class(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    return type(kind, (nn.Module,), {"__module__": module})


@cache
def _record_class(name: str, fields: int) -> Any:
    module, _, kind = name.rpartition(".")
    found = namedtuple(kind, [f"field_{n}" for n in range(fields)])
    found.__module__ = module
    return found


def write(model: nn.Module, path: Path) -> Path:
    """Save a model with ``torch.save``."""
    fakes: dict[str, types.ModuleType] = {}
    for value in _all_objects(model):
        kind = type(value)
        if kind.__module__.split(".")[0] in ("mace", "e3nn"):
            parts = kind.__module__.split(".")
            for n in range(1, len(parts) + 1):
                package = ".".join(parts[:n])
                fakes.setdefault(package, types.ModuleType(package))
            setattr(fakes[kind.__module__], kind.__qualname__, kind)
    with mock.patch.dict(sys.modules, fakes):
        torch.save(model, path)
    return path


def _all_objects(model: nn.Module) -> list[Any]:
    found: list[Any] = []
    for module in model.modules():
        found.append(module)
        for value in vars(module).values():
            found.extend(value if isinstance(value, list) else [value])
    return found


def tiny_model(settings: Settings, seed: int = 0) -> Any:
    """A random model."""
    s = settings
    torch.manual_seed(seed)
    n, c, heads = len(s.numbers), s.channels, len(s.heads or ("Default",))
    degrees = [0, *[s.hidden] * (len(s.kinds) - 1)]
    results = [*[s.hidden] * (len(s.kinds) - 1), 0]
    interactions, products = nn.ModuleList(), nn.ModuleList()
    for t, kind in enumerate(s.kinds):
        sent = c if t == 0 else s.sent
        interactions.append(_interaction(s, kind, degrees[t], results[t], sent))
        products.append(_product(s, kind, results[t]))
    readouts = nn.ModuleList(
        made(f"{BLOCKS}.LinearReadoutBlock", {"linear": _linear([c], [heads])})
        for _ in s.kinds[:-1]
    )
    readouts.append(_last_readout(s, heads))
    children = {
        "node_embedding": made(
            f"{BLOCKS}.LinearNodeEmbeddingBlock", {"linear": _linear([n], [c])}
        ),
        "radial_embedding": _radial(s),
        "spherical_harmonics": made(
            "e3nn.o3._spherical_harmonics.SphericalHarmonics",
            normalize=True, normalization="component", irreps_in="1x1o",
            irreps_out=irreps([1] * (s.lmax + 1)), _lmax=s.lmax,
            _ls_list=list(range(s.lmax + 1)), _is_range_lmax=True,
        ),
        "atomic_energies_fn": made(
            f"{BLOCKS}.AtomicEnergiesBlock",
            atomic_energies=10 * torch.randn((heads, n) if s.heads else (n,)),
        ),
        "interactions": interactions,
        "products": products,
        "readouts": readouts,
    }  # fmt: skip
    flags: dict[str, Any] = {}
    if s.heads is not None:
        flags = {
            "heads": list(s.heads), "apply_cutoff": s.apply_cutoff, "use_so3": False,
            "use_reduced_cg": True, "use_last_readout_only": False,
        }  # fmt: skip
    if s.repulsion:
        flags["pair_repulsion"] = True
        children["pair_repulsion_fn"] = made(
            "mace.modules.radial.ZBLBasis", p=torch.tensor(5),
            c=torch.tensor([0.1818, 0.5099, 0.2802, 0.02817]),
            a_exp=torch.tensor(0.3), a_prefactor=torch.tensor(0.4543),
            covalent_radii=torch.from_numpy(covalent_radii.copy()),
        )  # fmt: skip
    if s.scale_shift:
        shape = (heads,) if s.heads else ()
        children["scale_shift"] = made(
            f"{BLOCKS}.ScaleShiftBlock",
            scale=0.5 + torch.rand(shape), shift=torch.randn(shape),
        )  # fmt: skip
    model = made(
        f"mace.modules.models.{'ScaleShiftMACE' if s.scale_shift else 'MACE'}",
        children, atomic_numbers=torch.tensor(s.numbers), r_max=torch.tensor(3.0),
        num_interactions=torch.tensor(len(s.kinds)), **flags,
    )  # fmt: skip
    return model.to(s.dtype)


def irreps(channels: list[int]) -> str:
    """Text of irreps of natural parity."""
    return "+".join(f"{c}x{k}{'eo'[k % 2]}" for k, c in enumerate(channels))


def _linear(rows: list[int], columns: list[int], paths: Any = None) -> Any:
    """Map of each degree to itself; `paths` has irreps before it, if several."""
    before = irreps(rows) if paths is None else "+".join(f"{c}x{i}" for c, i in paths)
    degrees = [int(term.partition("x")[2][0]) for term in before.split("+")]
    sizes = [int(term.partition("x")[0]) for term in before.split("+")]
    instructions = []
    total = 0
    for n, degree in enumerate(degrees):
        if degree < len(columns):
            fan_in = sum(m for m, d in zip(sizes, degrees, strict=True) if d == degree)
            shape = (sizes[n], columns[degree])
            total += math.prod(shape)
            instructions.append(
                record(f"{LINEAR}.Instruction", n, degree, shape, fan_in**-0.5)
            )
    return made(
        f"{LINEAR}.Linear", weight=nn.Parameter(torch.randn(total)),
        bias=torch.zeros(0), output_mask=torch.ones(1), internal_weights=True,
        shared_weights=True, irreps_in=before, irreps_out=irreps(columns),
        instructions=instructions, weight_numel=total, bias_numel=0,
        _optimize_einsums=True, __codegen__={"_compiled_main": b"\x80 not read"},
    )  # fmt: skip


def _mlp(widths: list[int]) -> Any:
    """MLP without biases."""
    layers = {}
    for n, (a, b) in enumerate(itertools.pairwise(widths)):
        layer = made(
            "e3nn.nn._fc._Layer", weight=nn.Parameter(torch.randn(a, b)),
            h_in=a, h_out=b, var_in=1, var_out=1, act=None,
        )  # fmt: skip
        if n < len(widths) - 2:
            del layer.act
            layer.add_module("act", _gain(nn.functional.silu, SILU_GAIN))
        layers[f"layer{n}"] = layer
    return made("e3nn.nn._fc.FullyConnectedNet", layers, hs=widths)


def _gain(function: Any, constant: float) -> Any:
    return made(
        "e3nn.math._normalize_activation.normalize2mom",
        f=function, cst=constant, _is_id=False,
    )  # fmt: skip


def _interaction(s: Settings, kind: str, lmax_in: int, lmax_out: int, sent: int) -> Any:
    c, degrees = s.channels, range(s.lmax + 1)
    paths = [
        (a, b, k)
        for k in degrees
        for a in range(lmax_in + 1)
        for b in degrees
        if abs(a - b) <= k <= a + b and (a + b + k) % 2 == 0
    ]
    terms = [(sent, f"{k}{'eo'[k % 2]}") for _, _, k in paths]
    instructions = [
        record(
            f"{PRODUCT}._instruction.Instruction",
            a,
            b,
            n,
            "uvu",
            True,
            math.sqrt(2 * k + 1),
            (sent, 1),
        )
        for n, (a, b, k) in enumerate(paths)
    ]
    product = made(
        f"{PRODUCT}._tensor_product.TensorProduct", weight=torch.zeros(0),
        output_mask=torch.ones(1), irreps_in1=irreps([sent] * (lmax_in + 1)),
        irreps_in2=irreps([1] * (s.lmax + 1)), instructions=instructions,
        irreps_out="+".join(f"{m}x{i}" for m, i in terms), internal_weights=False,
        shared_weights=False, weight_numel=len(paths) * sent, _in1_dim=1, _in2_dim=1,
    )  # fmt: skip
    residual = "Residual" in kind
    before = lmax_in if residual else s.lmax
    after = lmax_out if residual else s.lmax
    children = {
        "linear_up": _linear([c] * (lmax_in + 1), [sent] * (lmax_in + 1)),
        "conv_tp": product,
        "conv_tp_weights": _mlp([4, 5, 5, len(paths) * sent]),
        "linear": _linear([], [c] * (s.lmax + 1), terms),
        "skip_tp": _skip(c, before, after, len(s.numbers)),
        "reshape": made(
            "mace.modules.irreps_tools.reshape_irreps",
            irreps=irreps([c] * (s.lmax + 1)), dims=[1], muls=[1],
        ),
    }  # fmt: skip
    if "Density" in kind:
        children["density_fn"] = _mlp([4, 1])
    return made(
        f"{BLOCKS}.RealAgnostic{kind}InteractionBlock", children,
        avg_num_neighbors=1.0 + float(torch.rand(())), hidden_irreps="not read",
    )  # fmt: skip


def _skip(channels: int, before: int, after: int, elements: int) -> Any:
    degrees = range(min(before, after) + 1)
    shape = (channels, elements, channels)
    instructions = [
        record(
            f"{PRODUCT}._instruction.Instruction",
            k,
            0,
            k,
            "uvw",
            True,
            math.sqrt((2 * k + 1) / (channels * elements)),
            shape,
        )
        for k in degrees
    ]
    total = len(degrees) * math.prod(shape)
    return made(
        f"{PRODUCT}._sub.FullyConnectedTensorProduct",
        weight=nn.Parameter(torch.randn(total)), output_mask=torch.ones(1),
        irreps_in1=irreps([channels] * (before + 1)), irreps_in2=f"{elements}x0e",
        irreps_out=irreps([channels] * (after + 1)), instructions=instructions,
        internal_weights=True, shared_weights=True, weight_numel=total,
        _in1_dim=1, _in2_dim=1,
    )  # fmt: skip


def _product(s: Settings, kind: str, lmax_out: int) -> Any:
    c, n = s.channels, len(s.numbers)
    contractions = nn.ModuleList()
    for degree in range(lmax_out + 1):
        couplings = {
            f"U_matrix_{order}": redundant_couplings(s.lmax, order, degree)
            for order in range(1, s.correlation + 1)
        }
        counts = [u.shape[-1] for u in couplings.values()]
        weights = [
            nn.Parameter(torch.randn(n, count, c) / count**0.5) for count in counts
        ]
        contractions.append(
            made(
                "mace.modules.symmetric_contraction.Contraction",
                {"weights": nn.ParameterList(weights[-2::-1])},
                weights_max=weights[-1],
                num_features=c,
                correlation=s.correlation,
                coupling_irreps=irreps([1] * (s.lmax + 1)),
                **couplings,
            )
        )
    return made(
        f"{BLOCKS}.EquivariantProductBasisBlock",
        {
            "symmetric_contractions": made(
                "mace.modules.symmetric_contraction.SymmetricContraction",
                {"contractions": contractions},
                irreps_in=irreps([c] * (s.lmax + 1)), internal_weights=True,
                irreps_out=irreps([c] * (lmax_out + 1)), shared_weights=None,
            ),
            "linear": _linear([c] * (lmax_out + 1), [c] * (lmax_out + 1)),
        },
        use_sc="Residual" in kind,
    )  # fmt: skip


def redundant_couplings(lmax: int, order: int, degree: int) -> Tensor:
    """Couplings of factors from left to right, with all intermediates kept.

    Returns:
        Components of the result (left out for degree 0), indices of the factors, and
        the number of the coupling last.
    """
    size = (lmax + 1) ** 2
    first = {
        (k, k % 2): [torch.eye(size)[:, k**2 : (k + 1) ** 2]] for k in range(lmax + 1)
    }
    current = first
    for _ in range(order - 1):
        following: dict[tuple[int, int], list[Tensor]] = {}
        for (a, parity), tensors in current.items():
            for (b, _), (factor,) in first.items():
                for k in range(abs(a - b), a + b + 1):
                    coupled = o3.wigner_3j(a, b, k, dtype=torch.get_default_dtype())
                    right = torch.einsum("jb,abk->ajk", factor, coupled)
                    key = (k, (parity + b) % 2)
                    following.setdefault(key, []).extend(
                        torch.einsum("...a,ajk->...jk", left, right) for left in tensors
                    )
        current = following
    found = torch.stack(current[degree, degree % 2], dim=-1).movedim(-2, 0)
    return found[0] if degree == 0 else found


def _radial(s: Settings) -> Any:
    children = {
        "bessel_fn": made(
            "mace.modules.radial.BesselBasis", r_max=torch.tensor(3.0),
            bessel_weights=math.pi / 3 * torch.arange(1.0, 5.0),
            prefactor=torch.tensor(math.sqrt(2 / 3)),
        ),
        "cutoff_fn": made(
            "mace.modules.radial.PolynomialCutoff",
            p=torch.tensor(5.0), r_max=torch.tensor(3.0),
        ),
    }  # fmt: skip
    constants = {
        "Agnesi": {"a": 1.0805, "q": 0.9183, "p": 4.5791},
        "Soft": {"alpha": 4},
    }
    if s.transform is not None:
        children["distance_transform"] = made(
            f"mace.modules.radial.{s.transform}Transform",
            covalent_radii=torch.from_numpy(covalent_radii.copy()),
            **{k: torch.tensor(float(v)) for k, v in constants[s.transform].items()},
        )
    own = {} if s.apply_cutoff else {"apply_cutoff": False}
    return made(f"{BLOCKS}.RadialEmbeddingBlock", children, out_dim=4, **own)


def _last_readout(s: Settings, heads: int) -> Any:
    if len(s.kinds) == 1:
        linear = _linear([s.channels], [heads])
        return made(f"{BLOCKS}.LinearReadoutBlock", {"linear": linear})
    acts = nn.ModuleList([_gain(s.gate, 1.5)])
    return made(
        f"{BLOCKS}.NonLinearReadoutBlock",
        {
            "linear_1": _linear([s.channels], [3 * heads]),
            "non_linearity": made("e3nn.nn._activation.Activation", {"acts": acts}),
            "linear_2": _linear([3 * heads], [heads]),
        },
        **({"num_heads": heads} if s.heads else {}),
    )
