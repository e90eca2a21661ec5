"""Reads from a shard what a task's windows need: the cursor's bound, places to divide at, versions of changes."""

from __future__ import annotations

from typing import Any

import pyodbc

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import quote_source
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.source.connect import Shard
from etl_cli.runtime.source.errors import translate
from etl_cli.runtime.source.position import Position, columns_of, text_of_expression
from etl_cli.runtime.source.scan import count_rows, rows_of, select_oldest_version, select_position
from etl_cli.runtime.window import ALL_ROWS, Window

_ROWVERSION = ("timestamp", "rowversion")


class Bounds:
    """Asks one shard, over a control connection. Raises SourceError."""

    def __init__(self, connection: pyodbc.Connection, shard: Shard) -> None:
        self._connection = connection
        self._shard = shard

    def highest_cursor(self, plan: TablePlan) -> str | None:
        """The bound of an incremental read: no row above it is read, so none can be passed over (trap 3).

        For a rowversion everything below the oldest one of an open transaction; else the cursor's maximum.
        None where the table has no row with a cursor.
        """
        column = columns_of(plan)[0]
        if column.source_type in _ROWVERSION:
            active = int(str(self._value(plan, "SELECT CONVERT(varchar(18), MIN_ACTIVE_ROWVERSION(), 1)")), 16)
            return f"0x{active - 1:016X}"
        maximum = text_of_expression(f"MAX({quote_source(column.source)})", column)
        value = self._value(plan, f"SELECT {maximum} FROM {rows_of(plan, ALL_ROWS)}")
        return None if value is None else str(value)

    def without_cursor(self, plan: TablePlan) -> int:
        """How many rows have no cursor; no incremental read ever sees them."""
        condition = f"{quote_source(plan.order[0])} IS NULL"
        return int(self._value(plan, f"SELECT COUNT_BIG(*) FROM {rows_of(plan, ALL_ROWS, condition)}"))

    def divided(self, plan: TablePlan, window: Window, parts: int) -> list[Window]:
        """The window as `parts` windows of about as many rows each, without gaps or overlaps.

        Fewer where the rows do not suffice. Each begins after the place where the one before it ends.
        """
        rows = int(self._value(plan, count_rows(plan, window)))
        places = [self._position(plan, window, rows * n // parts - 1) for n in range(1, parts) if rows * n // parts > 0]
        ends = [place for n, place in enumerate(places) if place is not None and place not in places[:n]]
        starts = [window.after, *ends]
        return [
            Window(start, end, window.floor if not start else None, window.bound, window.since, window.version)
            for start, end in zip(starts, [*ends, window.up_to], strict=True)
        ]

    def change_version(self, plan: TablePlan) -> int:
        """The present version of the database's change tracking. Raises PlanError where it is off."""
        version = self._value(plan, "SELECT CHANGE_TRACKING_CURRENT_VERSION()")
        if version is None:
            raise PlanError(
                f"shard {self._shard.name}: change tracking is off",
                f"ALTER DATABASE {quote_source(self._shard.database)} SET CHANGE_TRACKING = ON "
                "(CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON)",
            )
        return int(version)

    def refuse_expired_changes(self, plan: TablePlan, since: int, version: int) -> None:
        """Raise PlanError where the server does not know all that changed between the versions."""
        if since > version:
            raise PlanError(
                f"{plan.source} of {self._shard.name}: its changes were read up to version {since}, the server is at "
                f"{version}: was it restored?",
                "read all of it again with `etl-cli run --full`",
            )
        refuse_expired(plan, self._shard.name, since, self._value(plan, select_oldest_version(plan)))

    def _position(self, plan: TablePlan, window: Window, offset: int) -> Position | None:
        row = self._row(plan, select_position(plan, window, offset))
        return None if row is None else tuple(str(text) for text in row)

    def _value(self, plan: TablePlan, statement: str) -> Any:
        row = self._row(plan, statement)
        return None if row is None else row[0]

    def _row(self, plan: TablePlan, statement: str) -> Any:
        try:
            with self._connection.cursor() as cursor:
                return cursor.execute(statement).fetchone()
        except pyodbc.Error as error:
            raise translate(error, self._shard.name, f"reading the bounds of {plan.source}") from error


def refuse_expired(plan: TablePlan, shard: str, since: int, oldest: object) -> None:
    """Raise PlanError where the server no longer knows all that changed after version `since`."""
    if oldest is None:
        table = quote_source(plan.source_schema, plan.source_name)
        raise PlanError(
            f"{plan.source} of {shard}: its changes are not tracked", f"ALTER TABLE {table} ENABLE CHANGE_TRACKING"
        )
    if since < int(str(oldest)):
        raise PlanError(
            f"{plan.source} of {shard}: its changes since version {since} are no longer kept "
            f"(the oldest is {oldest}): the retention was exceeded",
            "read all of it again with `etl-cli run --full`, and raise CHANGE_RETENTION or run more often",
        )
