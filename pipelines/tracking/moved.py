"""A project folder that was moved or copied: its artifacts are where the database now lies.

MLflow writes the absolute address of every artifact into its database. In a folder that has another
name by now these name the old place: models cannot be read, and of a copy's new runs the files
would land in the original.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.machine.state import home

DATABASE = "mlflow.db"  # in the state folder
# Where MLflow's database keeps addresses of artifacts: table, column.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
WAIT_SECONDS = 30.0  # for another process that writes


def follow_home() -> list[str]:
    """`follow` for the state folder's own database."""
    return follow(home() / DATABASE, home() / "artifacts")


def follow(database: Path, artifacts: Path) -> list[str]:
    """Let the addresses in a database name the folder of artifacts that came along with it.

    Only those are changed whose experiment has its files in ``artifacts``, so that a root of the
    user's own choice stays.

    Parameters
    ----------
    database
        MLflow's SQLite file.
    artifacts
        The folder beside it, by the name it has now.

    Returns
    -------
    list of str
        The old roots that were replaced; mostly none.
    """
    if not database.is_file() or not artifacts.is_dir():
        return []
    with closing(sqlite3.connect(database, timeout=WAIT_SECONDS)) as connection, connection:
        old_roots = _old_roots(connection, artifacts)
        for old in old_roots:
            for table, column in ADDRESSES:
                if column in _columns(connection, table):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (artifacts.as_uri(), len(old) + 1, len(old) + 1, f"{old}/"),
                    )
    return old_roots


def _old_roots(connection: sqlite3.Connection, artifacts: Path) -> list[str]:
    """Roots of experiments whose files are in ``artifacts`` although their address is another."""
    if not _columns(connection, "experiments"):
        return []
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    roots = set()
    for (location,) in rows:
        root, _, name = str(location).rpartition("/")
        if not root.startswith("file:///") or root == artifacts.as_uri():
            continue
        if root.endswith("/artifacts") and name and (artifacts / name).is_dir():
            roots.add(root)
    return sorted(roots)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Names of a table's columns; none where there is no such table."""
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
