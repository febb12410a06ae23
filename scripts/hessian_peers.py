"""One Hessian after another, in a process and an environment of its own.

python scripts/hessian_peers.py NAME STRUCTURE [--threads 2]

`benchmark_hessians.py` starts this with the interpreter of equipot or of MACE, and
writes a line to standard input for each Hessian it wants. The answer is a line of JSON:
seconds of wall and processor time, and by how many bytes the resident memory has grown
at its peak since the model was built.

Models have random weights, 128 channels, two layers, features up to degree 1, float64,
and the elements H, C, N, O.
"""

import argparse
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

SPECIES = (1, 6, 7, 8)
CUTOFF = 5.0
CHANNELS = 128
NEIGHBORS = 16.0

Hessian = Callable[[Any], Any]


def equipot_hessian(lmax_filter: int) -> Hessian:
    """Radial networks as wide as those of MACE."""
    from equipot.calculators import EquipotCalculator
    from equipot.config.model import NequIPConfig
    from equipot.data.statistics import Statistics
    from equipot.models import build_potential

    config = NequIPConfig(
        cutoff=CUTOFF,
        lmax=1,
        lmax_filter=lmax_filter,
        channels=CHANNELS,
        num_layers=2,
        radial_hidden=(64, 64, 64),
        readout_hidden=16,
        backend="fused",
        dtype="float64",
    )
    statistics = Statistics(
        elements=SPECIES,
        reference_energies=dict.fromkeys(SPECIES, 0.0),
        reference_source="given",
        reference_rank=len(SPECIES),
        energy_scale=1.0,
        energy_shift=0.0,
        average_num_neighbors=NEIGHBORS,
        minimum_distances={},
        cutoff=CUTOFF,
        num_structures=1,
        num_atoms=1,
        num_edges=16,
        element_counts={},
        label_counts={},
        config_types={},
    )
    potential = build_potential(config, statistics).eval().requires_grad_(False)
    return EquipotCalculator(potential).get_hessian


def mace_hessian(max_ell: int, correlation: int) -> Hessian:
    """`MACECalculator.get_hessian` with its defaults."""
    warnings.filterwarnings("ignore")
    import numpy as np
    import torch
    from mace import modules
    from mace.calculators import MACECalculator

    # e3nn may be imported only after mace, which lets torch.load read e3nn's tables
    from e3nn import o3  # isort: skip

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    interaction = modules.RealAgnosticResidualInteractionBlock
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=max_ell,
        interaction_cls=interaction,
        interaction_cls_first=interaction,
        num_interactions=2,
        num_elements=len(SPECIES),
        hidden_irreps=o3.Irreps(f"{CHANNELS}x0e+{CHANNELS}x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(SPECIES)),
        avg_num_neighbors=NEIGHBORS,
        atomic_numbers=list(SPECIES),
        correlation=correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        use_reduced_cg=False,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    calculator = MACECalculator(models=model, device="cpu", default_dtype="float64")
    hessian: Hessian = calculator.get_hessian
    return hessian


MAKERS: dict[str, Callable[[], Hessian]] = {
    "equipot": lambda: equipot_hessian(1),
    "equipot-filter3": lambda: equipot_hessian(3),
    "mace-ell1-correlation2": lambda: mace_hessian(1, 2),
    "mace-ell1": lambda: mace_hessian(1, 3),
    "mace-ell3": lambda: mace_hessian(3, 3),
}
"""By name. MACE's defaults are products of three and edges of degree 3; equipot's model
with edges of degree 1 is nearest to "mace-ell1", the other one to "mace-ell3"."""


def status_bytes(field: str) -> int:
    """A line of /proc/self/status: VmRSS, or VmHWM for its peak."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Answer lines of standard input with measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MAKERS)
    parser.add_argument("structure")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep what others print out of the answers
    import torch

    torch.set_num_threads(arguments.threads)
    hessian = MAKERS[arguments.name]()
    import ase.io

    atoms = ase.io.read(arguments.structure)
    before = status_bytes("VmRSS")
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        hessian(atoms)
        answer = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "growth": status_bytes("VmHWM") - before,
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
