"""Write the structures of a batch with a non-finite loss to a file."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from equipot.data.labels import Example
from equipot.storage.frame_file import write_frames


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write structures with their labels and sources as extended XYZ.

    Args:
        path: File to replace.
        examples: Single structures; missing labels are omitted.
    """
    write_frames(path, [to_atoms(example) for example in examples])


def to_atoms(example: Example) -> Atoms:
    """Structure with labels under the default keys and its ``source``."""
    graph, labels = example.graph, example.labels
    atoms = Atoms(
        numbers=graph.atomic_numbers.numpy(),
        positions=graph.positions.numpy(),
        cell=graph.cell[0].numpy(),
        pbc=graph.pbc[0].numpy(),
    )
    atoms.info["config_type"] = example.config_type
    atoms.info["source"] = example.source
    if not labels.energy.isnan().any():
        atoms.info["REF_energy"] = float(labels.energy)
    if not labels.stress.isnan().any():
        atoms.info["REF_stress"] = labels.stress[0].numpy()
    if not labels.forces.isnan().any():
        atoms.arrays["REF_forces"] = labels.forces.numpy()
    return atoms
