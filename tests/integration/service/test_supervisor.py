"""The service's own process: it runs slots and requests, tries again, and stops in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.requests import ask
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.forward import Forwarder
from tests.support.serving import ORDERS, runs, serving
from tests.support.slowing import filled, hurry, slow
from tests.support.source import Shards
from tests.support.waiting import until


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
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("run 1, succeeded at ")


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
    slow(filled(shards), rows_per_s=1_000)
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        until(lambda: rows_of(sink, "SELECT sum(rows) > 2000 FROM etl.chunks") == [(True,)])
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("interrupted",)]
    hurry(shards)
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
    kept = {"keep": "3650d"}  # these slots are not young
    with serving(pipeline({"source": "dbo.orders"}, schedule="@yearly", catchup="none", history=kept)):
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("succeeded",)])
    assert rows_of(sink, "SELECT outcome FROM etl.slots ORDER BY due_at") == [("skipped",), ("succeeded",)]
    assert runs(sink) == [("succeeded", "slot"), ("succeeded", "request")]


def test_a_second_service_of_a_host_takes_nothing_over(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"}, schedule=None)
    with serving(directory) as first:
        until(lambda: rows_of(sink, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 6648946"))
        with sink.open() as connection:
            taken = (
                "INSERT INTO etl.requests (pipeline, verb, requested_by, taken_at, host) VALUES (%s, %s, %s, now(), %s)"
            )
            connection.execute(taken, ["test", "run", "somebody", socket.gethostname()])
        with serving(directory) as second:
            second.said("another service of this pipeline is up on this host")
            assert rows_of(sink, "SELECT answer FROM etl.requests") == [(None,)]
            assert runs(sink) == []
        assert first.returncode is None


def test_what_ended_unrecorded_is_recorded_and_not_run_again(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"}, schedule="@every 3s")
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'"))
    directory.change(schedule=None)
    with sink.connect() as connection:
        connection.execute("UPDATE etl.slots SET outcome = NULL WHERE outcome = 'succeeded'")
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT FROM etl.slots WHERE outcome IS NULL") == [])
    assert rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'")
    # the stop may have come upon another slot, which is gone on with: that one has a single run as well
    assert rows_of(sink, "SELECT slot FROM etl.runs GROUP BY slot HAVING count(*) > 1") == []


def test_a_stop_between_two_tries_does_not_cost_the_third(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"}, error_handling={"retry_delay": "1h", "retry_timeout": "2h"})
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        service.said("try 2 in 900 s")
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


def test_the_timetable_of_retries_in_real_time(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Each retry begins its delay after the failure before it: 1 s, 2 s, 4 s, and then no more."""
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(5) NULL)")
    shards.execute("INSERT INTO dbo.orders VALUES (1, NCHAR(0))")
    directory = pipeline({"source": "dbo.orders"}, error_handling={"max_retries": 3, "retry_delay": "1s"})
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        service.said("is not tried again before the next slot", 60)
    waited = rows_of(
        sink,
        "SELECT extract(epoch FROM attempted_at - lag(finalized_at) OVER (ORDER BY run_id))::float8 FROM etl.runs",
    )
    delays = [seconds for (seconds,) in waited if seconds is not None]
    assert len(delays) == 3
    for delay, wanted in zip(delays, (1, 2, 4), strict=True):
        assert wanted <= delay < wanted + 3, delays  # a process has to start, and to read catalogues
    assert [line for line in service.lines if "try 2 in 1 s" in line or "try 4 in 4 s" in line]


