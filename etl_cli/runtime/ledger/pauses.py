"""Pauses: while a pipeline is paused, its slots pass on every host, and are counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from etl_cli.runtime.ledger.migrate import has_ledger, ledger_errors
from etl_cli.runtime.ledger.slots import PAUSED
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class Pause:
    """Since when, by whom, and how many slots have passed."""

    since: dt.datetime
    by: str
    slots: int

    def __str__(self) -> str:
        passed = f"{self.slots} slot{'' if self.slots == 1 else 's'} {'has' if self.slots == 1 else 'have'} passed"
        return f"paused since {self.since:%Y-%m-%d %H:%M:%S %Z} by {self.by}: {passed}; `unpause` runs them again"


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


def pauses_of(connection: SinkConnection, pipelines: Mapping[str, str]) -> dict[str, Pause]:
    """The pauses of the pipelines that are paused, by name; `pipelines` is {name: id}."""
    if not has_ledger(connection):
        return {}
    with ledger_errors(connection, "reading"):
        rows = connection.execute(
            "SELECT name, p.paused_at, p.paused_by, (SELECT count(*) FROM etl.slots AS s WHERE s.pipeline = name"
            "  AND s.outcome = %s AND s.due_at >= p.paused_at)"
            " FROM unnest(%s::text[], %s::text[]) AS wanted(name, id) JOIN etl.pipelines AS p USING (name, id)"
            " WHERE p.paused_at IS NOT NULL",
            [PAUSED, list(pipelines), list(pipelines.values())],
        ).fetchall()
    return {name: Pause(*row) for name, *row in rows}
