"""Requests: what somebody asks of a pipeline's service, on whichever host; a service takes each once."""

from __future__ import annotations

import datetime as dt
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etl_cli.runtime.sink.connect import SinkConnection

CHANNEL = "etl_requests"
VERBS = ("run", "cancel")


@dataclass(frozen=True)
class OpenRequest:
    """Something that was asked of the service, and that a host has taken."""

    request_id: int
    verb: str
    arguments: Mapping[str, Any]
    requested_by: str
    requested_at: dt.datetime
    taken_at: dt.datetime
    run_state: str | None = None
    """Of its newest run, where it was taken before."""


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
        " RETURNING request_id, verb, arguments, requested_by, requested_at, taken_at",
        [socket.gethostname(), pipeline, busy],
    ).fetchone()
    return OpenRequest(*row) if row else None


def unfinished_requests(connection: SinkConnection, pipeline: str) -> list[OpenRequest]:
    """Those that this host has taken and not answered, oldest first."""
    rows = connection.execute(
        "SELECT q.request_id, q.verb, q.arguments, q.requested_by, q.requested_at, q.taken_at,"
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


def withdraw(connection: SinkConnection, request_id: int) -> bool:
    """Take a request back that nobody has taken; False where somebody has."""
    done = connection.execute(
        "UPDATE etl.requests SET taken_at = clock_timestamp(), finished_at = clock_timestamp(),"
        " answer = 'nobody took it' WHERE request_id = %s AND taken_at IS NULL",
        [request_id],
    )
    return bool(done.rowcount)


def unknown(verb: str) -> str:
    """The answer to what a newer program asks."""
    return f"this service does not know {verb}"


def answer_of(connection: SinkConnection, request_id: int) -> tuple[bool, str | None]:
    """Whether a request was taken, and how it ended, if it has."""
    row = connection.execute(
        "SELECT taken_at IS NOT NULL, answer FROM etl.requests WHERE request_id = %s", [request_id]
    ).fetchone()
    return (bool(row[0]), row[1]) if row else (False, None)
