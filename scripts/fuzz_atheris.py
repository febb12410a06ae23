"""Coverage-guided fuzzing of the readers, with the targets of `fuzz_inputs.py`.

pip install -e .[fuzz]
python scripts/fuzz_atheris.py {extxyz,trajectory,yaml,header} [options of libFuzzer]

For example ``-max_total_time=300``. An input that is neither read nor refused with a
clear error ends the run and is written to the folder where it was started.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "ase.io.extxyz",
        "ase.io.trajectory",
        "ase.io.ulm",
        "ase.io.jsonio",
        "yaml",
        "equipot.config.load",
        "equipot.data.reading.declared_sizes",
        "equipot.data.reading.frames",
        "equipot.data.reading.geometry",
        "equipot.data.reading.labeled",
        "equipot.checkpoint.header",
        "equipot.checkpoint.file",
        "equipot.storage.tensor_file",
    ]
):
    from fuzzing.configurations import config_seeds
    from fuzzing.model_files import model_seeds, pack, sign, unpack
    from fuzzing.structure_seeds import structure_seeds
    from fuzzing.targets import read_input


def main() -> None:
    """Command line."""
    targets = {"extxyz": extxyz, "trajectory": trajectory, "yaml": yaml_text}
    targets["header"] = header
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        raise SystemExit(__doc__)
    warnings.simplefilter("ignore")
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        run, seeds = targets[name](Path(folder))
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        limits = ["-rss_limit_mb=3000", "-timeout=10", "-max_len=16384"]
        atheris.Setup([*sys.argv, *limits, str(corpus)], run)
        atheris.Fuzz()


Target = tuple[Callable[[bytes], None], list[bytes]]


def extxyz(folder: Path) -> Target:
    """Text of structures."""
    seeds = structure_seeds()
    chosen = [seeds[name][1] for name in ("extxyz", "extxyz labels", "xyz")]
    return lambda data: read(folder / "case.xyz", "structures", data), chosen


def trajectory(folder: Path) -> Target:
    """Trajectories of ASE."""
    seed = structure_seeds()["traj"][1]
    return lambda data: read(folder / "case.traj", "structures", data), [seed]


def yaml_text(folder: Path) -> Target:
    """Configurations."""
    seeds = [data for name, data in config_seeds().values() if name.endswith("yaml")]
    return lambda data: read(folder / "train.yaml", "configs", data), seeds


def header(folder: Path) -> Target:
    """Headers of models, each signed so that what is behind the checksum is reached."""
    layout, body = unpack(model_seeds()["one"][1])
    seed = layout["__metadata__"]["equipot"].encode()

    def run(data: bytes) -> None:
        layout["__metadata__"]["equipot"] = data.decode(errors="replace")
        sign(layout, body)
        read(folder / "model.safetensors", "models", pack(layout, body))

    return run, [seed, json.dumps(json.loads(seed), indent=1).encode()]


def read(path: Path, kind: str, data: bytes) -> None:
    """Read one input; whatever it raises ends the run."""
    path.write_bytes(data)
    read_input(kind, path)


if __name__ == "__main__":
    main()
