"""How fast the convolution has to be, and whether it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CASES = {"1x64": (1, 64), "2x64": (2, 64), "3x128": (3, 128), "6x64": (6, 64)}
"""lmax and channels."""
E3NN_TARGETS = {
    "1x64": {"forward": 25, "forward + backward": 20, "double backward": 15},
    "2x64": {"forward": 50, "forward + backward": 35, "double backward": 25},
    "3x128": {"forward": 50, "forward + backward": 50, "double backward": 40},
    "6x64": {"forward": 40, "forward + backward": 30, "double backward": 30},
}
"""How much faster than e3nn `fused` has to be."""
CUEQUIVARIANCE_TARGET = 20
"""How much faster than cuEquivariance `fused` has to be at lmax 3."""
PLAIN = ("so2", "clebsch_gordan", "spherical_grid")
"""Backends of plain PyTorch."""
PLAIN_TARGET = 3
"""How much faster than e3nn they have to be at lmax 3, forward and backward."""
ARITHMETIC_TARGET = 0.5
"""How fast float64 has to be, with float32 as unit."""
THREADS_TARGET = 1.7
"""How much faster two threads have to be than one."""


@dataclass(frozen=True)
class Verdict:
    """Whether something is as fast as it has to be."""

    what: str
    """Case, graph, step and who is compared with whom."""
    found: float
    """Ratio of speeds."""
    target: float
    """What it has to be at least."""

    @property
    def passed(self) -> bool:
        """Whether it is."""
        return self.found >= self.target

    def __str__(self) -> str:
        word = "pass" if self.passed else "FAIL"
        return f"{word}  {self.what}: {self.found:.3g}, at least {self.target:g}"


def compared_with_targets(found: Mapping[str, Any]) -> Iterator[Verdict]:
    """What the targets say about a comparison of variants.

    Args:
        found: "case", "graph", and "steps": for each step and variant at least
            "median_us" and "speed_vs_e3nn".
    """
    lmax, _ = CASES[found["case"]]
    for step, own in found["steps"].items():
        where = f"{found['case']}, {found['graph']}, {step}"
        if "fused" in own:
            target = E3NN_TARGETS[found["case"]][step]
            ratio = own["fused"]["speed_vs_e3nn"]
            yield Verdict(f"{where}, fused vs e3nn", ratio, target)
        if lmax == 3:
            yield from _at_lmax_three(where, step, own)


def _at_lmax_three(
    where: str, step: str, own: Mapping[str, Mapping[str, float]]
) -> Iterator[Verdict]:
    for name in own if "fused" in own else ():
        if name.startswith("cuequivariance"):
            ratio = own[name]["median_us"] / own["fused"]["median_us"]
            yield Verdict(f"{where}, fused vs {name}", ratio, CUEQUIVARIANCE_TARGET)
    for name in PLAIN:
        if name in own and step != "double backward":
            ratio = own[name]["speed_vs_e3nn"]
            yield Verdict(f"{where}, {name} vs e3nn", ratio, PLAIN_TARGET)
