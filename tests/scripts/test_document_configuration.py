from scripts.document_configuration import PAGE, page


def test_the_page_of_configurations_is_up_to_date():
    written = PAGE.read_text(encoding="utf-8")

    assert written == page(), "run: python scripts/document_configuration.py"


def test_the_page_tells_defaults_bounds_and_choices():
    rows = page().splitlines()

    assert any(r.startswith("| `lr` | number > 0 | `0.002` |") for r in rows)
    assert any(r.startswith("| `ema` | section or null | see below |") for r in rows)
    assert any(r.startswith("| `kind` | `mse`, `mae`, `huber` | `mse` |") for r in rows)
    assert "### `ensemble` with `name: npt`" in rows
