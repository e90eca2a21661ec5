"""The service's own process: it runs slots and requests, tries again, and stops in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.slots import ask
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

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


def until(condition: Callable[[], Any], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(Exception):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
        until(lambda: rows_of(sink, "SELECT sum(rows) FROM etl.chunks")[0][0] > 2_000)
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("interrupted",)]
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT state, attempt FROM etl.runs") == [("succeeded", 2)])
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(16_000,)]


def test_an_idle_service_is_small(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    with serving(pipeline({"source": "dbo.orders"})) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        time.sleep(0.5)
        assert psutil.Process(service.pid).memory_info().rss < 60e6
    assert os.path.exists(f"/proc/{service.pid}") is False
