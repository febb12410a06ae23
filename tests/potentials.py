"""Potentials with random weights, one for each point of the design space."""

from equipot.config.model import parse_model
from equipot.data.statistics import Statistics
from equipot.models import Potential, build_potential


def statistics_of(elements: tuple[int, ...], cutoff: float) -> Statistics:
    """Plausible statistics without a training set."""
    return Statistics(
        elements=elements,
        reference_energies={z: -13.6 * z for z in elements},
        reference_source="given",
        reference_rank=len(elements),
        energy_scale=1.3,
        energy_shift=-3.1,
        average_num_neighbors=12.0,
        minimum_distances={},
        cutoff=cutoff,
        num_structures=1,
        num_atoms=1,
        num_edges=12,
        element_counts={},
        label_counts={},
        config_types={},
    )


SMALL: dict[str, dict[str, object]] = {
    "nequip": {"lmax": 2, "radial_hidden": (8,)},
    "mace": {"radial_hidden": (8,)},
    "nequix": {"lmax": 2, "channels": (4, 3, 1), "radial_hidden": (8,)},
    "sevennet": {"lmax": 2, "channels": (4, 2, 2), "radial_hidden": (8, 6)},
    "nequip_original": {"lmax": 2, "channels": (4, 2, 2), "radial_hidden": (8,)},
}
"""Hyperparameters of small networks, by architecture."""


def random_potential(
    elements: tuple[int, ...] = (1, 6, 8, 14), **architecture: object
) -> Potential:
    """Potential with random weights in float64, in evaluation mode."""
    settings = {
        "cutoff": 4.0,
        "channels": 4,
        "num_layers": 3,
        "readout_hidden": 4,
        "dtype": "float64",
        **SMALL.get(str(architecture.get("architecture", "nequip")), {}),
        **architecture,
    }
    config = parse_model(settings)
    statistics = statistics_of(elements, config.cutoff)
    return build_potential(config, statistics, seed=1).eval()


ARCHITECTURES = {
    "lmax0": {"lmax": 0},
    "lmax1": {"lmax": 1, "num_layers": 2},
    "lmax2": {"lmax": 2},
    "wide_filter": {"lmax": 1, "lmax_filter": 3},
    "one_layer": {"num_layers": 1},
    "per_degree": {"weighting": "per_degree"},
    "so3": {"symmetry": "SO(3)", "lmax": 1},
    "zbl": {"zbl": True, "num_layers": 2},
    "linear_readout": {"readout_hidden": None, "readouts": "last", "num_layers": 2},
    "mace": {"architecture": "mace", "lmax": 2, "num_layers": 2},
    "mace_residual": {
        "architecture": "mace",
        "num_layers": 2,
        "lmax": 2,
        "lmax_hidden": 2,
        "correlation": 2,
        "first_interaction": "residual",
        "radial_bias": False,
        "envelope_on": "input",
        "stored_roots": True,
    },
    "mace_density_agnesi": {
        "architecture": "mace",
        "num_layers": 2,
        "lmax": 2,
        "first_interaction": "density",
        "other_interactions": "density_residual",
        "radial_basis": "chebyshev",
        "distance_transform": "agnesi",
        "radial_bias": False,
        "envelope_on": "input",
        "zbl": "mace",
    },
    "mace_soft": {
        "architecture": "mace",
        "num_layers": 2,
        "lmax": 1,
        "correlation": (3, 2),
        "first_interaction": "density_residual",
        "other_interactions": "plain",
        "channels_sent_first": 3,
        "channels_sent": 2,
        "shared_polynomials": True,
        "radial_basis": "gaussian",
        "num_basis": 16,
        "distance_transform": "soft",
        "radial_bias": False,
        "readout_activation": "tanh",
    },
    "tensornet": {"architecture": "tensornet", "num_layers": 2},
    "tensornet_matgl": {
        "architecture": "tensornet",
        "num_layers": 2,
        "radial_basis": "smooth_bessel",
        "envelope": "cosine",
        "self_neighbor": False,
        "scalar_activation": False,
        "readouts": "last",
        "readout_gated": True,
    },
    "nequix": {"architecture": "nequix"},
    "nequix_equal_channels": {
        "architecture": "nequix",
        "channels": 3,
        "lmax": 1,
        "layer_norm": False,
    },
    "sevennet": {"architecture": "sevennet"},
    "sevennet_variants": {
        "architecture": "sevennet",
        "num_layers": 2,
        "lmax": 1,
        "channels": (3, 2),
        "lmax_filter": 2,
        "symmetry": "O(3)",
        "self_connection": "element",
        "harmonics": "solid",
        "bias": True,
    },
    "nequip_original": {"architecture": "nequip_original", "zbl": "nequip"},
    "nequip_both_parities": {
        "architecture": "nequip_original",
        "num_layers": 6,
        "lmax": 1,
        "channels": (3, 2),
        "lmax_filter": 2,
        "both_parities": True,
        "embedding_channels": 5,
        "trained_basis": True,
        "sender_factors": True,
    },
}
"""Points of the design space that every physical test visits."""
