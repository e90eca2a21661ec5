"""Shows that a run lives, and finds runs that do not any more.

A run holds an advisory lock for as long as its ledger session lives; Postgres gives it back when the process
dies, however it dies. A host that vanishes keeps its session, and the lock, until the server gives up on the
connection: there the heartbeat tells, by the sink's own clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.sink.connect import SinkConnection

INTERVAL_S = 10
EXPIRES_S = 60
"""A run whose last heartbeat is older is abandoned."""

LOCK_CLASS = 0x65746C
"""First key of the advisory locks of runs; the second is the run's number."""


def hold(connection: SinkConnection, run_id: int) -> None:
    """Show that the run lives, until the connection ends."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, key(run_id)])
    connection.execute("UPDATE etl.runs SET heartbeat_at = clock_timestamp() WHERE run_id = %s", [run_id])


@dataclass(frozen=True)
class RunningRun:
    """A run that the ledger calls running."""

    run_id: int
    host: str
    expired: bool


def running(connection: SinkConnection, pipeline: str) -> list[RunningRun]:
    """The pipeline's runs that the ledger calls running, oldest first."""
    rows = connection.execute(
        "SELECT run_id, host, heartbeat_at < clock_timestamp() - make_interval(secs => %s) FROM etl.runs"
        " WHERE pipeline = %s AND state = 'running' ORDER BY run_id",
        [EXPIRES_S, pipeline],
    ).fetchall()
    return [RunningRun(*row) for row in rows]


def works_in_sink(connection: SinkConnection, pipeline: str) -> bool:
    """Whether the sink shows a statement of the pipeline's run as active: an index build, a long merge."""
    row = connection.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        " AND application_name LIKE %s AND wait_event_type IS DISTINCT FROM 'Client'",
        [f"etl-cli {pipeline} run %"],
    ).fetchone()
    return row is not None


class Heartbeat:
    """Renews a run's heartbeat from a thread and a connection of its own: the ledger's may be busy for minutes."""

    def __init__(self, connect: Callable[[], SinkConnection], run_id: int) -> None:
        self._connect = connect
        self._run_id = run_id
        self._connection: SinkConnection | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(1)
        if self._connection is not None:
            self._connection.close()

    def _beat(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            try:
                self._renew()
            except (psycopg.Error, EtlError):  # whoever uses the ledger next tells
                if self._connection is not None:
                    self._connection.close()
                self._connection = None

    def _renew(self) -> None:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute(
            "UPDATE etl.runs SET heartbeat_at = clock_timestamp() WHERE run_id = %s", [self._run_id]
        )


def key(run_id: int) -> int:
    """The run's number as the lock's second key, which has 31 bits."""
    return run_id % 2**31
