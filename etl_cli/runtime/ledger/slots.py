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
