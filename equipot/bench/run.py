"""From settings to tables on the terminal, and JSON."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from equipot.bench.console import summary
from equipot.bench.measure import Result, Settings, measure
from equipot.bench.record import busy, facts, to_json
from equipot.storage.atomic_file import make_folder, write_json
from equipot.system.settings import compute_settings

JSON = "tensor_products.json"


def run_bench(
    settings: Settings, *, threads: int | None = None, output: Path | None = None
) -> Result:
    """Measure tensor products, print what was found, and write it.

    Args:
        settings: What to measure.
        threads: Of PyTorch; None leaves them as they are.
        output: Folder for the JSON file; None writes nothing.

    Returns:
        The findings.
    """
    screen, messages = Console(), Console(stderr=True)
    with compute_settings(threads, deterministic=False):
        about = facts(settings)
        if (warning := busy()) is not None:
            messages.print(f"[yellow]![/] {escape(warning)}")
        with messages.status("measuring") as status:
            result = measure(settings, status.update)
    for item in summary(result):
        screen.print(item)
    screen.print(", ".join(f"{k} {escape(v)}" for k, v in about.items()))
    if output is not None:
        make_folder(output)
        write_json(output / JSON, to_json(result, about))
        screen.print(f"wrote {escape(str(output / JSON))}", soft_wrap=True)
    return result
