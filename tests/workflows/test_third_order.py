"""Third-order force constants of Stillinger-Weber silicon, and their files."""

import numpy as np
import pytest
from ase.build import bulk

from equipot.workflows.phonons import as_atoms, force_constants
from equipot.workflows.third_order import third_order_force_constants
from tests.workflows.analytic_potentials import stillinger_weber_silicon

pytest.importorskip("phono3py", reason="needs equipot[conductivity]")


@pytest.fixture(scope="module")
def found():
    silicon = bulk("Si", "diamond", a=5.430951)
    silicon.calc = stillinger_weber_silicon()
    harmonic = force_constants(silicon, (3, 3, 3), silicon.calc.products)
    return third_order_force_constants(
        harmonic, (2, 2, 2), silicon.calc.products, silicon.calc.third_products
    )


def test_equal_differences_of_the_hessian(found):
    supercell = as_atoms(found.phono3py.supercell)
    potential = stillinger_weber_silicon()
    row, h = int(found.phono3py.primitive.p2s_map[1]), 1e-4

    def hessian(step):
        moved = supercell.copy()
        moved.positions[row, 2] += step
        return potential.hessian(moved)

    near, far = (hessian(k * h) - hessian(-k * h) for k in (1, 2))
    expected = (8 * near - far) / (12 * h)
    given = found.compact[1].transpose(2, 0, 3, 1, 4)[2]  # atoms 3 atoms 3
    np.testing.assert_allclose(given, expected, atol=1e-7 * np.abs(expected).max())


def test_symmetries_hold_without_symmetrization(found):
    assert found.asymmetry < 1e-12
    assert found.sum_rule < 1e-12
    assert found.record()["supercell_atoms"] == 16


def test_phono3py_reads_the_files(found, tmp_path):
    import phono3py
    from phono3py.file_IO import read_fc2_from_hdf5, read_fc3_from_hdf5

    from equipot.report.workflow_files import write_third_order

    write_third_order(tmp_path, found)

    p2s = found.phono3py.primitive.p2s_map
    stored = read_fc3_from_hdf5(tmp_path / "fc3.hdf5", p2s_map=p2s)
    np.testing.assert_array_equal(stored, found.compact)
    harmonic = read_fc2_from_hdf5(tmp_path / "fc2.hdf5")
    assert harmonic.shape == (2, 54, 3, 3)
    again = phono3py.load(tmp_path / "phono3py_params.yaml", log_level=0)
    scale = np.abs(found.compact).max()
    np.testing.assert_allclose(again.fc3, found.compact, atol=1e-6 * scale)
