"""Changes a target's rows by key: what differs is found first, then inserted, updated and deleted.

The keys that differ go into a temporary table, so that both sides are compared once, whatever is done
with the result: applied, counted, recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from etl_cli.runtime.names import quote_sink, quote_text, with_suffix
from etl_cli.runtime.plan import DELETED_AT, LINEAGE, ColumnPlan, TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.target import Target
from etl_cli.runtime.type_map import base_type

DIFFERENCES = "pg_temp.etl_differences"


@dataclass(frozen=True)
class Counts:
    """Rows of the target that were inserted, updated, deleted (or marked as deleted)."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted)


@dataclass(frozen=True)
class Merge:
    """New rows beside a target, both with the plan's key.

    `rows` is the quoted relation of the new rows, unique by key; `gone` the SQL condition under which a row
    s of it stands for a delete ("" = none does). With `complete` the new rows are all there are: a target row
    without a new one is deleted, of the `shards` at least (None = of all).
    """

    plan: TablePlan
    target: Target
    rows: str
    run_id: int
    gone: str = ""
    complete: bool = False
    shards: Sequence[str] | None = None
    newer: bool = False
    """A target row gives way only where its cursor is not higher (trap 18)."""

    def apply(self, connection: SinkConnection) -> Counts:
        """Find what differs and change it, in the open transaction."""
        if not self.complete:
            # a chunk is small beside its target: the default, made for spinning disks, has all of it scanned each time
            connection.execute("SET LOCAL random_page_cost = 1.1")
        self._find(connection)
        if self.plan.track_changes:
            self._record(connection)
        deleted = self._delete(connection)
        updated, reinserted = self._update(connection)
        inserted = self._insert(connection)
        return Counts(inserted - reinserted, updated, deleted)

    def _find(self, connection: SinkConnection) -> None:
        execute(connection, f"CREATE TEMP TABLE etl_differences ({self._differences_columns()}) ON COMMIT DROP")
        here = f"t.{self._names(self.plan.key[:1])} IS NOT NULL"
        there = f"s.{self._names(self.plan.key[:1])} IS NOT NULL"
        deleted = f"NOT ({there})" if self.complete else self.gone or "false"
        key = ", ".join(f"coalesce(s.{quote_sink(n)}, t.{quote_sink(n)})" for n in self.plan.key)
        execute(
            connection,
            f"INSERT INTO {DIFFERENCES} SELECT {key},"
            f" CASE WHEN {deleted} THEN 'D' WHEN {here} THEN 'U' ELSE 'I' END"
            f" FROM {self._both_sides()}"
            f" WHERE CASE WHEN {deleted} THEN {here}{self._not_marked()}"
            f" WHEN {here} THEN {self._differs()} ELSE true END",
        )
        execute(connection, f"ANALYZE {DIFFERENCES}")

    def _differences_columns(self) -> str:
        types = self.plan.target_columns
        columns = ", ".join(f"{quote_sink(name)} {types[name]}" for name in self.plan.key)
        return f"{columns}, etl_operation text"

    def _both_sides(self) -> str:
        """Every new row beside the target's of its key; all rows of both where the new ones are complete."""
        if self.complete:
            return f"{self._target_rows()} AS t FULL JOIN {self.rows} AS s ON {self._same_key('t', 's')}"
        # OFFSET 0 keeps the planner from joining: one look into the index a row, whatever the statistics say
        target_row = f"SELECT * FROM {self._target_rows()} AS t WHERE {self._same_key('t', 's')} OFFSET 0"
        return f"{self.rows} AS s LEFT JOIN LATERAL ({target_row}) AS t ON true"

    def _target_rows(self) -> str:
        if self.shards is None or self.plan.shard_column is None:
            return self._target
        listed = ", ".join(quote_text(shard) for shard in self.shards)
        return f"(SELECT * FROM {self._target} WHERE {quote_sink(self.plan.shard_column)} IN ({listed}))"

    def _differs(self) -> str:
        compared = [c for c in self._others() if c.source_type not in ("timestamp", "rowversion")]
        kinds = {column.name: column.type for column in self.target.columns}
        old, new = [], []
        for column in compared:
            name, kind = quote_sink(column.target), kinds.get(column.target, column.sink_type)
            as_target = f"s.{name}" if kind == column.sink_type else f"s.{name}::{kind}"
            old.append(_comparable(f"t.{name}", kind))
            new.append(_comparable(as_target, kind))
        differs = f"ROW({', '.join(old)}) IS DISTINCT FROM ROW({', '.join(new)})" if compared else "false"
        if self.plan.soft_delete:
            differs = f"({differs} OR t.{DELETED_AT} IS NOT NULL)"
        if self.newer and (cursor := cursor_of(self.plan, "s")):
            differs += f" AND ({cursor_of(self.plan, 't')} > {cursor}) IS NOT TRUE"
        return differs

    def _not_marked(self) -> str:
        return f" AND t.{DELETED_AT} IS NULL" if self.plan.soft_delete else ""

    def _delete(self, connection: SinkConnection) -> int:
        where = f"d.etl_operation = 'D' AND {self._same_key('t', 'd')}"
        if self.plan.soft_delete:
            marked = f"SET {DELETED_AT} = statement_timestamp()"
            return execute(connection, f"UPDATE {self._target} AS t {marked} FROM {DIFFERENCES} AS d WHERE {where}")
        return execute(connection, f"DELETE FROM {self._target} AS t USING {DIFFERENCES} AS d WHERE {where}")

    def _update(self, connection: SinkConnection) -> tuple[int, int]:
        """Rows updated, and how many of them stand as deleted until they are inserted."""
        written = [c.target for c in self._others()] + list(LINEAGE if self.plan.lineage else ())
        assignments = [f"{quote_sink(name)} = s.{quote_sink(name)}" for name in written]
        if self.plan.soft_delete:
            assignments.append(f"{DELETED_AT} = NULL")
        if not assignments:
            return 0, 0
        where = f"d.etl_operation = 'U' AND {self._same_key('s', 'd')} AND {self._same_key('t', 'd')}"
        sources = f"{DIFFERENCES} AS d, {self.rows} AS s"
        try:
            with connection.transaction():
                update = f"UPDATE {self._target} AS t SET {', '.join(assignments)} FROM {sources} WHERE {where}"
                return execute(connection, update), 0
        except psycopg.errors.UniqueViolation:
            if not self._rows_may_be_reinserted():
                raise
        # values of a unique column have changed places: row by row that cannot be, so the rows make room first
        rows = execute(
            connection,
            f"DELETE FROM {self._target} AS t USING {DIFFERENCES} AS d"
            f" WHERE d.etl_operation = 'U' AND {self._same_key('t', 'd')}",
        )
        execute(connection, f"UPDATE {DIFFERENCES} SET etl_operation = 'I' WHERE etl_operation = 'U'")
        return rows, rows

    def _rows_may_be_reinserted(self) -> bool:
        """Whether nobody notices: no column of the target's own, no row that refers to it, no trigger, no rule."""
        own_columns = {column.name for column in self.target.columns} - set(self.plan.target_columns)
        if self.plan.soft_delete:
            own_columns -= {DELETED_AT}  # NULL again, as an update would make it
        referred_to = any(not constraint.own for constraint in self.target.constraints)
        watched = any(dependent.view_kind == "-" for dependent in self.target.dependents)
        return not (own_columns or referred_to or watched)

    def _insert(self, connection: SinkConnection) -> int:
        names = list(self.plan.target_columns)
        listed = self._names(names)
        selected = ", ".join(f"s.{quote_sink(name)}" for name in names)
        return execute(
            connection,
            f"INSERT INTO {self._target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {selected}"
            f" FROM {DIFFERENCES} AS d JOIN {self.rows} AS s ON {self._same_key('s', 'd')} WHERE d.etl_operation = 'I'",
        )

    def _record(self, connection: SinkConnection) -> None:
        """Write each change, with the row as it was and as it will be, into the target's change table."""
        name = changes_table(self.plan)
        new = "to_jsonb(s) - 'etl_operation'" if self.gone else "to_jsonb(s)"
        execute(
            connection,
            f"INSERT INTO {name} (run_id, operation, old, new) SELECT {self.run_id},"
            " CASE d.etl_operation WHEN 'I' THEN 'insert' WHEN 'U' THEN 'update' ELSE 'delete' END,"
            " CASE WHEN d.etl_operation <> 'I' THEN to_jsonb(t) END,"
            f" CASE WHEN d.etl_operation <> 'D' THEN {new} END"
            f" FROM {DIFFERENCES} AS d LEFT JOIN {self._target} AS t ON {self._same_key('t', 'd')}"
            f" LEFT JOIN {self.rows} AS s ON {self._same_key('s', 'd')}",
        )

    def _others(self) -> list[ColumnPlan]:
        return [column for column in self.plan.columns if column.target not in self.plan.key]

    @property
    def _target(self) -> str:
        return quote_sink(self.plan.target_schema, self.plan.target_name)

    def _same_key(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{quote_sink(name)} = {other}.{quote_sink(name)}" for name in self.plan.key)

    def _names(self, names: Sequence[str]) -> str:
        return ", ".join(map(quote_sink, names))


def cursor_of(plan: TablePlan, relation: str) -> str | None:
    """The cursor's value in a relation of the sink, to tell the newer of two versions; None where there is none."""
    column = next((column for column in plan.columns if column.source == plan.cursor), None)
    if column is None:
        return None
    name = f"{relation}.{quote_sink(column.target)}"
    return f'{name} COLLATE "C"' if base_type(column.sink_type) in _COLLATED else name


def create_changes_table(connection: SinkConnection, plan: TablePlan) -> None:
    """Make the table of changes, where it is not there yet."""
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {changes_table(plan)} (change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " run_id bigint NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(),"
        " operation text NOT NULL CHECK (operation IN ('insert', 'update', 'delete')), old jsonb, new jsonb)",
    )


def changes_table(plan: TablePlan) -> str:
    """The quoted name of the table beside the target in which `track_changes` records."""
    return quote_sink(plan.target_schema, with_suffix(plan.target_name, "_changes"))


def _comparable(expression: str, sink_type: str) -> str:
    """Types whose `=` does not exist or takes two values for one are compared by their bytes or text."""
    if sink_type in _BYTES:
        return f"{_BYTES[sink_type]}({expression})"
    base = base_type(sink_type)
    if base in ("xml", "jsonb", "geometry", "geography", "vector"):  # those of extensions print all that they hold
        return f"{expression}::text"
    return f'{expression} COLLATE "C"' if base in _COLLATED else expression


_COLLATED = ("text", "character varying")
_BYTES = {"real": "float4send", "double precision": "float8send", "real[]": "array_send"}
