"""Runs that are cancelled, tried again, run from a step on, paused: through the ledger and a service."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from etl_cli import Client
from etl_cli.runtime.errors import UsageError
from tests.support.copying import Make, leftovers, rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished, PipelineDirectory
from tests.support.programs import program
from tests.support.serving import ORDERS, Service, serving
from tests.support.slowing import filled, hurry, slow
from tests.support.source import Shards
from tests.support.waiting import until

WITHIN_S = 5.0
OVER = "ended before it was cancelled"


def manage(verb: str, directory: PipelineDirectory, *options: str) -> Finished:
    program = "from etl_cli.cli.manage import main; main()"
    command = [sys.executable, "-c", program, verb, str(directory.path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def slowed(shards: Shards) -> Iterator[Shards]:
    slow(filled(shards), rows_per_s=300)
    yield shards
    hurry(shards)


def ask_for_a_run(sink: SinkDatabase, directory: PipelineDirectory, *options: str) -> None:
    until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
    done = manage("run", directory, *options)
    assert done.code == 0, done.err


def cancelled_within(directory: PipelineDirectory) -> float:
    """How long a cancel takes until its run has ended."""
    began = time.monotonic()
    done = manage("cancel", directory)
    assert (done.code, done.out) == (0, "cancelled\n"), done.err
    return time.monotonic() - began


def states(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    return rows_of(sink, "SELECT state FROM etl.runs ORDER BY run_id")


def test_a_cancelled_read_ends_within_seconds_and_leaves_nothing(
    slowed: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    with serving(directory) as service:
        ask_for_a_run(sink, directory)
        until(lambda: rows_of(sink, "SELECT sum(rows) > 500 FROM etl.chunks") == [(True,)])
        assert cancelled_within(directory) < WITHIN_S + 1  # the command itself starts in less than one
        assert "cancels what runs" in service.said("cancels")
        assert states(sink) == [("cancelled",)]
        assert leftovers(sink) == []
        assert rows_of(sink, "SELECT answer FROM etl.requests ORDER BY 1") == [("cancelled",)] * 2
        assert manage("cancel", directory).code == 2
    with serving(directory) as service:  # nothing is resumed
        service.said("serving test")
        time.sleep(2)
    assert states(sink) == [("cancelled",)]


def test_a_cancel_holds_though_the_service_dies_before_it_answers(
    slowed: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    taken = (
        "INSERT INTO etl.requests (pipeline, verb, requested_by, taken_at, host)"
        " VALUES ('test', %s, 'somebody', clock_timestamp(), %s)"
    )
    host = socket.gethostname()
    with serving(directory) as service:
        ask_for_a_run(sink, directory)
        until(lambda: rows_of(sink, "SELECT sum(rows) > 500 FROM etl.chunks") == [(True,)])
        with sink.open() as connection:
            connection.execute(
                "INSERT INTO etl.slots (pipeline, due_at, host) VALUES ('test', clock_timestamp(), %s)", [host]
            )
            connection.execute(taken, ["cancel", host])
            connection.execute(taken, ["run", host])
        service.process.kill()
    hurry(slowed)
    with serving(directory) as service:
        service.said("request: run 2 succeeded")
    assert states(sink) == [("cancelled",), ("succeeded",)]
    answers = rows_of(sink, "SELECT verb, answer FROM etl.requests ORDER BY request_id")
    assert answers == [("run", "cancelled"), ("cancel", "cancelled"), ("run", "succeeded")], "the last came after it"
    assert rows_of(sink, "SELECT outcome FROM etl.slots") == [("cancelled",)]
    assert rows_of(sink, "SELECT error FROM etl.runs ORDER BY run_id") == [("cancelled by somebody",), (None,)]
    assert rows_of(sink, "SELECT count(*) FROM etl.chunks WHERE run_id = 2 AND attempt > 1") == [(0,)]
    assert leftovers(sink) == []


def test_a_cancel_is_withdrawn_when_its_caller_is_interrupted(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Nobody would wait for it any more, and it would cancel the next run."""
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"})
    assert manage("run", directory).code == 0
    program = "from etl_cli.cli.manage import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "cancel", str(directory.path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until(lambda: rows_of(sink, "SELECT 1 FROM etl.requests WHERE verb = 'cancel'"))
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=10)[1], process.returncode) == ("manage-pipeline: interrupted\n", 130)
    assert rows_of(sink, "SELECT answer FROM etl.requests WHERE verb = 'cancel'") == [("nobody took it",)]
    with serving(directory):
        until(lambda: states(sink) == [("succeeded",)])


