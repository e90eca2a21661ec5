"""Loads rows into a shadow and makes them visible, as a run does, without a source."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from psycopg import sql

from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.publish import Published, publish
from etl_cli.runtime.sink.shadow import Shadow, create_shadow, drop_shadow, shadow_of
from etl_cli.runtime.sink.target import read_target

Rows = Iterable[Sequence[Any]]

_runs = itertools.count(1)


def planned(connection: SinkConnection, plan: TablePlan) -> Apply:
    """How the plan's rows would become visible now."""
    return decide(plan, read_target(connection, plan.target_schema, plan.target_name))


def load(connection: SinkConnection, plan: TablePlan, rows: Rows, apply: Apply) -> Shadow:
    """A new shadow that holds `rows`."""
    if apply.how == "difference":
        connection.execute("CREATE SCHEMA IF NOT EXISTS etl")
    shadow = shadow_of(plan, apply.how, next(_runs), 0)
    create_shadow(connection, plan, shadow)
    insert(connection, shadow.quoted, plan.target_columns, rows)
    return shadow


def insert(connection: SinkConnection, quoted: str, columns: Iterable[str], rows: Rows) -> None:
    """Insert rows in one transaction; `quoted` is the table's quoted name."""
    names = list(columns)
    into = f"{quoted} ({', '.join(map(quote_sink, names))})".replace("%", "%%")
    statement = f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(names))})"
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(statement, list(rows))


def replace(connection: SinkConnection, plan: TablePlan, rows: Rows, apply: Apply | None = None) -> Published:
    """Replace the target's rows; the shadow is gone afterwards, also after an error."""
    apply = apply or planned(connection, plan)
    assert not apply.problem, apply.problem
    shadow = load(connection, plan, rows, apply)
    try:
        return publish(connection, plan, shadow, apply, no_record)
    finally:
        if not connection.closed:
            drop_shadow(connection, shadow)


def rows_of(connection: SinkConnection, table: str = "public.orders", order: str = "1") -> list[tuple[Any, ...]]:
    """All rows of a table, in order."""
    return connection.execute(sql.SQL(f"SELECT * FROM {table} ORDER BY {order}")).fetchall()


def value(connection: SinkConnection, query: str, *parameters: object) -> Any:
    """The one value that a query gives."""
    row = connection.execute(sql.SQL(query), parameters or None).fetchone()
    assert row is not None, query
    return row[0]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Look every few milliseconds until the condition holds; a failure of the test where it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


def shadows(connection: SinkConnection) -> int:
    """How many shadows, or parts of them, are there."""
    return int(value(connection, "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_\\_etl\\_%'"))


def no_record(_: SinkConnection) -> None:
    """What a run without a ledger writes into it."""
