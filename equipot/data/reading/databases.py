"""Read ASE databases, rejecting schemas that compute or modify anything."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms

from equipot.data.reading.declared_sizes import check_json_arrays
from equipot.data.reading.errors import DataError


def database_rows(path: Path) -> Iterator[Atoms]:
    """Rows of an ASE database with all their data.

    Args:
        path: Database in SQLite, JSON or LMDB format.

    Yields:
        Structures; key-value pairs and data are in ``info``.

    Raises:
        DataError: If an SQLite database contains anything but tables.
        Exception: Any error of a parser on invalid content.
    """
    if path.suffix == ".db":
        with path.open("rb") as file:
            if file.read(15) != b"SQLite format 3":  # SQLite would create a new one
                raise DataError("is not an SQLite database")
        _check_schema(path)
    with ase.db.connect(str(path), serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            extra: dict[str, Any] = {**row.key_value_pairs, **row.data}
            atoms.info.update(extra)
            yield atoms


def _check_schema(path: Path) -> None:
    """Reject computed columns, tables that ASE would add, and wrong array sizes."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        entries = connection.execute("SELECT type, name, sql FROM sqlite_master")
        tables = set()
        for kind, name, _ in entries:
            if kind not in ("table", "index"):
                raise DataError(f"the database contains a {kind}, expected tables only")
            tables.add(name)
        # ASE would add missing tables to the file
        if not {"systems", "information"} <= tables:
            raise DataError("the database is not one of ASE: it has no table 'systems'")
        columns = list(connection.execute("PRAGMA table_xinfo('systems')"))
        if any(hidden for *_, hidden in columns):
            raise DataError("the database contains computed columns")
        for _, name, *_ in columns:
            column = '"' + name.replace('"', '""') + '"'
            query = f"SELECT {column} FROM systems WHERE {column} LIKE ?"
            for (text,) in connection.execute(query, ("%__ndarray__%",)):
                if isinstance(text, str):
                    check_json_arrays(text)
