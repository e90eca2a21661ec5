"""Where the rows of a chunk are copied to, and how they come to rest in the target within its transaction."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from etl_cli.runtime.errors import DataError, SinkError
from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SERIALIZATION_FAILURE, SinkConnection
from etl_cli.runtime.sink.merge import Counts, Merge, cursor_of
from etl_cli.runtime.sink.queries import execute, query
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.sink.target import Target

OPERATION = "etl_operation"
"""The staging table's column that tells in mode changes what became of a row: U is there, D is gone."""

_STAGING = "pg_temp.etl_staging"


@dataclass(frozen=True)
class Destination:
    """How a chunk's rows come to rest.

    `shadow`: copied into a table beside the target, visible later. `append`: copied into the target.
    `insert`, `merge`, `changes`: copied into a staging table of the session, then inserted where their key
    is not there yet, merged by it, or merged and deleted by it. `none`: nowhere, own writers take them.
    """

    how: Literal["shadow", "append", "insert", "merge", "changes", "none"]
    table: Shadow
    """The shadow, or the target."""
    target: Target | None = None
    keys: Shadow | None = None
    """Where the shard of every key is kept for good, so that a key from two shards is an error (trap 18)."""

    @property
    def is_staged(self) -> bool:
        """Whether the rows are copied into a staging table first."""
        return self.how in ("insert", "merge", "changes")

    @property
    def quoted(self) -> str:
        """What COPY names."""
        return _STAGING if self.is_staged else self.table.quoted

    def columns(self, plan: TablePlan) -> dict[str, str]:
        """The columns that COPY fills and their Postgres types, in their order."""
        return plan.target_columns | ({OPERATION: "text"} if self.how == "changes" else {})

    def prepare(self, connection: SinkConnection, plan: TablePlan) -> None:
        """Make the session's staging table. It is empty at the start of every transaction."""
        execute(connection, f"DROP TABLE IF EXISTS {_STAGING}")
        if not self.is_staged:
            return
        columns = ", ".join(f"{quote_sink(name)} {kind}" for name, kind in self.columns(plan).items())
        execute(connection, f"CREATE TEMP TABLE etl_staging ({columns}) ON COMMIT DELETE ROWS")
        if plan.on_bad_row == "reject" and self.how != "changes" and self.target is not None:
            self._constrain(connection, plan)

    def settle(self, connection: SinkConnection, plan: TablePlan, run_id: int, shard: str) -> Counts:
        """Bring what was copied to its place, in the open transaction; what that changed in the target."""
        if not self.is_staged:
            return Counts()
        assert self.target is not None
        self._keep_latest(connection, plan)
        self._refuse_other_shards(connection, plan, shard)
        if self.how == "insert":
            return self._insert(connection, plan)
        gone = f"s.{OPERATION} = 'D'" if self.how == "changes" else ""
        return Merge(plan, self.target, _STAGING, run_id, gone=gone, newer=self.how == "merge").apply(connection)

    def _keep_latest(self, connection: SinkConnection, plan: TablePlan) -> None:
        """Of two versions of a key the one with the higher cursor stays, else the one that was read later."""
        if not plan.key:
            return
        key = ", ".join(map(quote_sink, plan.key))
        cursor = cursor_of(plan, "staged") if self.how == "merge" else None
        order = f"{cursor} DESC NULLS LAST, ctid DESC" if cursor else "ctid DESC"
        execute(
            connection,
            f"DELETE FROM {_STAGING} AS s USING (SELECT ctid, row_number() OVER (PARTITION BY {key} ORDER BY {order})"
            f" AS version FROM {_STAGING} AS staged) AS v WHERE v.version > 1 AND s.ctid = v.ctid",
        )

    def _refuse_other_shards(self, connection: SinkConnection, plan: TablePlan, shard: str) -> None:
        """Without a shard column a key is one shard's alone; whoever has it is kept beside the target.

        Every key of the chunk is claimed first, in one order, so that two shards that have the same one wait for each
        other, and nobody deletes what another is just about to bring.
        """
        if self.keys is None:
            return
        key = ", ".join(map(quote_sink, plan.key))
        same_key = " AND ".join(f"k.{quote_sink(name)} = s.{quote_sink(name)}" for name in plan.key)
        mine = quote_text(shard)
        execute(
            connection,
            f"INSERT INTO {self.keys.quoted} ({key}, etl_shard) SELECT {key}, {mine} FROM {_STAGING} AS s"
            f" ORDER BY {key} ON CONFLICT ({key}) DO NOTHING",
        )
        if self.how == "changes":
            # a row that has moved to another shard is deleted there where it was: that says nothing of where it is
            execute(
                connection,
                f"DELETE FROM {_STAGING} AS s USING {self.keys.quoted} AS k WHERE s.{OPERATION} = 'D' AND {same_key}"
                f" AND k.etl_shard <> {mine}",
            )
            execute(
                connection,
                f"DELETE FROM {self.keys.quoted} AS k USING {_STAGING} AS s WHERE s.{OPERATION} = 'D' AND {same_key}",
            )
        there = f" AND s.{OPERATION} = 'U'" if self.how == "changes" else ""
        row = connection.execute(
            sql.SQL(
                f"SELECT coalesce(k.etl_shard, 'another shard'), to_jsonb(s) FROM {_STAGING} AS s"
                f" LEFT JOIN {self.keys.quoted} AS k ON {same_key}"
                f" WHERE k.etl_shard IS DISTINCT FROM {mine}{there} LIMIT 1"
            )
        ).fetchone()
        if row is None:
            return
        named = ", ".join(f"{name} = {row[1][name]}" for name in plan.key)
        told = f"{plan.source}: the key {named} comes from {row[0]} and from {shard}"
        remedy = "keep `shard_column`, or correct `key`: without it keys are unique over all shards"
        if self.how == "changes":
            # the row may have moved: the shard where it was tells so in a moment, and this chunk is tried again
            raise SinkError(told, remedy, sqlstate=SERIALIZATION_FAILURE)
        raise DataError(told, remedy)

    def _insert(self, connection: SinkConnection, plan: TablePlan) -> Counts:
        listed = ", ".join(map(quote_sink, plan.target_columns))
        key = ", ".join(map(quote_sink, plan.key))
        inserted = execute(
            connection,
            f"INSERT INTO {self.table.quoted} ({listed}) OVERRIDING SYSTEM VALUE"
            f" SELECT {listed} FROM {_STAGING}" + (f" ON CONFLICT ({key}) DO NOTHING" if key else ""),
        )
        return Counts(inserted=inserted)

    def _constrain(self, connection: SinkConnection, plan: TablePlan) -> None:
        """Give the staging table the target's checks, so that COPY finds the bad rows and not the merge."""
        assert self.target is not None
        for column in self.target.columns:
            if column.not_null and column.name in plan.target_columns:
                execute(connection, f"ALTER TABLE {_STAGING} ALTER COLUMN {quote_sink(column.name)} SET NOT NULL")
        for name, definition in connection.execute(query("target_checks"), {"oid": self.target.oid}).fetchall():
            # a check on a column that is not copied cannot be made here
            with contextlib.suppress(psycopg.errors.UndefinedColumn), connection.transaction():
                execute(connection, f"ALTER TABLE {_STAGING} ADD CONSTRAINT {quote_sink(name)} {definition}")


def create_keys_table(connection: SinkConnection, plan: TablePlan, keys: Shadow) -> None:
    """Make the table that keeps the shard of every key of a target, where it is not there yet."""
    types = plan.target_columns
    columns = ", ".join(f"{quote_sink(name)} {types[name]}" for name in plan.key)
    key = ", ".join(map(quote_sink, plan.key))
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {keys.quoted} ({columns}, etl_shard text NOT NULL, PRIMARY KEY ({key}))",
    )
