"""Pages on vibrations, reactions and phonons: complete, and without links outside."""

import json
import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read

from equipot.report.parts.made import Made
from equipot.report.phonon_page import phonon_page
from equipot.report.reaction_page import reaction_page
from equipot.report.vibration_page import mode_label, vibration_page
from equipot.report.workflow_files import write_reaction
from equipot.storage.provenance import ModelIdentity, Origin
from equipot.workflows import find_saddle, reaction_through, vibrations
from equipot.workflows.phonons import force_constants, phonons
from equipot.workflows.thermochemistry import ideal_gas
from tests.workflows.analytic_potentials import lennard_jones, stillinger_weber_silicon


@pytest.fixture(scope="module")
def reaction():
    calculator = lennard_jones(1.0, 1.0)
    r, h = 1.12, 1.12 * np.sqrt(3) / 2
    guess = Atoms("Ar4", [(0, -r / 2, 0), (0, r / 2, 0), (h, 0, 0), (-h, 0, 0)])
    guess.calc = calculator
    top = find_saddle(guess, calculator.hessian).atoms
    top.calc = calculator
    return reaction_through(top, calculator.hessian, step=0.5)


def scenes(page):
    """What the movies of a page are made from."""
    pattern = r'<script type="application/json">(.*?)</script>'
    return [json.loads(text) for text in re.findall(pattern, page, re.DOTALL)]


def test_a_reaction_is_a_movie_of_its_path_and_of_its_mode(reaction):
    page = reaction_page(reaction, "<Ar4>")

    path, mode = scenes(page)
    assert len(path["frames"]) == len(path["labels"]) == len(reaction.path.frames)
    assert np.shape(path["frames"][0]) == (4, 3)
    assert len(mode["modes"]) == 1
    assert "one imaginary mode" in page
    assert "&lt;Ar4&gt;" in page
    assert "notices" not in page.split("</style>")[1]
    assert not re.search(r"(src|href)=.?https?:", page)


EVIL = '</script><script>alert("1")</script><img src=x>'


def test_names_and_sentences_of_a_reaction_are_never_markup(reaction):
    origin = Origin((ModelIdentity(EVIL, EVIL),), {EVIL: EVIL}, EVIL, EVIL)
    harmless = reaction_page(reaction, "Ar4", ("warning",), Made(Origin(), ()))

    page = reaction_page(reaction, EVIL, (EVIL,), Made(origin))

    for element in ("<script", "</script", "<img"):
        assert page.count(element) == harmless.count(element)
    escaped = "&lt;/script&gt;&lt;script&gt;alert(&#34;1&#34;)"
    assert page.count(escaped) == 9


def test_the_view_keeps_distances_and_handedness(reaction):
    frames = scenes(reaction_page(reaction, "Ar4"))[0]["frames"]

    for frame, atoms in zip(frames, reaction.path.frames, strict=True):
        shown = np.array(frame)
        drawn = Atoms("Ar4", shown)
        np.testing.assert_allclose(
            drawn.get_all_distances(), atoms.get_all_distances(), atol=2e-3
        )
        before, after = (p[1:] - p[0] for p in (atoms.positions, shown))
        assert np.linalg.det(before) == pytest.approx(np.linalg.det(after), abs=1e-2)


def test_a_reaction_is_written_with_its_energies(reaction, tmp_path):
    write_reaction(tmp_path / "new", reaction, "Ar4")

    frames = read(tmp_path / "new" / "path.xyz", ":")
    energies = [frame.get_potential_energy() for frame in frames]
    np.testing.assert_allclose(energies, reaction.path.energies, atol=1e-6)
    assert frames[reaction.path.saddle].info["length"] == 0
    points = read(tmp_path / "new" / "points.xyz", ":")
    assert [p.info["point"] for p in points] == ["start", "saddle", "end"]
    record = json.loads((tmp_path / "new" / "reaction.json").read_text("utf-8"))
    assert record["barriers_ev"] == pytest.approx(reaction.barriers)


def test_vibrations_show_each_mode_and_the_warnings():
    calculator = lennard_jones(1.0, 1.0)
    trimer = Atoms("Ar3", [(0, 0, 0), (1, 0, 0), (0.5, np.sqrt(0.75), 0)])
    trimer.positions *= 2 ** (1 / 6)
    trimer.calc = calculator
    modes = vibrations(trimer, calculator.hessian)

    page = vibration_page(modes, ideal_gas(modes), "Ar3", ("look out",))

    (scene,) = scenes(page)
    assert len(scene["modes"]) == 3
    assert "Look out" in page
    assert "3 modes, 0 imaginary: a minimum" in page
    assert "Symmetry number</dt><dd>6" in page
    assert mode_label(2, -1204.26) == "2: 1204.3i cm⁻¹"


def test_phonons_are_drawn_with_their_special_points():
    pytest.importorskip("phonopy", reason="needs equipot[phonons]")
    silicon = bulk("Si", "diamond", a=5.431)
    silicon.calc = stillinger_weber_silicon()
    constants = force_constants(silicon, (2, 2, 2), silicon.calc.products)

    page = phonon_page(phonons(constants, mesh=20.0, band_points=11), "Si")

    assert "Dynamically stable" in page
    assert "Γ" in page
    assert page.count("<svg") == 2
    assert "2x2x2, 16 atoms" in page
