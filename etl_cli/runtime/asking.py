"""Asks a pipeline's service for something, through the ledger."""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.runtime.ledger.heartbeat import running
from etl_cli.runtime.ledger.history import run_detail
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.pauses import pause, unpause
from etl_cli.runtime.ledger.requests import answer_of, ask, withdraw
from etl_cli.runtime.planning import sink_of
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink

LOOK_S = 0.5
TAKEN_WITHIN_S = 15.0


def ask_for_run(directory: Path, arguments: Mapping[str, Any]) -> int:
    """Leave a request to run now; its number. Raises EtlError where the sink is away, UsageError for an unknown run."""
    config = load_config(directory)
    with _ledger(config) as connection:
        again = arguments.get("rerun_of")
        if again is not None and run_detail(connection, config.name, config.id, again) is None:
            raise UsageError(f"{config.name} has no run {again}", f"see manage-pipeline history {config.name}")
        return ask(connection, config.name, "run", arguments, asker())


def ask_to_cancel(directory: Path) -> str:
    """Have the service that is at work cancel what runs and what waits; how that ended.

    Raises UsageError where nothing runs, EtlError where no service is at work on it.
    """
    config = load_config(directory)
    with _ledger(config) as connection:
        active = running(connection, config.name)
        waits = connection.execute(
            "SELECT EXISTS (SELECT FROM etl.slots WHERE pipeline = %(name)s AND outcome IS NULL) OR EXISTS"
            " (SELECT FROM etl.requests WHERE pipeline = %(name)s AND verb = 'run' AND finished_at IS NULL)",
            {"name": config.name},
        ).fetchone()
        if not active and not (waits and waits[0]):
            raise UsageError(f"nothing of {config.name} runs or waits", f"manage-pipeline history {config.name}")
        where = f"run {active[-1].run_id} on {active[-1].host}" if active else "what waits"
        request = ask(connection, config.name, "cancel", {}, asker())
        try:
            return _answer(connection, request, f"no service is at work on {where}: end it there, by Ctrl-C or kill")
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                withdraw(connection, request)  # nobody waits for it any more
            raise


def retry_of(directory: Path, run_id: int | None) -> int:
    """Ask for another try of a failed or interrupted run, the newest; the request's number.

    Raises UsageError for a run that is unknown, not the newest, or needs none.
    """
    config = load_config(directory)
    with _ledger(config) as connection:
        last = Ledger(connection).last_run(config.name)
        if last is None or (run_id is not None and run_id > last.run_id):
            raise UsageError(f"{config.name} has no run {run_id or ''}".rstrip(), "see manage-pipeline history")
        if run_id not in (None, last.run_id):
            raise UsageError(
                f"run {run_id} is not the newest, which is {last.run_id}: what it had done is gone",
                f"manage-pipeline run {config.name}",
            )
        if last.state not in ("failed", "interrupted") or last.partial:
            what = "was one of a part" if last.partial else f"is {last.state}"
            raise UsageError(
                f"run {last.run_id} {what}: there is nothing to retry", f"manage-pipeline run {config.name}"
            )
        return ask(connection, config.name, "run", {"resume": True}, asker())


def pause_slots(directory: Path) -> bool:
    """Let the pipeline's slots pass, on every host; False where they do already."""
    config = load_config(directory)
    with _ledger(config) as connection:
        return pause(connection, config.name, asker())


def unpause_slots(directory: Path) -> int | None:
    """Run them again; how many have passed, None where the pipeline was not paused."""
    config = load_config(directory)
    with _ledger(config) as connection:
        return unpause(connection, config.name)


def asker() -> str:
    """Who asks: `ann@db7`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def wait_for(directory: Path, request_id: int) -> str:
    """Wait for the answer. Raises EtlError where no service has taken the request in time."""
    config = load_config(directory)
    with _ledger(config) as connection:
        return _answer(connection, request_id, f"is the service up? manage-pipeline info {config.name}")


def wait_for_run(directory: Path, run_id: int) -> str:
    """Wait until a run has ended; its state. Raises UsageError for one that is unknown."""
    config = load_config(directory)
    with _ledger(config) as connection:
        while True:
            row = connection.execute(
                "SELECT state FROM etl.runs WHERE pipeline = %s AND run_id = %s", [config.name, run_id]
            ).fetchone()
            if row is None:
                raise UsageError(f"{config.name} has no run {run_id}", f"see manage-pipeline history {config.name}")
            if row[0] not in ("queued", "running"):
                return str(row[0])
            time.sleep(LOOK_S)


def is_taken(directory: Path, request_id: int, patience_s: float = 3.0) -> bool:
    """Whether a service has taken a request by then."""
    config = load_config(directory)
    deadline = time.monotonic() + patience_s
    with _ledger(config) as connection:
        while not answer_of(connection, request_id)[0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S / 5)
    return True


def _answer(connection: SinkConnection, request_id: int, remedy: str) -> str:
    began = time.monotonic()
    while True:
        taken, answer = answer_of(connection, request_id)
        if answer is not None:
            return answer
        is_late = not taken and time.monotonic() - began > TAKEN_WITHIN_S
        if is_late and withdraw(connection, request_id):
            raise EtlError(f"nobody has taken request {request_id}", remedy)
        time.sleep(LOOK_S)


@contextlib.contextmanager
def _ledger(config: Config) -> Iterator[SinkConnection]:
    with connect_sink(sink_of(config), f"etl-cli {config.name} ask") as connection, ledger_errors(connection):
        Ledger(connection).register(config.name, config.id)
        yield connection
