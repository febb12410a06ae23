"""Atoms and the directed edges between them.

Types that hold edges, in the order in which a structure passes through them:

======================== ============================================================
`neighbors.SearchResult` directed pairs of one search, in any order; NumPy
`neighbors.NeighborList` the same, sorted and complete, with positions and distances
`AtomicGraph`            structures and their edges as tensors; a batch is one graph
`EdgePairs`              which two directed edges of a graph are one pair of atoms
`EdgeGeometry`           directions and lengths of edges, the input of a `Backbone`
`Connectivity`           senders and receivers, without atoms: input of tensor products
`CompressedEdges`        sorted connectivity with pointers, the operand of compiled ops
======================== ============================================================

`neighbors.build_graph` makes graphs of structures, from a `NeighborList` if one is
given; `neighbors.from_pyg` checks foreign ones; `collate` joins them. What a backend of
the tensor product makes of directions and connectivity is its own type, `EdgeState`.
"""
