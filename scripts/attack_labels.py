"""Corrupt the labels of correct data sets and count detections by `equipot data check`.

    python scripts/attack_labels.py [--shared ../shared/data] [--only SET] [--most 200]

Verdicts: caught (an error), undecided (said so by name), missed. A clean set must have
no error. Writes benchmarks/results/label_attacks.json.
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.io import read, write

from equipot.data.checks.check import examine
from equipot.data.checks.findings import DataReport, Finding
from equipot.units import GPA_PER_EV_PER_A3

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "label_attacks.json"
KCAL = ase.units.mol / ase.units.kcal
KJ = ase.units.mol / ase.units.kJ
HA, BOHR = ase.units.Hartree, ase.units.Bohr
ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"
SETS = {
    "3bpa": ("3bpa/train_300K.extxyz", "3bpa/iso_atoms.extxyz"),
    "ethanol": ("rmd17/ethanol_train_01.extxyz",),
    "aspirin": ("rmd17/aspirin_train_01.extxyz",),
    "silicon": ("mlearn/Si_train.extxyz",),
    "copper": ("mlearn/Cu_train.extxyz",),
    "nbmotaw": ("nbmotaw/train_elements_binaries.extxyz",),
    "water": ("water_pbe0ts/train.extxyz",),
    "mptrj": ("mptrj_1k/mptrj_random_train.extxyz",),
    "hessian_gfn2": ("hessian_gfn2/train.extxyz",),
    "hessian_horm": ("hessian_horm100/horm_train.extxyz",),
    "NaCl": ("phonons/NaCl_train.extxyz",),
    "AlN": ("phonons/AlN_train.extxyz",),
    "SiO2": ("sio2_batio3_response/SiO2_train.extxyz",),
    "water_dimer": ("water_tensors/water_dimer_train.extxyz",),
    "water_monomer": ("water_tensors/water_monomer_train.extxyz",),
}
OWN = {
    "alanine": ("alanine_dipeptide_train.xyz",),
    "dry_ice": ("dry_ice_train.xyz",),
    "vinyl": ("vinyl_alcohol_train.xyz",),
}
UNDECIDED = {
    "energy": (
        "energies and forces",
        "not all-electron total energies",
        "units of energies",
        "energies of some frames",
    ),
    "forces": ("unit of the forces not verified", "units of energies and forces"),
    "stress": (
        "stress undecided",
        "stress skipped",
        "is scaled",
        "single frames",
    ),
    "lengths": ("lengths",),
    "elements": ("exchanged in all structures",),
    "references": ("one level of theory",),
}
Frames = list[Atoms]


@dataclass(frozen=True)
class Attack:
    """One kind of corruption of a data set."""

    name: str
    label: str
    """Consequence if the corruption is not detected."""
    change: Callable[[Frames], bool]
    """Corrupts frames in place; returns False if not applicable to the set."""


@dataclass(frozen=True)
class Outcome:
    """Result of an attack."""

    data: str
    attack: str
    verdict: str
    message: str
    seconds: float


def scale(
    energy: float = 1.0, forces: float = 1.0, length: float = 1.0, stress: float = 1.0
) -> Callable[[Frames], bool]:
    """Scale labels and positions, including those of isolated atoms."""

    def change(frames: Frames) -> bool:
        touched = False
        for atoms in frames:
            if ENERGY in atoms.info and energy != 1:
                atoms.info[ENERGY] *= energy
                touched = True
            if FORCES in atoms.arrays and forces != 1:
                atoms.arrays[FORCES] *= forces
                touched = True
            if length != 1:
                atoms.set_cell(atoms.cell * length)
                atoms.positions *= length
                touched = True
            if STRESS in atoms.info and stress != 1:
                atoms.info[STRESS] = np.asarray(atoms.info[STRESS]) * stress
                touched = True
        return touched

    return change


def structures(frames: Frames) -> Frames:
    """Frames other than isolated atoms."""
    return [a for a in frames if a.info.get("config_type") != "IsolatedAtom"]


def shift_half(amount: float) -> Callable[[Frames], bool]:
    """Add a constant to a random half of the energies."""

    def change(frames: Frames) -> bool:
        chosen = [a for a in structures(frames) if ENERGY in a.info]
        for atoms, odd in zip(
            chosen, np.random.default_rng(1).random(len(chosen)) < 0.5, strict=True
        ):
            atoms.info[ENERGY] += amount * float(odd)
        return bool(chosen)

    return change


def one_stress(factor: float) -> Callable[[Frames], bool]:
    """Multiply the stress of one frame, one with a typical size of it."""

    def change(frames: Frames) -> bool:
        chosen = [a for a in structures(frames) if STRESS in a.info]
        if not chosen:
            return False
        sizes = [float(np.abs(a.info[STRESS]).max()) for a in chosen]
        n = int(np.argsort(sizes)[int(0.75 * len(sizes))])
        chosen[n].info[STRESS] = np.asarray(chosen[n].info[STRESS]) * factor
        return True

    return change


def virial(frames: Frames) -> bool:
    """Virials (-stress times volume) under the name of the stress."""
    chosen = [a for a in frames if STRESS in a.info]
    for atoms in chosen:
        atoms.info[STRESS] = -np.asarray(atoms.info[STRESS]) * atoms.get_volume()
    return bool(chosen)


def swap(only_one: bool, first: int = 0, second: int = 1) -> Callable[[Frames], bool]:
    """Exchange the two most common elements, everywhere or in one frame."""

    def change(frames: Frames) -> bool:
        chosen = structures(frames)
        z, counts = np.unique(
            np.concatenate([a.numbers for a in chosen]), return_counts=True
        )
        if len(z) < 2:
            return False
        order = z[np.argsort(-counts)]
        a, b = order[first % len(order)], order[second % len(order)]
        for atoms in chosen[len(chosen) // 2 :][:1] if only_one else chosen:
            old = atoms.numbers.copy()
            atoms.numbers[old == a], atoms.numbers[old == b] = b, a
        return True

    return change


def atomization(frames: Frames) -> bool:
    """Atomization energies with total energies of the isolated atoms."""
    free = {
        int(a.numbers[0]): a.info[ENERGY]
        for a in frames
        if a.info.get("config_type") == "IsolatedAtom"
    }
    chosen = [a for a in structures(frames) if ENERGY in a.info]
    if not free:
        return False
    for atoms in chosen:
        atoms.info[ENERGY] -= sum(free[z] for z in atoms.numbers.tolist())
    return True


def foreign_atoms(frames: Frames) -> bool:
    """Isolated atoms of another code: total and valence energies exchanged."""
    free = [a for a in frames if a.info.get("config_type") == "IsolatedAtom"]
    elements = {z for a in structures(frames) for z in a.numbers.tolist()}
    energies = [a.info[ENERGY] / len(a) for a in structures(frames) if ENERGY in a.info]
    if not energies or len(elements) > 8:
        return False
    for atoms in free:
        frames.remove(atoms)
    for z in elements:
        info = {ENERGY: -14.4 * z**2.33, "config_type": "IsolatedAtom"}
        if np.mean(energies) < -400:
            info[ENERGY] = -3.0 * z
        frames.append(Atoms([z], info=info))
    return True


def zeroed(frames: Frames) -> bool:
    """Zero the forces of the first quarter of the atoms."""
    chosen = [a for a in structures(frames) if FORCES in a.arrays and len(a) > 3]
    for atoms in chosen:
        atoms.arrays[FORCES][: len(atoms) // 4] = 0.0
    return bool(chosen)


ATTACKS = (
    Attack("kcal/mol", "forces", scale(KCAL, KCAL)),
    Attack("kJ/mol", "forces", scale(KJ, KJ)),
    Attack("Ha, Ha/Å", "forces", scale(1 / HA, 1 / HA)),
    Attack("Ha, Ha/bohr", "forces", scale(1 / HA, BOHR / HA)),
    Attack(
        "atomic units throughout",
        "lengths",
        scale(1 / HA, BOHR / HA, 1 / BOHR, BOHR**3 / HA),
    ),
    Attack("positions in bohr", "lengths", scale(length=1 / BOHR)),
    Attack("energies in kcal/mol", "energy", scale(energy=KCAL)),
    Attack("energies in Ha", "energy", scale(energy=1 / HA)),
    Attack("F x 2", "energy", scale(forces=2.0)),
    Attack("F x 0.5", "energy", scale(forces=0.5)),
    Attack("F of the wrong sign", "energy", scale(forces=-1.0)),
    Attack("half shifted by 1 eV", "energy", shift_half(1.0)),
    Attack("half shifted by 5 eV", "energy", shift_half(5.0)),
    Attack("one stress of wrong sign", "stress", one_stress(-1.0)),
    Attack("one stress in GPa", "stress", one_stress(GPA_PER_EV_PER_A3)),
    Attack("one stress in -kbar", "stress", one_stress(-10 * GPA_PER_EV_PER_A3)),
    Attack("stress in GPa", "stress", scale(stress=GPA_PER_EV_PER_A3)),
    Attack("stress in -kbar", "stress", scale(stress=-10 * GPA_PER_EV_PER_A3)),
    Attack("stress of wrong sign", "stress", scale(stress=-1.0)),
    Attack("stress x 0.5", "stress", scale(stress=0.5)),
    Attack("virial as stress", "stress", virial),
    Attack("elements exchanged", "elements", swap(only_one=False)),
    Attack("others exchanged", "elements", swap(only_one=False, first=-1, second=-2)),
    Attack("exchanged in a frame", "elements", swap(only_one=True)),
    Attack("atomization energies", "references", atomization),
    Attack("foreign free atoms", "references", foreign_atoms),
    Attack("forces zeroed", "forces", zeroed),
)


def load(paths: Sequence[Path], most: int) -> Frames:
    """Random subset of the frames of files, with labels under standard names."""
    frames = [a for p in paths for a in read(p, ":")]
    marked = [a for a in frames if a.info.get("config_type") == "IsolatedAtom"]
    rest = structures(frames)
    if len(rest) > most:
        order = np.random.default_rng(0).permutation(len(rest))[:most]
        rest = [rest[n] for n in sorted(order)]
    for atoms in marked + rest:
        atoms.calc = None
    return marked + rest


def check(frames: Frames) -> tuple[DataReport, float]:
    """Messages of data check for frames, and CPU time in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.xyz"
        write(path, frames, format="extxyz")
        start = time.process_time()
        report = examine([path])
        return report, time.process_time() - start


