"""Databases of ASE: rows with their values, and no schema that computes or writes."""

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
    """Rows of an ASE database with what they carry beside the structure.

    Args:
        path: Database of SQLite, JSON or LMDB.

    Yields:
        Structures; key-value pairs and data are in ``info``.

    Raises:
        DataError: If a database of SQLite holds anything but tables.
        Exception: Whatever broken contents lead to.
    """
    if path.suffix == ".db":
        with path.open("rb") as file:
            if file.read(15) != b"SQLite format 3":  # SQLite would begin a new one
                raise DataError("is not a database of SQLite")
        _check_schema(path)
    with ase.db.connect(str(path), serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            extra: dict[str, Any] = {**row.key_value_pairs, **row.data}
            atoms.info.update(extra)
            yield atoms


def _check_schema(path: Path) -> None:
    """Refuse what SQLite would compute, what ASE would write, and arrays that lie."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        entries = connection.execute("SELECT type, name, sql FROM sqlite_master")
        tables = set()
        for kind, name, _ in entries:
            if kind not in ("table", "index"):
                raise DataError(f"the database holds a {kind}, expected tables only")
            tables.add(name)
        # ASE would add the tables that it misses to the file
        if not {"systems", "information"} <= tables:
            raise DataError("the database is not one of ASE: it has no table 'systems'")
        columns = list(connection.execute("PRAGMA table_xinfo('systems')"))
        if any(hidden for *_, hidden in columns):
            raise DataError("the database holds columns that are computed")
        for _, name, *_ in columns:
            column = '"' + name.replace('"', '""') + '"'
            query = f"SELECT {column} FROM systems WHERE {column} LIKE ?"
            for (text,) in connection.execute(query, ("%__ndarray__%",)):
                if isinstance(text, str):
                    check_json_arrays(text)
