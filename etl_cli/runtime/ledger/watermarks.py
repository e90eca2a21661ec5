"""How far the incremental modes have come, per table and shard."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.names import placed
from etl_cli.runtime.sink.connect import SinkConnection

CHANGES_CURSOR = "SYS_CHANGE_VERSION"
"""What stands as cursor in the watermark of mode changes."""


@dataclass(frozen=True)
class WatermarkId:
    """Whose watermark it is."""

    pipeline: str
    source_table: str
    shard: str


@dataclass(frozen=True)
class Watermark:
    """The highest cursor value that is safely copied, and the position (cursor, key) of the row that has it."""

    id: WatermarkId
    cursor: str
    value: str
    position: tuple[str, ...]
    scope: str = ""
    """Of which target, key and condition it tells."""
    run_id: int | None = None
    moved_at: dt.datetime | None = None


def read_watermarks(connection: SinkConnection, pipeline: str) -> dict[tuple[str, str], Watermark]:
    """All watermarks of a pipeline by (source table, shard)."""
    rows = connection.execute(
        "SELECT source_table, shard, cursor, value, position, scope, run_id, moved_at FROM etl.watermarks"
        " WHERE pipeline = %s ORDER BY source_table, shard",
        [pipeline],
    ).fetchall()
    return {
        (table, shard): Watermark(
            WatermarkId(pipeline, table, shard), cursor, value, tuple(json.loads(position)), *rest
        )
        for table, shard, cursor, value, position, *rest in rows
    }


def own_watermark(connection: SinkConnection, mark: WatermarkId, run_id: int) -> tuple[str, ...] | None:
    """The position to which this run has moved it; None where it has not yet."""
    row = connection.execute(
        "SELECT position FROM etl.watermarks WHERE (pipeline, source_table, shard) = (%s, %s, %s) AND run_id = %s",
        [mark.pipeline, mark.source_table, mark.shard, run_id],
    ).fetchone()
    return tuple(json.loads(row[0])) if row else None


def move_watermark(
    connection: SinkConnection,
    mark: WatermarkId,
    cursor: str,
    position: Sequence[str],
    *,
    scope: str,
    before: Sequence[str] | None,
    run_id: int | None,
) -> None:
    """Move it to `position` in the open transaction, from `before` (None = there was none).

    Raises DataError where it is not at `before`: another run has moved it, and rows would come twice or never.
    """
    moved = connection.execute(
        "INSERT INTO etl.watermarks AS w (pipeline, source_table, shard, cursor, value, position, scope, run_id)"
        " SELECT %(pipeline)s, %(table)s, %(shard)s, %(cursor)s, %(value)s, %(position)s, %(scope)s, %(run)s::bigint"
        " WHERE %(before)s::text IS NULL OR EXISTS (SELECT FROM etl.watermarks"
        "  WHERE (pipeline, source_table, shard) = (%(pipeline)s, %(table)s, %(shard)s))"
        " ON CONFLICT (pipeline, source_table, shard) DO UPDATE SET cursor = excluded.cursor, value = excluded.value,"
        " position = excluded.position, scope = excluded.scope, run_id = excluded.run_id, moved_at = clock_timestamp()"
        " WHERE w.position = %(before)s",
        {
            "pipeline": mark.pipeline,
            "table": mark.source_table,
            "shard": mark.shard,
            "cursor": cursor,
            "value": position[0],
            "position": json.dumps(list(position)),
            "scope": scope,
            "run": run_id,
            "before": None if before is None else json.dumps(list(before)),
        },
    ).rowcount
    if moved != 1:
        raise DataError(
            f"{placed(mark.source_table, mark.shard)}: its watermark was moved by somebody else meanwhile",
            "nothing of this chunk was written; let one run work on a table at a time",
        )


def set_watermark(connection: SinkConnection, mark: WatermarkId, cursor: str, value: str, scope: str) -> None:
    """Put it at a value of the cursor, wherever it was."""
    connection.execute(
        "INSERT INTO etl.watermarks (pipeline, source_table, shard, cursor, value, position, scope)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (pipeline, source_table, shard) DO UPDATE SET"
        " cursor = excluded.cursor, value = excluded.value, position = excluded.position, scope = excluded.scope,"
        " run_id = NULL, moved_at = clock_timestamp()",
        [mark.pipeline, mark.source_table, mark.shard, cursor, value, json.dumps([value]), scope],
    )


def reset_watermark(connection: SinkConnection, mark: WatermarkId) -> bool:
    """Forget it: the next run reads everything. Whether there was one."""
    return bool(
        connection.execute(
            "DELETE FROM etl.watermarks WHERE (pipeline, source_table, shard) = (%s, %s, %s)",
            [mark.pipeline, mark.source_table, mark.shard],
        ).rowcount
    )
