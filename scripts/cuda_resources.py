"""GPU resources of the CUDA kernels: registers, spills and shared memory.

    python scripts/cuda_resources.py [--build FOLDER]

builds the CUDA library (no GPU is needed) and writes what the compiler tells of it to
cuda_ext/resources.json, which a test compares with what is built, and as a table to
cuda_ext/README.md.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "cuda_ext"
BUILD = ROOT / "build" / "cuda"
BUDGET = EXTENSION / "resources.json"
PAGE = EXTENSION / "README.md"
BEGIN, END = "<!-- resources: begin -->", "<!-- resources: end -->"
PASSES = ("receive", "send", "receive with tangents", "send with tangents")
ARCHITECTURES = ("sm_80", "sm_90")

KERNEL = re.compile(
    r"(?P<direction>receive|send)_(?:unrolledINS_7ProductI"
    r"Li(?P<l_in>\d+)ELi(?P<l_filter>\d+)ELi(?P<l_out>\d+)ELb(?P<odd>[01])EEE|by_tableI)"
    r"(?P<scalar>[fd])Lb(?P<tangents>[01])E"
)
"""The mangled name of a kernel."""

SHARED_MEMORY = """
#include <cstdio>
#include "dispatch.cuh"
using namespace equipot;
template <class Scalar, bool tangents, class P>
void print() {
  const Path last = P::path(P::num_paths() - 1);
  int l_in = 0, l_filter = 0;
  while ((l_in + 1) * (l_in + 1) < P::kInputs) ++l_in;
  while ((l_filter + 1) * (l_filter + 1) < P::kHarmonics) ++l_filter;
  std::printf("%d %d %d %d %d %d %d\\n", l_in, l_filter, last.l_out,
              P::couples({1, 1, 1}), int(sizeof(Scalar)), tangents,
              int(UnrolledLayout<P, Scalar, tangents>::bytes(kMaxWarps)));
}
template <class... P>
void print_all(ProductList<P...>) {
  (print<float, false, P>(), ...), (print<float, true, P>(), ...);
  (print<double, false, P>(), ...), (print<double, true, P>(), ...);
}
int main() { print_all(UnrolledProducts{}); }
"""
"""Prints the shared memory of a block, which launches ask for, for each product."""


@dataclass(frozen=True, order=True)
class Kernel:
    """One kernel for one product, or for any."""

    product: str
    """Degrees and symmetry, or "any"."""
    scalar: str
    """float32 or float64."""
    launch: str
    """Among `PASSES`."""

    @property
    def name(self) -> str:
        """In the budget."""
        return f"{self.product} {self.scalar} {self.launch}"


@dataclass(frozen=True)
class Resources:
    """Resources of one kernel on one architecture."""

    registers: int
    """Number of registers per thread."""
    spill_bytes: int
    """Register spills per thread in bytes, stores and loads."""


def build(folder: Path = BUILD) -> str:
    """Build the library unless it is up to date; returns the output of ptxas."""
    script = EXTENSION / "build.py"
    command = [sys.executable, str(script), "cuda", "--output", str(folder)]
    subprocess.run(command, check=True)
    return (folder / "equipot_cuda.ptxas").read_text(encoding="utf-8")


def parse(told: str) -> dict[str, dict[str, Resources]]:
    """Resources by kernel and architecture, from what ptxas tells with ``-v``.

    Raises:
        ValueError: If it tells of a kernel that is not known.
    """
    found: dict[str, dict[str, Resources]] = {}
    entries = re.split(r"ptxas info\s*: Compiling entry function ", told)[1:]
    for entry in entries:
        mangled, architecture = re.match(r"'(\S+)' for '(\S+)'", entry).groups()
        if (match := KERNEL.search(mangled)) is None:
            raise ValueError(f"ptxas tells of an unknown kernel: {mangled}")
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        resources = Resources(int(registers[1]), sum(map(int, spills.groups())))
        found.setdefault(_kernel(match).name, {})[architecture] = resources
    return found


def product_name(degrees: Iterable[int], odd_sums: bool) -> str:
    """Degrees and symmetry; without both degrees there are no odd sums to couple."""
    l_in, l_filter, l_out = degrees
    symmetry = "" if 0 in (l_in, l_out) else f" {'SO(3)' if odd_sums else 'O(3)'}"
    return f"({l_in}, {l_filter}, {l_out}){symmetry}"


def _kernel(match: re.Match[str]) -> Kernel:
    product = "any"
    if match["l_in"] is not None:
        degrees = (int(match[name]) for name in ("l_in", "l_filter", "l_out"))
        product = product_name(degrees, match["odd"] == "1")
    tangents = " with tangents" if match["tangents"] == "1" else ""
    scalar = {"f": "float32", "d": "float64"}[match["scalar"]]
    return Kernel(product, scalar, match["direction"] + tangents)


def shared_memory(compiler: str) -> dict[str, int]:
    """Bytes of a block by product, type and tangents, as launches ask for them."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "print.cu", Path(folder) / "print"
        source.write_text(SHARED_MEMORY, encoding="utf-8")
        include = f"-I{EXTENSION / 'cuda'}"
        command = [compiler, "-std=c++17", include, str(source), "-o", str(program)]
        subprocess.run(command, check=True)
        lines = subprocess.run([program], capture_output=True, text=True, check=True)
    found = {}
    for line in lines.stdout.splitlines():
        *degrees, odd, size, tangents, count = map(int, line.split())
        scalar = {4: "float32", 8: "float64"}[size]
        suffix = " with tangents" if tangents else ""
        found[f"{product_name(degrees, bool(odd))} {scalar}{suffix}"] = count
    return found


