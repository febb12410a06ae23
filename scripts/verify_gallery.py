"""Verify a gallery of broken potentials, and correct ones on all kinds of structures.

    PYTHONPATH=. python scripts/verify_gallery.py runs/demo/model.safetensors \
        --honest runs/demo/model.safetensors runs/silicon/model.safetensors

prints what catches each broken potential, then every false alarm among verifications of
honest ones, and writes both to benchmarks/results/verify_gallery.json.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, fcc111, graphene, molecule, nanotube
from ase.data import chemical_symbols, reference_states

from equipot.checkpoint.file import (
    load_potential,
    read_header,
    read_samples,
    read_statistics,
)
from equipot.checkpoint.verification import domain_limits
from equipot.data.statistics import Statistics
from equipot.models.potential import Potential
from equipot.system.environment import describe_environment
from equipot.verify.potential import verify_energy_model, verify_potential
from equipot.verify.potential_report import PotentialReport
from tests.potentials import ARCHITECTURES, random_potential
from tests.verify.gallery import GALLERY

RESULTS = Path("benchmarks/results/verify_gallery.json")


def guarded(first: int, second: int) -> float:
    """Distance in Å below which models with random weights are not assessed."""
    return 2.5


@dataclass(frozen=True)
class Model:
    """A correct potential with the header of its file."""

    name: str
    potential: Potential
    samples: Sequence[Atoms]
    statistics: Statistics | None


def read_model(path: Path) -> Model:
    """A trained model in double precision."""
    header = read_header(path)
    potential = load_potential(path, device="cpu", dtype="float64", verify=False)
    return Model(
        str(path),
        potential.requires_grad_(requires_grad=False).eval(),
        read_samples(header),
        read_statistics(header),
    )


def random_model(name: str) -> Model:
    """A model of the tests, with random weights."""
    return Model(name, random_potential(**ARCHITECTURES[name]), [], None)


def verify(
    model: Model, broken: object, structures: Sequence[Atoms]
) -> PotentialReport:
    """Verify a modified model with the header of the original."""
    statistics = model.statistics
    limits = guarded if statistics is None else domain_limits(statistics)
    if isinstance(broken, Potential):
        return verify_potential(
            broken, structures, closest=limits, statistics=statistics
        )
    energies = None if statistics is None else statistics.energy_range
    return verify_energy_model(
        broken,
        structures,
        model.potential.elements,
        reference_energies=model.potential.reference_energies,
        closest=limits,
        typical_force=None if statistics is None else statistics.energy_scale,
        lowest_energy=None if energies is None else energies[0],
    )


def judge_broken(model: Model, names: Sequence[str]) -> Iterator[dict[str, object]]:
    """Failed checks of each broken potential."""
    honest = verify(model, model.potential, model.samples)
    for name in names:
        broken = GALLERY[name].make(read_model(Path(model.name)).potential)
        start = time.perf_counter()
        found = verify(model, broken, model.samples)
        notes = [note for note in found.notes if note not in honest.notes]
        caught = [f"{check.name} ({check.quantity})" for check in found.failures]
        verdict = "caught" if caught else "told" if notes else "MISSED"
        if verdict == "told" and not GALLERY[name].told:
            verdict = "told only"
        yield {
            "name": name,
            "verdict": verdict,
            "by": caught or notes,
            "seconds": time.perf_counter() - start,
        }


def structures_of(elements: Sequence[int]) -> Iterator[tuple[str, Atoms]]:
    """Perfect crystals, cells of one and two atoms, slabs, wires and molecules."""
    symbols = [chemical_symbols[z] for z in elements]
    for symbol, z in zip(symbols, elements, strict=True):
        radius = {"H": 1.6, "C": 1.55, "N": 1.6, "O": 1.7}.get(symbol)
        state = reference_states[z] or {}
        a = state.get("a") if radius is None else None
        a = a or 2.2 * (radius or 2.0)
        yield f"{symbol} fcc", bulk(symbol, "fcc", a=a)
        yield f"{symbol} bcc cubic", bulk(symbol, "bcc", a=0.8 * a, cubic=True)
        yield f"{symbol} diamond", bulk(symbol, "diamond", a=1.35 * a)
        yield f"{symbol} sc 2x2x2", bulk(symbol, "sc", a=0.65 * a).repeat(2)
        slab = fcc111(symbol, (1, 1, 4), a=a, vacuum=7.0)
        for pbc in ((1, 1, 0), (1, 1, 1)):
            slab.pbc = pbc
            yield f"{symbol} fcc111 slab {pbc}", slab.copy()
        wire = Atoms(symbol, cell=[12.0, 12.0, 0.75 * a], pbc=(0, 0, 1))
        yield f"{symbol} chain", wire
        wire = wire.repeat((1, 1, 2))
        wire.pbc = True
        yield f"{symbol} chain in a box", wire
        yield f"{symbol}2", Atoms([symbol] * 2, [[0, 0, 0], [0, 0, 0.75 * a]])
        yield f"{symbol} atom", Atoms(symbol)
        yield f"{symbol} left-handed", _left_handed(bulk(symbol, "fcc", a=a))
    if "Si" in symbols:
        slab = diamond100("Si", (2, 2, 5), a=5.43, vacuum=8.0)
        slab.pbc = (1, 1, 0)
        yield "Si diamond100 slab", slab
    if "C" in symbols:
        sheet = graphene(vacuum=8.0)
        yield "graphene", sheet
        tube = nanotube(5, 0)
        tube.set_cell([*np.ptp(tube.positions, axis=0)[:2] + 12.0, tube.cell[2, 2]])
        tube.pbc = (0, 0, 1)
        yield "nanotube", tube
    for name in ("CH4", "C6H6", "H2O", "NH3", "CO2", "CH3CH2OH", "HCN", "N2", "O2"):
        atoms = molecule(name)
        if set(atoms.numbers) <= set(elements):
            yield name, atoms
            boxed = atoms.copy()
            boxed.center(vacuum=5.0)
            boxed.pbc = True
            yield f"{name} in a box", boxed
    if len(elements) > 1:
        a = 4.6
        yield "NaCl type", bulk(symbols[0] + symbols[-1], "rocksalt", a=a)
        yield "CsCl type", bulk(symbols[0] + symbols[-1], "cesiumchloride", a=0.6 * a)


def _left_handed(atoms: Atoms) -> Atoms:
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


def judge_honest(models: Sequence[Model]) -> Iterator[dict[str, object]]:
    """Reports of correct models, one for each structure."""
    for model in models:
        for name, atoms in structures_of(model.potential.elements):
            start = time.perf_counter()
            found = verify(model, model.potential, [atoms])
            yield {
                "model": model.name,
                "structure": name,
                "passed": found.passed,
                "failures": [str(check) for check in found.failures],
                "seconds": time.perf_counter() - start,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="model to break")
    parser.add_argument("--honest", type=Path, nargs="*", default=[])
    parser.add_argument("--random", nargs="*", default=[], choices=list(ARCHITECTURES))
    parser.add_argument("--only", nargs="*", help="names of broken potentials")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()

    broken = []
    names = list(GALLERY) if options.only is None else options.only
    for row in judge_broken(read_model(options.model), names):
        broken.append(row)
        by = "; ".join(map(str, row["by"]))
        print(
            f"{row['name']:42s} {row['verdict']:10s} {row['seconds']:5.1f} s  "
            + by[:160],
            flush=True,
        )
    models = [read_model(path) for path in options.honest]
    models += [random_model(name) for name in options.random]
    honest = []
    for row in judge_honest(models):
        honest.append(row)
        if not row["passed"]:
            print("FALSE ALARM", row["model"], row["structure"], row["failures"])
    verdicts = [row["verdict"] for row in broken]
    print(
        f"{len(broken)} broken potentials: "
        + ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
        + f"; {len(honest)} verifications of honest ones, "
        f"{sum(not row['passed'] for row in honest)} false alarms"
    )
    record = {
        "environment": describe_environment(),
        "broken": broken,
        "honest": honest,
    }
    options.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
