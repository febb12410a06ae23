"""Hessians by equipot or by MACE, in a process and an environment of their own.

    python -m benchmarks.peers.hessians NAME STRUCTURE [--threads 2]

`benchmarks.hessians` runs this with the interpreter of equipot or of MACE. It prints a
line of JSON: wall and processor time of the second Hessian in seconds, wall time of the
first, and the peak of the resident memory beyond that of the built model in MB.

Models have random weights, 128 channels, two layers, features up to degree 1, float64,
the elements H, C, N, O, and radial networks of the same widths.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

SPECIES, CUTOFF, CHANNELS, HIDDEN = (1, 6, 7, 8), 5.0, 128, (64, 64, 64)

Hessian = Callable[[Any], Any]


def equipot_hessian(lmax_filter: int) -> Hessian:
    """`EquipotCalculator.get_hessian`."""
    from benchmarks.common import random_potential
    from equipot.calculators import EquipotCalculator

    potential = random_potential(
        SPECIES,
        cutoff=CUTOFF,
        lmax=1,
        lmax_filter=lmax_filter,
        channels=CHANNELS,
        num_layers=2,
        radial_hidden=HIDDEN,
        readout_hidden=16,
        backend="fused",
        dtype="float64",
    )
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
        avg_num_neighbors=16.0,
        atomic_numbers=list(SPECIES),
        correlation=correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=list(HIDDEN),
        radial_type="bessel",
        use_reduced_cg=False,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    calculator = MACECalculator(models=model, device="cpu", default_dtype="float64")
    return calculator.get_hessian


MAKERS: dict[str, Callable[[], Hessian]] = {
    "equipot": lambda: equipot_hessian(1),
    "equipot-filter3": lambda: equipot_hessian(3),
    "mace-ell1-correlation2": lambda: mace_hessian(1, 2),
    "mace-ell1": lambda: mace_hessian(1, 3),
    "mace-ell3": lambda: mace_hessian(3, 3),
}
"""MACE's defaults are correlation 3 and edges of degree 3; "equipot" is nearest to
"mace-ell1", "equipot-filter3" to "mace-ell3"."""


def cost(call: Callable[[], object]) -> dict[str, float]:
    """Wall and processor time of a call, and the peak of its additional memory."""
    before = status_bytes("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts here
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "memory_MB": (status_bytes("VmHWM") - before) / 2**20,
    }


def status_bytes(field: str) -> int:
    """A line of /proc/self/status: VmRSS, or VmHWM for its peak."""
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Measure two Hessians and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MAKERS)
    parser.add_argument("structure")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    import ase.io
    import torch

    torch.set_num_threads(arguments.threads)
    hessian = MAKERS[arguments.name]()
    atoms = ase.io.read(arguments.structure)
    first = cost(lambda: hessian(atoms))
    row = cost(lambda: hessian(atoms))
    row["first_wall_s"] = first["wall_s"]
    row["memory_MB"] = first["memory_MB"]
    print(json.dumps(row))


if __name__ == "__main__":
    main()