def judge(attack: Attack, report: DataReport) -> tuple[str, str]:
    """Result of an attack, and the message that determines it."""
    errors = [f for f in report.findings if f.severity == "error"]
    if errors:
        return "caught", f"{errors[0].check}: {errors[0].message}"
    named = [f for f in report.findings if _names(f, attack.label)]
    if named:
        return "undecided", f"{named[0].check}: {named[0].message}"
    return "missed", ""


def _names(finding: Finding, label: str) -> bool:
    if not any(word in finding.message for word in ("undecided", "not verified")):
        return False
    return any(words in finding.message for words in UNDECIDED[label])


def attack_set(name: str, paths: Sequence[Path], most: int) -> Iterator[Outcome]:
    """All attacks on a set, the uncorrupted set first."""
    frames = load(paths, most)
    report, seconds = check([a.copy() for a in frames])
    errors = [
        f"{f.check}: {f.message}" for f in report.findings if f.severity == "error"
    ]
    verdict = "FALSE ALARM" if errors else "clean"
    yield Outcome(name, "none", verdict, "; ".join(errors), seconds)
    for attack in ATTACKS:
        copies = [a.copy() for a in frames]
        if not attack.change(copies):
            continue
        report, seconds = check(copies)
        yield Outcome(name, attack.name, *judge(attack, report), seconds)


def main() -> None:
    """Attack all sets and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    sets = {k: [arguments.shared / f for f in v] for k, v in SETS.items()}
    sets |= {k: [ROOT / "data" / f for f in v] for k, v in OWN.items()}
    outcomes: list[Outcome] = []
    for name, paths in sets.items():
        if arguments.only and name not in arguments.only:
            continue
        if not all(p.exists() for p in paths):
            print(f"{name}: not here")
            continue
        for outcome in attack_set(name, paths, arguments.most):
            outcomes.append(outcome)
            print(
                f"{outcome.data:14}{outcome.attack:26}{outcome.verdict:12}"
                f"{outcome.message[:150]}",
                flush=True,
            )
    for verdict in ("caught", "undecided", "missed", "clean", "FALSE ALARM"):
        print(verdict, sum(o.verdict == verdict for o in outcomes))
    with contextlib.suppress(FileExistsError):
        arguments.output.parent.mkdir(parents=True)
    text = io.StringIO()
    json.dump([asdict(o) for o in outcomes], text, indent=1, ensure_ascii=False)
    arguments.output.write_text(text.getvalue() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
