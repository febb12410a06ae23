"""Reference energies of originals that do not subtract those of free atoms."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.conversion.converted import Converted
from equipot.graph.edge_pairs import single_edges
from equipot.models.backbone import EdgeGeometry
from equipot.models.build import build_potential
from equipot.models.potential import Potential


def with_free_atoms(converted: Converted) -> Converted:
    """Reference energies that include the network's output for free atoms.

    A `Potential` adds ``scale * (f - f0)`` to the reference energy of an atom, with the
    network's output f and its value f0 without neighbors. Originals add ``scale * f``:
    what is subtracted here has to be part of the reference energies.

    Args:
        converted: With the reference energies of the original, in eV.
    """
    config = converted.config.model_copy(update={"dtype": "float64"})
    potential = build_potential(config, converted.statistics).eval()
    potential.load_state_dict(dict(converted.weights))
    outputs = isolated_outputs(potential) * converted.statistics.energy_scale
    references = converted.statistics.reference_energies
    shifted = {
        z: references[z] + output
        for z, output in zip(potential.elements, outputs.tolist(), strict=True)
    }
    statistics = replace(converted.statistics, reference_energies=shifted)
    return replace(converted, statistics=statistics)


@torch.no_grad()
def isolated_outputs(potential: Potential) -> Float[Tensor, " elements"]:
    """Output of the network for an atom of each element without neighbors.

    Args:
        potential: In the precision of the result.
    """
    elements = torch.arange(len(potential.elements))
    none = torch.empty(0, 3, dtype=potential.dtype)
    edges = EdgeGeometry(
        torch.empty(2, 0, dtype=torch.int64), none, none[:, :1], single_edges(0)
    )
    outputs: Tensor = potential.head(potential.backbone(elements, edges))
    return outputs
