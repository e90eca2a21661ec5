"""`health.listen`: /health for whoever asks whether the pipeline is well, /metrics for Prometheus.

It answers from what the service knows, and never asks the sink: it must answer when that does not.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from etl_cli.runtime.service.view import View

_PATIENCE_S = 10.0


class Endpoint:
    """Listens from its making on. Raises OSError where the address is not to be had."""

    def __init__(self, listen: str, view: Callable[[], View]) -> None:
        host, _, port = listen.rpartition(":")
        self._server = _Server((host.strip("[]"), int(port)), _Handler)
        self._server.view = view
        # it looks at its own end of life only when somebody asks: no wake-ups while nothing happens
        threading.Thread(target=self._server.serve_forever, args=(3600,), daemon=True, name="health").start()

    @property
    def address(self) -> str:
        """`host:port`."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Give the address back."""
        ends = threading.Thread(target=self._server.shutdown, daemon=True)
        ends.start()
        with contextlib.suppress(OSError):  # wakes the thread, which would look in an hour
            host, port = self._server.server_address[:2]
            socket.create_connection((str(host), int(port)), timeout=1).close()
        ends.join(timeout=1)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    view: Callable[[], View]


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        view = self.server.view()
        if self.path.split("?")[0] in ("/health", "/healthz"):
            health = view.health()
            status = HTTPStatus.OK if health.is_well else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", json.dumps(health_data(view)).encode() + b"\n")
        elif self.path.split("?")[0] == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics(view))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"ask for /health or /metrics\n")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads of every scrape."""


def health_data(view: View) -> dict[str, Any]:
    """What /health says."""
    health = view.health()
    last = next((row for row in view.history or () if row.state in ("succeeded", "failed")), None)
    following = view.schedule.next_slot(datetime.now(UTC))
    work = view.at_work
    return {
        "pipeline": view.pipeline,
        "state": health.state,
        "reason": health.reason,
        "next_step": health.next_step or None,
        "since": view.since.isoformat(),
        "ledger": view.history is not None,
        "last_run": {"run_id": last.run_id, "state": last.state, "ended": _iso(last.ended)} if last else None,
        "at_work": {"phase": work.phase, "rows": work.rows, "tasks": work.tasks, "done": work.done} if work else None,
        "next_run": _iso(following.due) if following else None,
    }


def metrics(view: View) -> bytes:
    """What /metrics says, all with the label `pipeline`."""
    registry = CollectorRegistry()

    def gauge(name: str, told: str, value: float | None) -> None:
        if value is not None:
            Gauge(f"etl_{name}", told, ["pipeline"], registry=registry).labels(view.pipeline).set(value)

    health, now = view.health(), datetime.now(UTC)
    history = view.history or ()
    good = next((row for row in history if row.state == "succeeded"), None)
    last = next((row for row in history if row.state in ("succeeded", "failed")), None)
    following = view.schedule.next_slot(now)
    gauge("healthy", "1 where nobody needs to be woken, else 0", health.is_well)
    gauge("ledger_up", "1 where the ledger can be reached, else 0", view.history is not None)
    gauge("running", "1 while a run is at work, else 0", view.at_work is not None)
    gauge("run_rows", "Rows read so far by the run that is at work", view.at_work.rows if view.at_work else None)
    gauge(
        "last_run_success",
        "1 where the last run that ended succeeded, else 0",
        last.state == "succeeded" if last else None,
    )
    gauge("last_run_timestamp_seconds", "When the last run ended", _epoch(last.ended) if last else None)
    gauge("last_success_timestamp_seconds", "When the last good run ended", _epoch(good.ended) if good else None)
    gauge("last_run_rows", "Rows that the last run read", view.last_rows)
    gauge("last_run_duration_seconds", "How long the last run took", view.last_duration_s)
    gauge("next_run_timestamp_seconds", "When the next slot is due", _epoch(following.due) if following else None)
    runs = Counter("etl_runs", "Runs that ended since the service started", ["pipeline", "state"], registry=registry)
    runs.labels(view.pipeline, "succeeded").inc(view.succeeded)
    runs.labels(view.pipeline, "failed").inc(view.failed)
    rows = Counter("etl_rows", "Rows read since the service started", ["pipeline"], registry=registry)
    rows.labels(view.pipeline).inc(view.rows)
    return bytes(generate_latest(registry))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _epoch(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
