"""Slots and requests: what a service takes from the ledger, each once, however many hosts serve the pipeline."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def claim_slot(connection: SinkConnection, pipeline: str, due: dt.datetime, entry: int) -> bool:
    """Take a slot; False where another host has it."""
    return bool(
        connection.execute(
            "INSERT INTO etl.slots (pipeline, due_at, entry, host) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [pipeline, due, entry, socket.gethostname()],
        ).rowcount
    )


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


def take_request(connection: SinkConnection, pipeline: str) -> OpenRequest | None:
    """Take the oldest open request; None where there is none."""
    row = connection.execute(
        "UPDATE etl.requests SET taken_at = clock_timestamp(), host = %s WHERE request_id ="
        " (SELECT request_id FROM etl.requests WHERE pipeline = %s AND taken_at IS NULL ORDER BY request_id LIMIT 1"
        "  FOR UPDATE SKIP LOCKED) RETURNING request_id, verb, arguments, requested_by",
        [socket.gethostname(), pipeline],
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
