"""Slots: due times that a service takes from the ledger, each once, however many hosts serve the pipeline."""

from __future__ import annotations

import datetime as dt
import socket
from dataclasses import dataclass
from typing import Literal

from etl_cli.runtime.sink.connect import SinkConnection

Claim = Literal["mine", "another's", "paused"]
PAUSED = "paused"
"""The outcome of a slot that came while the pipeline was paused."""


@dataclass(frozen=True)
class UnfinishedSlot:
    """A slot that was taken and has no outcome.

    `run_state` is that of its newest run, None where none has begun, or where another entry's may be meant.
    `is_followed`: a newer slot of the entry was taken since.
    """

    due: dt.datetime
    entry: int
    taken_at: dt.datetime
    run_state: str | None
    is_followed: bool


def claim_slot(connection: SinkConnection, pipeline: str, due: dt.datetime, entry: int) -> Claim:
    """Take a slot, where no other host has it; one of a paused pipeline is counted and not to be run."""
    row = connection.execute(
        "INSERT INTO etl.slots (pipeline, due_at, entry, host, outcome) SELECT name, %s, %s, %s,"
        " CASE WHEN paused_at IS NOT NULL THEN %s END FROM etl.pipelines WHERE name = %s"
        " ON CONFLICT DO NOTHING RETURNING outcome",
        [due, entry, socket.gethostname(), PAUSED, pipeline],
    ).fetchone()
    if row is None:
        return "another's"
    return "paused" if row[0] == PAUSED else "mine"


def slots_claimed_since(connection: SinkConnection, pipeline: str, moment: dt.datetime) -> set[tuple[dt.datetime, int]]:
    """Due time and entry of the slots that any host has taken after that moment of the ledger's clock."""
    rows = connection.execute(
        "SELECT due_at, entry FROM etl.slots WHERE pipeline = %s AND claimed_at > %s", [pipeline, moment]
    ).fetchall()
    return {(due, entry) for due, entry in rows}


def end_slot(connection: SinkConnection, pipeline: str, due: dt.datetime, entry: int, outcome: str) -> None:
    """Say what became of a slot."""
    connection.execute(
        "UPDATE etl.slots SET outcome = %s WHERE (pipeline, due_at, entry) = (%s, %s, %s)",
        [outcome, pipeline, due, entry],
    )


def unfinished_slots(connection: SinkConnection, pipeline: str) -> list[UnfinishedSlot]:
    """Those that this host has taken, oldest first."""
    rows = connection.execute(
        "SELECT s.due_at, s.entry, s.claimed_at,"
        " (SELECT r.state FROM etl.runs AS r WHERE r.pipeline = s.pipeline AND r.slot = s.due_at"
        "  AND NOT EXISTS (SELECT FROM etl.slots AS o WHERE (o.pipeline, o.due_at) = (s.pipeline, s.due_at)"
        "                  AND o.entry <> s.entry) ORDER BY r.run_id DESC LIMIT 1),"
        " EXISTS (SELECT FROM etl.slots AS n WHERE (n.pipeline, n.entry) = (s.pipeline, s.entry)"
        "         AND n.due_at > s.due_at)"
        " FROM etl.slots AS s WHERE s.pipeline = %s AND s.host = %s AND s.outcome IS NULL ORDER BY s.due_at, s.entry",
        [pipeline, socket.gethostname()],
    ).fetchall()
    return [UnfinishedSlot(*row) for row in rows]


def last_slot(connection: SinkConnection, pipeline: str) -> dt.datetime | None:
    """The newest slot that was taken."""
    row = connection.execute("SELECT max(due_at) FROM etl.slots WHERE pipeline = %s", [pipeline]).fetchone()
    return row[0] if row else None
