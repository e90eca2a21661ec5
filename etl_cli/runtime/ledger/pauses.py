"""Pauses: while a pipeline is paused, its slots pass on every host, and are counted."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from etl_cli.runtime.ledger.slots import PAUSED
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class Pause:
    """Since when, by whom, and how many slots have passed."""

    since: dt.datetime
    by: str
    slots: int


def pause(connection: SinkConnection, pipeline: str, by: str) -> bool:
    """Let slots pass from now on; False where they do already."""
    return bool(
        connection.execute(
            "UPDATE etl.pipelines SET paused_at = clock_timestamp(), paused_by = %s"
            " WHERE name = %s AND paused_at IS NULL",
            [by, pipeline],
        ).rowcount
    )


def unpause(connection: SinkConnection, pipeline: str) -> int | None:
    """Run slots again; how many have passed meanwhile, None where the pipeline was not paused."""
    row = connection.execute(
        "SELECT count(s.due_at) FROM etl.pipelines AS p LEFT JOIN etl.slots AS s"
        " ON s.pipeline = p.name AND s.outcome = %s AND s.due_at >= p.paused_at"
        " WHERE p.name = %s AND p.paused_at IS NOT NULL GROUP BY p.name",
        [PAUSED, pipeline],
    ).fetchone()
    connection.execute("UPDATE etl.pipelines SET paused_at = NULL, paused_by = NULL WHERE name = %s", [pipeline])
    return int(row[0]) if row else None


def paused(connection: SinkConnection, pipeline: str) -> Pause | None:
    """Since when and by whom the pipeline is paused; None where it is not."""
    row = connection.execute(
        "SELECT p.paused_at, p.paused_by, (SELECT count(*) FROM etl.slots AS s WHERE s.pipeline = p.name"
        "  AND s.outcome = %s AND s.due_at >= p.paused_at) FROM etl.pipelines AS p"
        " WHERE p.name = %s AND p.paused_at IS NOT NULL",
        [PAUSED, pipeline],
    ).fetchone()
    return Pause(*row) if row else None
