"""Named SQL files beside this module, and statements that were put together."""

from __future__ import annotations

from functools import cache
from importlib import resources

from psycopg import sql

from etl_cli.runtime.sink.connect import SinkConnection


@cache
def query(name: str) -> str:
    """The text of sql/<name>.sql."""
    return resources.files("etl_cli.runtime.sink").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def execute(connection: SinkConnection, statement: str) -> int:
    """Execute a statement whose identifiers are quoted already; the number of rows that it changed."""
    return connection.execute(sql.SQL(statement)).rowcount
