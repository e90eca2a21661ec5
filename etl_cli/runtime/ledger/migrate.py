"""Brings schema `etl` up to date: numbered SQL files, each applied once, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import psycopg

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.sink.connect import SinkConnection, translate

_LOCK = 0x65746C00
"""Key of the advisory lock under which one session migrates at a time."""


def migrations() -> list[tuple[int, str, str]]:
    """(version, name, SQL) of every migration, in order."""
    files = resources.files("etl_cli.runtime.ledger").joinpath("migrations").iterdir()
    named = sorted((file for file in files if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(int(f.name[:3]), f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in named]


@contextmanager
def ledger_errors(connection: SinkConnection, doing: str = "using") -> Iterator[None]:
    """Tell who lacks a right on the ledger what to grant, and any other error of Postgres as one line."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        said = error.diag.message_primary or "no right"
        raise SinkError(
            f"sink: the ledger cannot be used: {said}", _grant(connection), sqlstate=error.sqlstate
        ) from error
    except psycopg.Error as error:
        raise translate(error, f"{doing} the ledger (schema etl)") from error


def migrate(connection: SinkConnection) -> None:
    """Apply what is missing. Raises SinkError, also where the ledger is newer than this program."""
    known = migrations()
    with ledger_errors(connection, "preparing"):
        if _version(connection) == known[-1][0]:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            _apply(connection, known)


def _apply(connection: SinkConnection, known: list[tuple[int, str, str]]) -> None:
    present = _version(connection)
    if present > known[-1][0]:
        raise SinkError(
            f"sink: the ledger has version {present}, this program knows {known[-1][0]}", "update etl-cli on this host"
        )
    if present == 0:
        connection.execute("CREATE SCHEMA IF NOT EXISTS etl")
        connection.execute(
            "CREATE TABLE etl.migrations (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    for version, name, sql in known:
        if version > present:
            connection.execute(sql)
            connection.execute("INSERT INTO etl.migrations (version, name) VALUES (%s, %s)", [version, name])


def _grant(connection: SinkConnection) -> str:
    """What gives the user the right to the ledger: to make it, or to use another's."""
    user = quote_sink(connection.info.user)
    row = connection.execute("SELECT to_regnamespace('etl') IS NOT NULL").fetchone()
    if row and row[0]:
        return f"GRANT ALL ON SCHEMA etl TO {user}; GRANT ALL ON ALL TABLES IN SCHEMA etl TO {user}"
    return f"GRANT CREATE ON DATABASE {quote_sink(connection.info.dbname)} TO {user}"


def _version(connection: SinkConnection) -> int:
    # asked of the catalogue itself: to_regclass may still believe what it knew before a wait for the lock
    exists = connection.execute(
        "SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'etl' AND tablename = 'migrations'"
    ).fetchone()
    if exists is None:
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM etl.migrations").fetchone()
    return int(row[0]) if row else 0


def has_ledger(connection: psycopg.Connection[Any]) -> bool:
    """Before the first run there is none."""
    with ledger_errors(connection, "reading"):
        row = connection.execute("SELECT to_regclass('etl.runs') IS NOT NULL").fetchone()
    return bool(row and row[0])
