"""Conversion of graphs from and to PyTorch Geometric."""

from importlib import import_module
from typing import Any, Final

import torch
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, check_edges
from equipot.neighbors.completeness import check_complete

OTHER_SHIFTS: Final = (
    "shifts",
    "unit_shifts",
    "cell_offsets",
    "cell_offset",
    "cell_shift",
    "edge_cell_shift",
    "edge_offset",
    "offsets",
    "to_jimages",
    "images",
    "pbc_offset",
    "pbc_offsets",
    "pbc_shift",
)
"""Names of edge translations in other packages."""


def from_pyg(data: Any, cutoff: float, *, check: bool = True) -> AtomicGraph:
    """Convert a `torch_geometric` ``Data`` or ``Batch`` to a graph.

    Args:
        data: Object with ``pos``, ``z``, ``edge_index`` (senders, receivers) and, for
            periodic structures, ``cell``, ``pbc`` and integer ``edge_shift``;
            ``batch`` if it is a batch. Edge vectors are
            ``pos[sender] + edge_shift @ cell - pos[receiver]``.
        cutoff: Cutoff radius in Å of its edges.
        check: Check completeness by a new neighbor search. Edges are incomplete if the
            search had a limited number of neighbors, such as the default
            ``radius_graph(max_num_neighbors=32)``.

    Returns:
        The same atoms and edges, sorted by receiver.

    Raises:
        IncompleteGraphError: If a pair of atoms within the cutoff is missing.
        ValueError: If a field is missing or has a wrong shape, or edges have no
            reverse, are duplicates, or are otherwise invalid; see
            `equipot.graph.atomic_graph.check_edges`.
    """
    missing = [k for k in ("pos", "z", "edge_index") if getattr(data, k, None) is None]
    if missing:
        raise ValueError(
            f"a PyG graph needs pos, z and edge_index; {', '.join(missing)} missing"
        )
    positions = data.pos
    if not positions.is_floating_point():
        raise ValueError(f"pos must be real numbers in Å, got {positions.dtype}")
    index = _whole("edge_index", data.edge_index, (2, None))
    numbers = _whole("z", data.z, (len(positions),))
    batch, num_graphs = _structures(data, len(positions))
    order = torch.argsort(index[1], stable=True)
    cell, pbc = getattr(data, "cell", None), getattr(data, "pbc", None)
    shift = getattr(data, "edge_shift", None)
    other = [name for name in OTHER_SHIFTS if getattr(data, name, None) is not None]
    if shift is None and other:
        raise ValueError(
            f"a PyG graph with {other[0]}, but no edge_shift: set edge_shift to the "
            "integer lattice translations of the senders"
        )
    if pbc is None and (cell is not None or shift is not None):
        raise ValueError(
            "a PyG graph with cell or edge_shift needs pbc, the periodicity along the "
            "lattice vectors"
        )
    pbc = _periods(pbc, num_graphs, positions.device)
    if bool(pbc.any()) and (cell is None or shift is None):
        raise ValueError("a periodic PyG graph needs cell and edge_shift")
    if cell is None:
        cell = positions.new_zeros(num_graphs, 3, 3)
    cell = torch.as_tensor(cell, dtype=positions.dtype, device=positions.device)
    if cell.numel() != 9 * num_graphs:
        raise ValueError(
            f"cell must have shape ({num_graphs}, 3, 3), lattice vectors as rows, got "
            f"{tuple(cell.shape)}"
        )
    if shift is None:
        shift = torch.zeros_like(order)[:, None].expand(-1, 3)
    shift = _whole("edge_shift", shift, (len(order), 3))
    graph = AtomicGraph(
        positions=positions,
        atomic_numbers=numbers,
        cell=cell.reshape(num_graphs, 3, 3),
        pbc=pbc,
        batch=batch,
        edge_index=index[:, order],
        edge_shift=shift[order],
        cutoff=float(cutoff),
    )
    if check:
        check_complete(graph)
    else:
        check_edges(graph)
    return graph


def to_pyg(graph: AtomicGraph) -> Any:
    """Convert a graph to `torch_geometric` ``Data``; the inverse of `from_pyg`.

    Args:
        graph: One structure or a batch.

    Returns:
        ``Data`` with ``pos``, ``z``, ``edge_index``, ``edge_shift``, ``cell``, ``pbc``
        and ``batch``, in the conventions of `from_pyg`.

    Raises:
        ImportError: If torch_geometric is not installed.
    """
    try:
        data = import_module("torch_geometric.data")
    except ImportError as error:
        raise ImportError(
            "to_pyg needs torch_geometric: pip install torch_geometric"
        ) from error
    return data.Data(
        pos=graph.positions,
        z=graph.atomic_numbers,
        edge_index=graph.edge_index,
        edge_shift=graph.edge_shift,
        cell=graph.cell,
        pbc=graph.pbc,
        batch=graph.batch,
    )


def _whole(name: str, values: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Integer values of a field with a given shape."""
    fits = values.ndim == len(shape) and all(
        expected in (None, found)
        for expected, found in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("edges" if n is None else str(n) for n in shape)
        raise ValueError(
            f"{name} must have shape ({wanted}), got {tuple(values.shape)}"
        )
    if values.is_floating_point() and not torch.equal(values, values.round()):
        hint = (
            ", multiples of lattice vectors, not lengths in Å: divide by the cell"
            if name == "edge_shift"
            else ""
        )
        raise ValueError(f"{name} must contain integers{hint}")
    return values.long()


def _structures(data: Any, num_atoms: int) -> tuple[Tensor, int]:
    """Structure index of each atom, and number of structures."""
    batch = getattr(data, "batch", None)
    if batch is None:
        batch = torch.zeros(num_atoms, dtype=torch.long, device=data.pos.device)
    batch = _whole("batch", batch, (num_atoms,))
    found = int(batch.max()) + 1 if num_atoms else 1
    stated = getattr(data, "num_graphs", None)
    return batch, found if stated is None else int(stated)


def _periods(pbc: Any, num_graphs: int, device: torch.device) -> Tensor:
    """Periodicity of every structure; three values apply to all of them."""
    values = torch.as_tensor(False if pbc is None else pbc, device=device)
    if values.numel() not in (1, 3, 3 * num_graphs):
        raise ValueError(
            f"pbc must have shape ({num_graphs}, 3) or (3,), got {tuple(values.shape)}"
        )
    rows = values.bool().reshape(-1, 1 if values.numel() == 1 else 3)
    return rows.expand(num_graphs, 3).contiguous()
