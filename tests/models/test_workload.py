"""Size of the problem that `auto` measures."""

from dataclasses import replace

import torch

from equipot.config.model import NequIPConfig, NequixConfig
from equipot.models.workload import TYPICAL_ATOMS, typical_problem
from tests.potentials import statistics_of

CPU = torch.device("cpu")
CONFIG = NequIPConfig(cutoff=4.0, channels=4)


def test_the_mean_structure_of_the_training_set_is_measured():
    known = replace(
        statistics_of((8,), 4.0), num_structures=10, num_atoms=80, num_edges=960
    )

    problem = typical_problem(CONFIG, known, CPU, structures=2)

    assert (problem.num_nodes, problem.num_edges) == (16, 192)


def test_a_typical_structure_is_measured_where_the_training_set_is_not_known():
    unknown = replace(statistics_of((8,), 4.0), num_structures=0)

    problem = typical_problem(CONFIG, unknown, CPU)

    assert (problem.num_nodes, problem.num_edges) == (TYPICAL_ATOMS, 12 * TYPICAL_ATOMS)


def test_channels_of_the_widest_tower_are_measured():
    config = NequixConfig(cutoff=4.0, channels=(128, 64, 32, 32))

    problem = typical_problem(config, statistics_of((8,), 4.0), CPU)

    assert problem.channels == 64  # scalars beyond the 64 that vectors have
    # one tower of scalars before the first layer, three before each other
    assert len(problem.specs) == 1 + 3 * 3
