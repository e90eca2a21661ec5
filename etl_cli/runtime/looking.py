"""Reads a pipeline's runs from the ledger, for commands and for programs; asks no service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from etl_cli.runtime.config import load_config
from etl_cli.runtime.config.databases import ConnectionRetries
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import UsageError
from etl_cli.runtime.ledger.history import RunDetail, RunRow, run_detail, run_of_request, runs_of
from etl_cli.runtime.sink.connect import Sink, SinkConnection, connect_sink

TIMEOUT_S = 3.0
STATES = ("queued", "running", "succeeded", "failed", "cancelled", "interrupted")


def history(directory: Path, limit: int = 20, state: str | None = None, since: datetime | None = None) -> list[RunRow]:
    """The pipeline's runs, newest first. Raises SinkError where the sink does not answer, UsageError."""
    if state not in (None, *STATES):
        raise UsageError(f"no run has the state {state!r}", f"use {', '.join(STATES)}")
    with _ledger(directory, "history") as (config, connection):
        return runs_of(connection, config.name, config.id, limit, state, since)


def show_run(directory: Path, run_id: int) -> RunDetail:
    """All that the ledger knows of a run. Raises SinkError, UsageError for one that is unknown."""
    with _ledger(directory, "show") as (config, connection):
        found = run_detail(connection, config.name, config.id, run_id)
    if found is None:
        raise UsageError(f"{config.name} has no run {run_id}", f"see manage-pipeline history {config.name}")
    return found


def run_asked_by(directory: Path, request_id: int) -> RunRow | None:
    """The last run that a request led to; None where it led to none. Raises SinkError."""
    with _ledger(directory, "show") as (_, connection):
        return run_of_request(connection, request_id)


@contextmanager
def _ledger(directory: Path, what: str) -> Iterator[tuple[Config, SinkConnection]]:
    config = load_config(directory)
    sink = Sink(config.sink, ConnectionRetries(retries=0, timeout=TIMEOUT_S))
    with connect_sink(sink, f"etl-cli {config.name} {what}", attempts=1) as connection:
        yield config, connection
