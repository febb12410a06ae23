"""``python -m equipot``: the command `equipot`."""

from equipot.cli.main import app

if __name__ == "__main__":
    app(prog_name="equipot")