def table(document: Mapping[str, Mapping]) -> Iterator[str]:
    """Rows in Markdown: a line for each product and type."""
    heads = (*PASSES, "KiB of a block", "with tangents")
    yield f"| product | type | {' | '.join(heads)} |"
    yield "| --- | --- |" + " --- |" * len(heads)
    kernels = document["kernels"]
    products = dict.fromkeys(
        tuple(name.rsplit(f" {launch}", 1)[0].rsplit(" ", 1))
        for launch in PASSES[:1]
        for name in kernels
        if name.endswith(f" {launch}")
    )
    for product, scalar in sorted(products, key=lambda row: (row[1], row[0])):
        cells = [
            _cell(kernels[Kernel(product, scalar, launch).name]) for launch in PASSES
        ]
        sizes = (
            document["shared_bytes"].get(f"{product} {scalar}{suffix}")
            for suffix in ("", " with tangents")
        )
        cells += ["by product" if n is None else f"{n / 1024:.1f}" for n in sizes]
        yield f"| {product} | {scalar} | {' | '.join(cells)} |"


def _cell(by_architecture: Mapping[str, Mapping[str, int]]) -> str:
    found = []
    for architecture in ARCHITECTURES:
        own = by_architecture[architecture]
        spills = f" + {own['spill_bytes']} B" if own["spill_bytes"] else ""
        found.append(f"{own['registers']}{spills}")
    return " / ".join(dict.fromkeys(found))


def exceeded(
    budget: Mapping[str, Mapping], found: Mapping[str, Mapping[str, Resources]]
) -> list[str]:
    """Kernels that exceed their budget or have none, as messages."""
    lines = []
    for name, by_architecture in found.items():
        for architecture, own in by_architecture.items():
            allowed = budget.get(name, {}).get(architecture, {})
            for what, needed in vars(own).items():
                given = allowed.get(what, -1)
                if needed > given:
                    line = f"{name} on {architecture}: {needed} {what}, budget {given}"
                    lines.append(line)
    return lines


def page_with(lines: Iterable[str], page: str) -> str:
    """Text of a page with the part between two marks replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def main() -> None:
    """Build, write the budget and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=BUILD)
    folder = parser.parse_args().build
    kernels = parse(build(folder))
    sys.path.insert(0, str(EXTENSION))
    from build import find_nvcc, version_of  # noqa: PLC0415 - a script beside it

    compiler = find_nvcc()
    document = {
        "compiler": version_of(compiler),
        "kernels": {
            name: {
                architecture: vars(resources)
                for architecture, resources in sorted(own.items())
            }
            for name, own in sorted(kernels.items())
        },
        "shared_bytes": shared_memory(compiler),
    }
    BUDGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(table(document), page), encoding="utf-8")


if __name__ == "__main__":
    main()
