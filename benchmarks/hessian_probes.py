r"""Noise of the estimates of Hessian losses, with exact Hessians of crystals.

Compares the modes of ``training.loss.hessian`` that use random vectors::

    python -m benchmarks.hessian_probes DATA MODEL OTHER

D is the difference of the Hessian of a supercell by MODEL from that of the DFT force
constants of DATA (see `benchmarks.phonon_references`), at the same positions. The loss
is :math:`\sum_{ij} D_{ij}^2`; its gradient is measured along the change of the Hessian
from MODEL to OTHER, for example a version of MODEL after phonon fine-tuning. Printed
are standard deviations of estimates from k products, relative to the exact values.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

from benchmarks.common import options, start
from benchmarks.phonon_references import fitted, predicted
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.data.ragged import RaggedMatrices
from equipot.graph.atomic_graph import AtomicGraph
from equipot.neighbors import build_graph
from equipot.training.hessian_loss import HessianMode, draw_vectors
from equipot.workflows.phonons import ForceConstants, as_atoms

MODES: Final[tuple[HessianMode, ...]] = ("probes", "atoms", "rows")
SAMPLES: Final = (1, 2, 6)
DRAWS: Final = 400


def main() -> None:
    """Measure, print, and write."""
    arguments = _parse()
    screen, record = start(arguments)
    crystals = json.loads((arguments.data / "reference_phonons.json").read_text())
    rows = []
    for name, crystal in crystals.items():
        reference = fitted(arguments.data, name, crystal)
        model, other = (
            _matrix(predicted(path, crystal, cell=False, backend=arguments.backend))
            for path in (arguments.model, arguments.other)
        )
        d, change = model - _matrix(reference), other - model
        graph = build_graph(as_atoms(reference.phonopy.supercell), 1.0)
        for mode in MODES:
            for samples in SAMPLES:
                noise = {
                    "loss": deviation(d @ d, mode, samples, graph),
                    "gradient": deviation(d @ change, mode, samples, graph),
                }
                rows.append({"crystal": name, "mode": mode, "k": samples, **noise})
    record["results"] = rows
    screen.print(table_of("relative standard deviation", rows))
    write_record(arguments.json, record, screen)


def deviation(
    matrix: Float[np.ndarray, "n n"],
    mode: HessianMode,
    samples: int,
    graph: AtomicGraph,
) -> float:
    """Standard deviation of the estimated trace of a matrix, relative to the trace."""
    none = RaggedMatrices.of([torch.zeros(len(matrix), len(matrix)).double()])
    found = []
    for number in range(DRAWS):
        drawn = draw_vectors(mode, samples, graph, none, (number,))
        if drawn is None:
            raise ValueError("no vectors were drawn")
        v = drawn.vectors.flatten(1).numpy()
        weights = drawn.present[:, 0].numpy()
        found.append(np.einsum("k,kn,kn->", weights, v @ matrix, v))
    return float(np.std(found) / abs(np.trace(matrix)))


def _matrix(constants: ForceConstants) -> Float[np.ndarray, "n n"]:
    lattice = constants.phonopy
    full = compact_fc_to_full_fc(lattice.primitive, constants.compact)
    matrix = full.transpose(0, 2, 1, 3).reshape(3 * len(full), -1)
    return (matrix + matrix.T) / 2


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "hessian_probes.json")
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--backend", default="fused")
    return parser.parse_args()


if __name__ == "__main__":
    main()
