"""Slots and requests: what a service takes from the ledger, each once, however many hosts serve the pipeline."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from etl_cli.runtime.sink.connect import SinkConnection

CHANNEL = "etl_requests"


@dataclass(frozen=True)
class OpenRequest:
    """Something that was asked of the service."""

    request_id: int
    verb: str
    arguments: Mapping[str, Any]
    requested_by: str
    run_state: str | None = None
    """Of its newest run, where it was taken before."""


Claim = Literal["mine", "another's", "paused"]


@dataclass(frozen=True)
class Pause:
    """Since when, by whom, and how many slots have passed."""

    since: dt.datetime
    by: str
    slots: int


@dataclass(frozen=True)
class UnfinishedSlot:
    """A slot that was taken and has no outcome.

    `run_state` is that of its newest run, None where none has begun, or where another entry's may be meant.
    `is_followed`: a newer slot of the entry was taken since.
    """

    due: dt.datetime
    entry: int
    run_state: str | None
    is_followed: bool


PAUSED = "paused"
"""The outcome of a slot that came while the pipeline was paused."""


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


def end_slot(connection: SinkConnection, pipeline: str, due: dt.datetime, entry: int, outcome: str) -> None:
    """Say what became of a slot."""
    connection.execute(
        "UPDATE etl.slots SET outcome = %s WHERE (pipeline, due_at, entry) = (%s, %s, %s)",
        [outcome, pipeline, due, entry],
    )


def unfinished_slots(connection: SinkConnection, pipeline: str) -> list[UnfinishedSlot]:
    """Those that this host has taken, oldest first."""
    rows = connection.execute(
        "SELECT s.due_at, s.entry,"
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


def ask(connection: SinkConnection, pipeline: str, verb: str, arguments: Mapping[str, Any], requested_by: str) -> int:
    """Leave a request, and tell the service to look; its number."""
    row = connection.execute(
        "INSERT INTO etl.requests (pipeline, verb, arguments, requested_by) VALUES (%s, %s, %s, %s)"
        " RETURNING request_id",
        [pipeline, verb, json.dumps(arguments), requested_by],
    ).fetchone()
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, pipeline])
    assert row is not None
    return int(row[0])


def take_request(connection: SinkConnection, pipeline: str, *, busy: bool) -> OpenRequest | None:
    """Take the oldest open request; None where there is none. A cancel is for the host that is `busy` with a run."""
    row = connection.execute(
        "UPDATE etl.requests SET taken_at = clock_timestamp(), host = %s WHERE request_id ="
        " (SELECT request_id FROM etl.requests WHERE pipeline = %s AND taken_at IS NULL"
        "  AND (verb <> 'cancel' OR %s) ORDER BY request_id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " RETURNING request_id, verb, arguments, requested_by",
        [socket.gethostname(), pipeline, busy],
    ).fetchone()
    return OpenRequest(*row) if row else None


def unfinished_requests(connection: SinkConnection, pipeline: str) -> list[OpenRequest]:
    """Those that this host has taken and not answered, oldest first."""
    rows = connection.execute(
        "SELECT q.request_id, q.verb, q.arguments, q.requested_by,"
        " (SELECT r.state FROM etl.runs AS r WHERE r.request_id = q.request_id ORDER BY r.run_id DESC LIMIT 1)"
        " FROM etl.requests AS q WHERE q.pipeline = %s AND q.host = %s AND q.taken_at IS NOT NULL"
        " AND q.finished_at IS NULL ORDER BY q.request_id",
        [pipeline, socket.gethostname()],
    ).fetchall()
    return [OpenRequest(*row) for row in rows]


def answer_request(connection: SinkConnection, request_id: int, answer: str) -> None:
    """Say how a request ended."""
    connection.execute(
        "UPDATE etl.requests SET answer = %s, finished_at = clock_timestamp() WHERE request_id = %s",
        [answer, request_id],
    )


def answer_of(connection: SinkConnection, request_id: int) -> tuple[bool, str | None]:
    """Whether a request was taken, and how it ended, if it has."""
    row = connection.execute(
        "SELECT taken_at IS NOT NULL, answer FROM etl.requests WHERE request_id = %s", [request_id]
    ).fetchone()
    return (bool(row[0]), row[1]) if row else (False, None)