def test_an_end_that_the_ledger_could_not_take_is_recorded_later(
    shards: Shards, sink: SinkDatabase, pipeline: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be slowed to order")
    shards.execute(*ORDERS)
    state = tmp_path_factory.mktemp("state")
    with Forwarder(sink.host, sink.port) as way:
        directory = pipeline(
            {"source": "dbo.orders", "chunk_rows": 1},
            sink={"host": "127.0.0.1", "port": way.port},
            error_handling={"max_retries": 0},
        )
        with serving(directory, reconnect_s=1, STATE_DIRECTORY=str(state)) as service:
            until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
            slow(shards, rows_per_s=0.3)
            with sink.open() as connection:
                ask(connection, "test", "run", {}, "somebody")
            until(lambda: rows_of(sink, "SELECT 1 FROM etl.tasks WHERE state = 'running'"))
            way.close()
            service.said("is not tried again before the next slot", 60)
        assert (state / "unrecorded.jsonl").read_text().count("failed") >= 1
        assert rows_of(sink, "SELECT answer FROM etl.requests") == [(None,)]
        hurry(shards)
        way.open()
        with serving(directory, reconnect_s=1, STATE_DIRECTORY=str(state)) as service:
            service.said("recorded now that the ledger is back")
            until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [("failed",)])
            assert rows_of(sink, "SELECT state FROM etl.runs") == [("failed",)]
    assert (state / "unrecorded.jsonl").read_text() == ""


def test_a_run_that_overstays_its_next_slot_is_announced(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    slow(shards, rows_per_s=0.3)
    with serving(pipeline({"source": "dbo.orders"}, schedule="@every 3s")) as service:
        # on a busy machine it may be starting yet when the first slot comes
        until(lambda: any("overstays into slot" in line and "copying" in line for line in service.lines))
        service.said("is skipped: a run is active (overlap: skip)")
        hurry(shards)
    assert ("skipped",) in rows_of(sink, "SELECT outcome FROM etl.slots")


def test_log_files_rotate_and_hold_errors_apart(
    shards: Shards, sink: SinkDatabase, pipeline: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(5) NULL)")
    shards[2].execute("INSERT INTO dbo.orders VALUES (1, NCHAR(0))")
    logs = tmp_path_factory.mktemp("logs")
    directory = pipeline(
        {"source": "dbo.orders"},
        error_handling={"max_retries": 3, "retry_delay": "0s"},
        logging={"max_bytes": "3000", "backups": 2, "format": "json"},
    )
    with serving(directory, LOGS_DIRECTORY=str(logs)) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            ask(connection, "test", "run", {}, "somebody")
        service.said("is not tried again before the next slot", 60)
    assert (logs / "output.log.1").exists()
    assert not (logs / "output.log.3").exists()
    errors = [json.loads(line) for line in (logs / "error.log").read_text().splitlines()]
    assert {event["level"] for event in errors} == {"error"}
    about = next(event for event in errors if event.get("table"))
    assert (about["table"], about["shard"], about["pipeline"]) == ("dbo.orders", "shard3", "test")
    assert about["run_id"].isdigit()


def test_a_configuration_that_is_refused_is_told_without_passwords(
    shards: Shards, pipeline: Make, tmp_path: Path
) -> None:
    """Neither those of the configuration that holds nor those of the .env that is there now, in the log or the file."""
    directory = pipeline({"source": "dbo.orders"}, sink={"port": 1, "password": "${SINK_DB_PASSWORD}"})
    secrets = directory.path / ".env"
    secrets.write_text("SINK_DB_PASSWORD=the-old-one\n")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    with serving(directory, RUNTIME_DIRECTORY=str(runtime)) as service:
        service.said("serving test")
        secrets.write_text("SINK_DB_PASSWORD=the-new-one\n")
        for value in ("the-old-one", "${SINK_DB_PASSWORD}"):
            directory.change(timezone=value)
            service.process.send_signal(signal.SIGHUP)
            until(lambda: (runtime / "config.json").exists() and "time zone" in (runtime / "config.json").read_text())
            service.said("was not taken over")
            assert [line for line in service.lines if "-one" in line] == []
            assert "timezone: '***' is not a time zone" in (runtime / "config.json").read_text()
            directory.change(timezone="UTC")
            service.process.send_signal(signal.SIGHUP)
            service.said("config.yaml was read again")
            until(lambda: "time zone" not in (runtime / "config.json").read_text())
            service.lines.clear()
    directory.change(timezone="${SINK_DB_PASSWORD}")
    with serving(directory) as service:
        assert "'***' is not a time zone" in service.said("time zone")