FORGOTTEN = "INSERT INTO etl.requests (pipeline, verb, requested_by) VALUES ('test', 'cancel', 'somebody')"


def test_a_cancel_ends_no_run_that_was_asked_for_after_it(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Its caller was killed while nothing ran any more."""
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"})
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        with sink.open() as connection:
            connection.execute(FORGOTTEN)
        assert ", succeeded at " in manage("run", directory, "--wait").out
        service.said("somebody cancels nothing")
    assert rows_of(sink, "SELECT answer FROM etl.requests ORDER BY request_id") == [(OVER,), ("succeeded",)]


def test_a_cancel_ends_no_slot_that_was_taken_after_it(slowed: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200}, schedule="@every 3s")
    assert "was not paused" in manage("unpause", directory).out
    with sink.open() as connection:
        connection.execute(FORGOTTEN)
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT sum(rows) > 200 FROM etl.chunks") == [(True,)])
        assert rows_of(sink, "SELECT taken_at FROM etl.requests") == [(None,)], "nothing ran that it could end"
        with sink.open() as connection:
            connection.execute("SELECT pg_notify('etl_requests', 'test')")
        until(lambda: rows_of(sink, "SELECT answer FROM etl.requests") == [(OVER,)])
        assert states(sink) == [("running",)]
        assert cancelled_within(directory) < WITHIN_S + 1, "one that comes after it does"
        assert states(sink)[0] == ("cancelled",)


def test_a_request_that_no_service_knows_is_answered_after_a_crash_too(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"})
    assert manage("run", directory).code == 0
    with sink.open() as connection:
        connection.execute(
            "INSERT INTO etl.requests (pipeline, verb, requested_by, taken_at, host)"
            " VALUES ('test', 'dance', 'somebody', clock_timestamp(), %s)",
            [socket.gethostname()],
        )
        connection.execute("INSERT INTO etl.requests (pipeline, verb, requested_by) VALUES ('test', 'sing', 'me')")
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT count(*) FROM etl.requests WHERE answer IS NULL") == [(0,)])
    answers = rows_of(sink, "SELECT answer FROM etl.requests ORDER BY request_id")
    assert answers == [("succeeded",), ("this service does not know dance",), ("this service does not know sing",)]


STUCK = {
    "a Python step": "time.sleep(120)",
    "a SQL step": 'run.sink.execute("SELECT pg_sleep(120)")',
    "a step that ignores SIGTERM": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)",
}


@pytest.mark.parametrize("where", STUCK)
def test_a_cancelled_step_ends_within_seconds(where: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    body = f"import time\n\npipeline.copy()\n\n@pipeline.step(after=['copy'])\ndef slow(run):\n    {STUCK[where]}\n"
    directory = program(pipeline({"source": "dbo.orders"}), body)
    with serving(directory):
        ask_for_a_run(sink, directory)
        until(lambda: rows_of(sink, "SELECT state FROM etl.steps WHERE step = 'slow'") == [("running",)])
        time.sleep(1.5)
        assert cancelled_within(directory) < WITHIN_S + 1
        assert states(sink) == [("cancelled",)]
        asleep = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(120)%%' AND pid <> pg_backend_pid()"
        )
        until(lambda: rows_of(sink, asleep) == [(0,)], 10)


def test_a_cancelled_load_ends_within_seconds(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "id"})
    with sink.open() as connection:
        connection.execute("CREATE TABLE orders (id int, shard text, PRIMARY KEY (id, shard))")
        connection.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$"
        )
        connection.execute("CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()")
    with serving(directory):
        ask_for_a_run(sink, directory)
        until(lambda: rows_of(sink, "SELECT count(*) > 0 FROM etl.tasks WHERE state = 'running'") == [(True,)])
        time.sleep(1.5)
        assert cancelled_within(directory) < WITHIN_S + 1
        assert states(sink) == [("cancelled",)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(0,)]


def test_what_waits_for_a_retry_is_cancelled(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"}, error_handling={"retry_delay": "1h", "retry_timeout": "2h"})
    with serving(directory) as service:
        ask_for_a_run(sink, directory)
        service.said("try 2 in")
        assert cancelled_within(directory) < WITHIN_S + 1
    assert rows_of(sink, "SELECT answer FROM etl.requests ORDER BY 1") == [("cancelled",)] * 2


GRAPH = """
    @pipeline.step
    def first(run, factor=1):
        run.sink.execute("CREATE TABLE IF NOT EXISTS said (step text)")
        run.sink.execute("INSERT INTO said VALUES ('first')")
        return factor * 2

    @pipeline.step
    def second(run, first):
        run.sink.execute("INSERT INTO said VALUES ('second')")
        if first == 4:
            raise RuntimeError("not with two")
        return first + 1
"""


def said(sink: SinkDatabase) -> list[str]:
    return [step for (step,) in rows_of(sink, "SELECT step FROM said")]


def test_retry_rerun_show_and_wait(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = program(pipeline({"source": "dbo.orders"}, error_handling={"max_retries": 0}), GRAPH)
    with serving(directory):
        ask_for_a_run(sink, directory, "--wait", "--param", "factor=3")
        assert manage("retry", directory).code == 2, "there is nothing to retry"
        assert manage("rerun", directory, "1", "--from", "second", "--wait").code == 0
        assert said(sink) == ["first", "second", "second"]
        assert rows_of(sink, "SELECT result FROM etl.steps WHERE (run_id, step) = (2, 'second')") == [(7,)]
        assert rows_of(sink, "SELECT retry_of FROM etl.runs WHERE run_id = 2") == [(1,)]
        failed = manage("run", directory, "--wait", "--param", "factor=2")
        assert (failed.code, "run 3, failed at " in failed.out, 'step "second" failed' in failed.out) == (1, True, True)
        assert manage("retry", directory, "3", "--wait").code == 1
        assert said(sink)[3:] == ["first", "second", "second"], "a retry keeps what has succeeded"
        assert manage("retry", directory, "1").code == 2
        assert manage("rerun", directory, "99", "--from", "second", "--wait").code == 2
        assert manage("run", directory, "--step", "first", "--wait").code == 0
        assert said(sink)[6:] == ["first"]
        assert manage("wait", directory, "1").out.startswith("run 1, succeeded at ")
        assert manage("wait", directory, "3").code == 1
        assert manage("wait", directory, "999").code == 2
    shown = manage("show", directory, "3").out
    for wanted in ("3, failed", "asked by", "@", '{"factor": 2}', "second", "not with two", "dbo.orders"):
        assert wanted in shown, shown
    data = manage("show", directory, "1", "--json").data
    assert [step["step"] for step in data["steps"]] == ["copy", "first", "second"]
    assert (data["rows"], sum(task["rows_loaded"] for task in data["tasks"])) == (8, 8)
    assert [run["run_id"] for run in manage("history", directory, "--status", "failed", "--json").data][-1] == 3
    assert manage("show", directory, "999").code == 2


def test_slots_of_a_paused_pipeline_pass_and_are_counted(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"}, schedule="@every 2s")
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'"))
        assert "is paused" in manage("pause", directory).out
        assert "already" in manage("pause", directory).out
        until(lambda: rows_of(sink, "SELECT count(*) >= 2 FROM etl.slots WHERE outcome = 'paused'") == [(True,)])
        _nothing_runs_for(sink, service, 3)
        out = manage("unpause", directory).out
        assert "runs its slots again; " in out
        assert int(out.split("; ")[1].split()[0]) >= 2
        until(
            lambda: rows_of(
                sink,
                "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded' AND due_at >"
                " (SELECT max(due_at) FROM etl.slots WHERE outcome = 'paused')",
            )
        )
        assert "was not paused" in manage("unpause", directory).out


def _nothing_runs_for(sink: SinkDatabase, service: Service, seconds: float) -> None:
    until(lambda: rows_of(sink, "SELECT 1 FROM etl.runs WHERE state = 'running'") == [])
    before = states(sink)
    time.sleep(seconds)
    assert states(sink) == before


def test_a_request_that_nobody_takes_is_told(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = pipeline({"source": "dbo.orders"})
    assert "no service has taken it yet" in manage("run", directory).out
    with serving(directory):
        until(lambda: states(sink) == [("succeeded",)])


def test_a_program_asks_and_looks(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(*ORDERS)
    directory = program(pipeline({"source": "dbo.orders"}), GRAPH)
    client = Client(directory.path)
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        assert client.wait(client.run(params={"factor": 5})) == "succeeded"
        assert client.wait(client.rerun(1, "second")) == "succeeded"
        assert (client.pause(), client.pause(), client.unpause(), client.unpause()) == (True, False, 0, None)
        with pytest.raises(UsageError, match="nothing of test runs"):
            client.cancel()
    assert [(run.run_id, run.state) for run in client.history()] == [(2, "succeeded"), (1, "succeeded")]
    assert [(step.step, step.result) for step in client.show(2).steps][1:] == [("first", 10), ("second", 11)]
