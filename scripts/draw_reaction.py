"""Draw docs/images/reaction.png: the path of `equipot saddle` compared with GFN2-xTB.

OMP_NUM_THREADS=1 python scripts/draw_reaction.py saddle
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.io import read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from tblite.ase import TBLite

from equipot.workflows.reaction import largest_distance

ROOT = Path(__file__).parents[1]
METHOD = "GFN2-xTB"


def main(folder: Path) -> None:
    """Compare energies along the path and save the picture.

    Args:
        folder: Output of `equipot saddle`.
    """
    path = read(folder / "path.xyz", ":")
    points = read(folder / "points.xyz", ":")
    lengths = np.array([frame.info["length"] for frame in path])
    energies = np.array([frame.get_potential_energy() for frame in path])
    reference = np.array([reference_energy(frame) for frame in path])
    zero, reference_zero = energies[0], reference[0]
    difference = 1000 * (energies - zero - (reference - reference_zero))
    print(f"{len(path)} structures on the path of the potential")
    mean, largest = np.abs(difference).mean(), np.abs(difference).max()
    print(
        f"from {METHOD}, each from its first structure: mean {mean:.1f} meV, "
        f"largest {largest:.1f} meV"
    )
    compare(json.loads((folder / "reaction.json").read_text(encoding="utf-8")))
    with mpl.rc_context({"font.size": 9.0, "axes.spines.top": False}):
        figure = Figure(figsize=(7.4, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, height_ratios=(1, 2))
        draw_structures(top, points)
        draw_profile(bottom, lengths, energies - zero, reference - reference_zero)
        target = ROOT / "docs" / "images" / "reaction.png"
        target.parent.mkdir(exist_ok=True)
        figure.savefig(target, dpi=150, facecolor="white")
    print(target.relative_to(ROOT))


def compare(found: dict) -> None:
    """Print stationary points of the potential and of GFN2-xTB."""
    exact = read(ROOT / "data" / "vinyl_alcohol_stationary.xyz", ":")
    known = [frame.info["REF_energy"] for frame in exact]
    zero_points = [frame.info["zero_point_energy"] for frame in exact]
    points = [found[name] for name in ("start", "saddle", "end")]
    print(f"{'':34}{'potential':>10}{METHOD:>10}")
    for k, name in ((0, "from vinyl alcohol"), (2, "from acetaldehyde")):
        energy = points[1]["energy_ev"] - points[k]["energy_ev"]
        line(f"barrier {name} / eV", energy, known[1] - known[k], 3)
        zero = "zero_point_energy_ev"
        energy += points[1][zero] - points[k][zero]
        with_zero = known[1] - known[k] + zero_points[1] - zero_points[k]
        line("  with zero-point energies / eV", energy, with_zero, 3)
    lowest = points[1]["frequencies_per_cm"][0]
    line("imaginary mode / cm-1", lowest, exact[1].info["lowest_per_cm"], 0)
    saddle = Atoms(points[1]["symbols"], points[1]["positions_angstrom"])
    for i, j, name in ((0, 3, "O-H"), (2, 3, "C-H"), (0, 1, "O-C"), (1, 2, "C-C")):
        here, there = (a.get_distance(i, j) for a in (saddle, exact[1]))
        line(f"{name} at the transition state / Å", here, there, 4)
    for point, frame in zip(points, exact, strict=True):
        atoms = Atoms(point["symbols"], point["positions_angstrom"])
        distance = largest_distance(frame, atoms)
        print(
            f"{frame.info['config_type']}: atoms within {distance:.4f} Å of {METHOD}'s"
        )


def line(name: str, here: float, there: float, decimals: int) -> None:
    print(f"{name:34}{here:10.{decimals}f}{there:10.{decimals}f}")


def reference_energy(atoms: Atoms) -> float:
    molecule = Atoms(atoms.symbols, atoms.positions)
    molecule.calc = TBLite(method=METHOD, verbosity=0, accuracy=0.05)
    return molecule.get_potential_energy()


def draw_profile(
    axes: Axes, lengths: np.ndarray, energies: np.ndarray, reference: np.ndarray
) -> None:
    axes.plot(
        lengths, energies, color="#0072b2", lw=1.6, label="potential trained here"
    )
    axes.plot(lengths, reference, "o", color="#d55e00", ms=3.2, label=METHOD)
    axes.spines["right"].set_visible(False)
    axes.set_xlabel("along the path / Å √amu")
    axes.set_ylabel("energy / eV")
    axes.grid(lw=0.4, color="#d5dae0")
    axes.legend(frameon=False)


def draw_structures(axes: Axes, points: list[Atoms]) -> None:
    axes.set_aspect("equal")
    axes.axis("off")
    names = ("vinyl alcohol", "transition state", "acetaldehyde")
    for n, (atoms, name) in enumerate(zip(points, names, strict=True)):
        places = upright(atoms) + np.array([5.2 * n, 0.0, 0.0])
        draw_molecule(axes, atoms, places)
        axes.text(5.2 * n, -2.1, name, ha="center", va="top")
    axes.set_xlim(-2.6, 13.0)
    axes.set_ylim(-2.5, 1.9)


def upright(atoms: Atoms) -> np.ndarray:
    """Oxygen to the left, the first carbon up, the viewer in front of O, C and C."""
    oxygen, first, second = atoms.positions[:3]
    x = (second - oxygen) / np.linalg.norm(second - oxygen)
    y = first - oxygen - ((first - oxygen) @ x) * x
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return (atoms.positions - atoms.positions[:3].mean(axis=0)) @ axes.T


def draw_molecule(axes: Axes, atoms: Atoms, places: np.ndarray) -> None:
    radii = covalent_radii[atoms.numbers]
    for i, j in np.argwhere(np.triu(atoms.get_all_distances(), k=1)):
        reach = 1.55 * (radii[i] + radii[j])
        distance = atoms.get_distance(i, j)
        if distance < reach:
            depth = places[[i, j], 2].min()
            strength = min(1.0, 4 * (reach / distance - 1))
            (line,) = axes.plot(*places[[i, j], :2].T, color="#8a949e", lw=3)
            line.set(alpha=strength, zorder=2 + depth / 10)
    for place, number, radius in zip(places, atoms.numbers, radii, strict=True):
        ball = Circle(place[:2], 0.5 * radius, edgecolor="#333333", lw=0.6)
        ball.set(facecolor=jmol_colors[number], zorder=3 + place[2] / 10)
        axes.add_patch(ball)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
