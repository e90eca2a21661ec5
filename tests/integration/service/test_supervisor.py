"""The service's own process: it runs slots and requests, tries again, and stops in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.slots import ask
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards
from tests.support.waiting import until

ORDERS = ("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2)")


@contextlib.contextmanager
def serving(directory: PipelineDirectory) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "etl_cli.runtime", "serve", str(directory.path)], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def runs(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    return rows_of(sink, "SELECT state, requested_by FROM etl.runs ORDER BY run_id")


def test_a_slot_runs_and_a_stop_is_in_order(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    with serving(pipeline({"source": "dbo.orders"}, schedule="@every 3s")) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'"))
    assert service.returncode == 0
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(8,)]
    assert rows_of(sink, "SELECT count(*) FROM etl.slots WHERE outcome = 'succeeded'")[0][0] >= 1


def test_a_request_runs_without_a_schedule(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    with serving(pipeline({"source": "dbo.orders"})):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            Ledger(connection)
            ask(connection, "test", "run", {"full": True}, "somebody")
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("succeeded",)])
    assert runs(sink) == [("succeeded", "request")]


def test_manage_pipeline_asks_and_waits(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"})
    program = "from etl_cli.cli.manage import main; main()"
    command = [sys.executable, "-c", program, "run", str(directory.path), "--wait"]
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "succeeded"), done.stderr


def test_a_failed_slot_is_tried_again_and_then_waits(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(5) NULL)")
    shards.execute("INSERT INTO dbo.orders VALUES (1, NCHAR(0))")
    directory = pipeline(
        {"source": "dbo.orders"},
        schedule="@every 1h",
        error_handling={"max_retries": 2, "retry_delay": "1s", "exponential_backoff": False},
    )
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("failed",)], 60)
    assert [state for state, _ in runs(sink)] == ["failed"] * 3


def test_a_stopped_copy_is_resumed_by_the_next_start(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be slowed to order")
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)")
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.handle(shard.database).load_columns("dbo.orders", {"id": list(range(4_000))})
        shard.server.standin.faults.slow_rows("orders", rows_per_s=1_000)
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        until(lambda: rows_of(sink, "SELECT sum(rows) > 2000 FROM etl.chunks") == [(True,)])
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("interrupted",)]
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT state, attempt FROM etl.runs") == [("succeeded", 2)])
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(16_000,)]


def test_what_was_taken_and_never_begun_runs_after_the_start(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """A service may die between taking a slot or a request and beginning its run."""
    shards.execute(*ORDERS)
    with sink.open() as connection:
        Ledger(connection).register("test", "0123abcd")
        request = ask(connection, "test", "run", {"tables": ["dbo.orders"]}, "somebody")
        host = socket.gethostname()
        connection.execute("UPDATE etl.requests SET taken_at = now(), host = %s WHERE request_id = %s", [host, request])
        slots = "INSERT INTO etl.slots (pipeline, due_at, host, outcome) VALUES ('test', %s, %s, %s)"
        connection.execute(slots, ["2026-01-01", host, None])
        connection.execute(slots, ["2026-01-02", host, None])
    with serving(pipeline({"source": "dbo.orders"}, schedule="@yearly", catchup="none")):
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("succeeded",)])
    assert rows_of(sink, "SELECT outcome FROM etl.slots ORDER BY due_at") == [("skipped",), ("succeeded",)]
    assert runs(sink) == [("succeeded", "slot"), ("succeeded", "request")]


def test_what_ended_unrecorded_is_recorded_and_not_run_again(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"}, schedule="@every 3s")
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'"))
    directory.change(schedule=None)
    before = len(runs(sink))
    with sink.connect() as connection:
        connection.execute("UPDATE etl.slots SET outcome = NULL WHERE outcome = 'succeeded'")
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT FROM etl.slots WHERE outcome IS NULL") == [])
    assert rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'")
    assert len(runs(sink)) == before


def test_a_stop_between_two_tries_does_not_cost_the_third(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"}, error_handling={"retry_delay": "1h", "retry_timeout": "2h"})
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        assert service.stderr is not None
        assert any("try 2 in 900 s" in line for line in service.stderr)
    shards.execute(*ORDERS)
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("succeeded",)])


def test_another_pipeline_of_the_name_is_refused_in_a_line(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    with sink.open() as connection:
        Ledger(connection).register("test", "another1")
    directory = pipeline({"source": "dbo.orders"})
    done = subprocess.run(
        [sys.executable, "-m", "etl_cli.runtime", "serve", str(directory.path)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "another pipeline named test (id another1) uses this sink" in done.stderr.splitlines()[-1]


def test_an_idle_service_is_small(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    with serving(pipeline({"source": "dbo.orders"})) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        time.sleep(0.5)
        assert psutil.Process(service.pid).memory_info().rss < 60e6
    assert os.path.exists(f"/proc/{service.pid}") is False
