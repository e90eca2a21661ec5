"""The ledger: made once whoever comes first, and true about runs, tasks and chunks."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from etl_cli.runtime.errors import PlanError, SinkError
from etl_cli.runtime.ledger.chunks import (
    ChunkId,
    ChunkTakenError,
    Committed,
    Held,
    SupersededError,
    begin_chunk,
    checksums_of,
    committed,
    complete_chunk,
)
from etl_cli.runtime.ledger.heartbeat import hold
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, PastRun, RunTotals, TaskEnd, TaskId, record_applied
from etl_cli.runtime.ledger.migrate import _LOCK, migrate, migrations
from etl_cli.runtime.ledger.rejects import Reject, record_rejects
from etl_cli.runtime.ledger.rescue import drop_leftovers, rescue
from etl_cli.runtime.ledger.watermarks import WatermarkId, move_watermark, own_watermark
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.merge import Counts
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.publishing import value, wait_until


@pytest.fixture
def ledger(connection: SinkConnection) -> Ledger:
    ledger = Ledger(connection)
    ledger.register("orders", "7f3a9c1e")
    return ledger


@pytest.fixture
def task(ledger: Ledger) -> TaskId:
    """A queued task of a running run."""
    task = TaskId(ledger.start_run("orders", "fingerprint", Request("test")), "dbo.orders", "shard1")
    ledger.add_tasks([new(task)])
    return task


def new(task: TaskId, target: str = "public.orders", shadow: str | None = None) -> NewTask:
    """A task of mode replace that reads everything."""
    return NewTask(task, target, "replace", {"windows": [{}], "version": None}, shadow)


def end(rows: int, *, size: int = 1, counted: int | None = None, note: str | None = None) -> TaskEnd:
    """Of a task that has read and loaded that many rows."""
    return TaskEnd(Moved(rows, rows, size), counted, "snapshot", [note] if note else [])


def row(connection: SinkConnection, table: str, columns: str) -> tuple[Any, ...]:
    found = connection.execute(f"SELECT {columns} FROM etl.{table}").fetchall()
    assert len(found) == 1
    return found[0]


# migrations


def test_the_ledger_is_made_from_nothing(connection: SinkConnection) -> None:
    migrate(connection)
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'etl' ORDER BY 1").fetchall()
    assert {name for (name,) in tables} >= {"migrations", "pipelines", "runs", "tasks", "chunks"}
    assert value(connection, "SELECT max(version) FROM etl.migrations") == migrations()[-1][0]


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [version for version, _, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_making_it_twice_changes_nothing(connection: SinkConnection) -> None:
    migrate(connection)
    before = connection.execute("SELECT * FROM etl.migrations").fetchall()
    migrate(connection)
    assert connection.execute("SELECT * FROM etl.migrations").fetchall() == before


def test_five_that_come_at_once_make_it_once(sink: SinkDatabase) -> None:
    def make(_: int) -> None:
        with sink.open() as connection:
            migrate(connection)

    with sink.connect() as first, ThreadPoolExecutor(5) as threads:
        with first.transaction():
            first.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            others = [threads.submit(make, number) for number in range(5)]
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_until(lambda: value(first, waiting) == 5)
        for other in others:
            other.result(10)
    with sink.connect() as connection:
        assert value(connection, "SELECT count(*) FROM etl.migrations") == len(migrations())


def test_a_schema_of_that_name_that_was_there_is_used(connection: SinkConnection) -> None:
    connection.execute("CREATE SCHEMA etl")
    migrate(connection)
    assert value(connection, "SELECT count(*) FROM etl.runs") == 0


def test_a_newer_ledger_is_refused_with_the_remedy(connection: SinkConnection) -> None:
    migrate(connection)
    connection.execute("INSERT INTO etl.migrations (version, name) VALUES (999, '999_future')")
    with pytest.raises(
        SinkError, match=r"the ledger has version 999, this program knows \d+: update etl-cli on this host"
    ):
        migrate(connection)


def test_a_user_without_the_right_is_told_the_grant(sink: SinkDatabase) -> None:
    reader = sink.role("reader")
    with psycopg.connect(
        host=sink.host, port=sink.port, user=reader, password=sink.password, dbname=sink.database, autocommit=True
    ) as connection:
        with pytest.raises(SinkError, match="permission denied for database") as caught:
            migrate(connection)
        assert caught.value.remedy == f'GRANT CREATE ON DATABASE "{sink.database}" TO "{reader}"'


def test_a_failed_migration_leaves_nothing(connection: SinkConnection, sink: SinkDatabase) -> None:
    with sink.connect(SUPERUSER) as other:
        other.execute("CREATE SCHEMA etl AUTHORIZATION etl_user")
        other.execute("CREATE TABLE etl.tasks ()")  # in the way of the first migration
    with pytest.raises(SinkError, match="preparing the ledger"):
        migrate(connection)
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'etl'").fetchall()
    assert tables == [("tasks",)]


# pipelines and runs


def test_a_pipeline_registers_as_often_as_it_likes(ledger: Ledger, connection: SinkConnection) -> None:
    ledger.register("orders", "7f3a9c1e")
    assert row(connection, "pipelines", "name, id") == ("orders", "7f3a9c1e")


def test_a_second_id_under_a_name_is_refused(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"another pipeline named orders \(id 7f3a9c1e\) uses this sink") as caught:
        ledger.register("orders", "00000000")
    assert "is this directory a copy?" in caught.value.remedy


def test_of_two_ids_that_come_at_once_one_is_refused(sink: SinkDatabase) -> None:
    with sink.open() as connection:
        migrate(connection)
    together = threading.Barrier(4)

    def register(number: int) -> str:
        with sink.open() as connection:
            ledger = Ledger(connection)
            together.wait()
            try:
                ledger.register("orders", f"{number:08d}")
            except PlanError:
                return "refused"
            return "taken"

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(register, range(4))) == ["refused"] * 3 + ["taken"]


def test_a_run_knows_who_asked_for_it_and_what_it_was(ledger: Ledger, connection: SinkConnection) -> None:
    run_id = ledger.start_run("orders", "abc", Request("command"))
    columns = "run_id, pipeline, state, requested_by, fingerprint, attempt, attempted_at IS NOT NULL, finalized_at"
    assert row(connection, "runs", columns) == (run_id, "orders", "running", "command", "abc", 1, True, None)


def test_a_run_of_an_unknown_pipeline_is_refused(ledger: Ledger) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        ledger.start_run("unknown", "abc", Request("command"))


def test_the_totals_of_a_run_are_the_sums_of_its_tasks(ledger: Ledger, connection: SinkConnection) -> None:
    run_id = ledger.start_run("orders", "abc", Request("command"))
    tasks = [TaskId(run_id, table, shard) for table in ("dbo.a", "dbo.b") for shard in ("shard1", "shard2")]
    ledger.add_tasks([new(task, "public.x") for task in tasks])
    for number, task in enumerate(tasks, 1):
        ledger.task_started(task)
        moved = Moved(10 * number, 10 * number - 1, 1000)
        ledger.task_loaded(task, TaskEnd(moved, None, "snapshot"), visible=False)
    assert ledger.finish_run(run_id, "succeeded") == RunTotals(100, 96, 4000)
    assert row(connection, "runs", "state, rows_read, rows_loaded, bytes, error, finalized_at IS NOT NULL") == (
        *("succeeded", 100, 96, 4000, None, True),
    )


def test_a_run_without_tasks_ends_with_zeros(ledger: Ledger) -> None:
    run_id = ledger.start_run("orders", "abc", Request("command"))
    assert ledger.finish_run(run_id, "failed", "nothing to do") == RunTotals(0, 0, 0)


def test_a_task_goes_from_queued_to_applied(ledger: Ledger, connection: SinkConnection, task: TaskId) -> None:
    seen = [row(connection, "tasks", "state")[0]]
    ledger.task_started(task)
    seen.append(row(connection, "tasks", "state")[0])
    ledger.task_loaded(task, end(5, size=99, counted=5, note="a note"), visible=False)
    seen.append(row(connection, "tasks", "state")[0])
    record_applied(connection, task.run_id, "dbo.orders", ["shard1"])
    seen.append(row(connection, "tasks", "state")[0])
    assert seen == ["queued", "running", "loaded", "applied"]
    assert row(connection, "tasks", "rows_counted, rows_read, rows_loaded, bytes, isolation, note") == (
        *(5, 5, 5, 99, "snapshot", "a note"),
    )


@pytest.mark.parametrize(("cancelled", "state"), [(False, "failed"), (True, "cancelled")])
def test_a_task_that_fails_says_why(
    ledger: Ledger, connection: SinkConnection, task: TaskId, cancelled: bool, state: str
) -> None:
    ledger.task_started(task)
    ledger.task_failed(task, "it broke", cancelled=cancelled)
    assert row(connection, "tasks", "state, error, finalized_at IS NOT NULL") == (state, "it broke", True)


def test_what_has_not_ended_with_the_run_is_cancelled_with_it(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    ledger.finish_run(task.run_id, "interrupted")
    assert row(connection, "tasks", "state, finalized_at IS NOT NULL") == ("cancelled", True)


def test_only_loaded_tasks_of_that_table_and_run_become_applied(ledger: Ledger, connection: SinkConnection) -> None:
    run_id, other = (ledger.start_run("orders", "abc", Request("test")) for _ in range(2))
    loaded = [TaskId(run_id, "dbo.a", "shard1"), TaskId(run_id, "dbo.b", "shard1"), TaskId(other, "dbo.a", "shard1")]
    failed = TaskId(run_id, "dbo.a", "shard2")
    ledger.add_tasks([new(task, "public.a") for task in [*loaded, failed]])
    for task in loaded:
        ledger.task_loaded(task, end(1, counted=1), visible=False)
    ledger.task_failed(failed, "broke")
    record_applied(connection, run_id, "dbo.a", ["shard1", "shard2"])
    states = connection.execute("SELECT run_id, source_table, shard, state FROM etl.tasks ORDER BY 1, 2, 3").fetchall()
    assert [state for *_, state in states] == ["applied", "failed", "loaded", "loaded"]


def test_an_unknown_state_is_refused(ledger: Ledger, task: TaskId) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.finish_run(task.run_id, "fine")


def test_a_task_whose_chunks_were_visible_at_once_is_applied_with_its_counts(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    moved = Moved(9, 8, 7, rows_rejected=1, rows_inserted=4, rows_updated=3, rows_deleted=2)
    ledger.task_loaded(task, TaskEnd(moved, 9, "snapshot", (), {"id": (9, 10**18)}), visible=True)
    columns = "state, rows_inserted, rows_updated, rows_deleted, rows_rejected, checksums"
    assert row(connection, "tasks", columns) == ("applied", 4, 3, 2, 1, {"id": [9, 10**18]})


def test_only_the_shards_that_became_visible_are_applied(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    other = TaskId(task.run_id, "dbo.orders", "shard2")
    ledger.add_tasks([new(other)])
    for loaded in (task, other):
        ledger.task_loaded(loaded, end(1), visible=False)
    record_applied(connection, task.run_id, "dbo.orders", ["shard2"])
    states = connection.execute("SELECT shard, state FROM etl.tasks ORDER BY 1").fetchall()
    assert states == [("shard1", "loaded"), ("shard2", "applied")]


# going on with a run


def test_the_last_run_of_a_pipeline_is_its_newest_with_the_time_since_its_end(ledger: Ledger) -> None:
    assert ledger.last_run("orders") is None
    ledger.start_run("orders", "first", Request("test"))
    run_id = ledger.start_run("orders", "second", Request("test", full=True))
    ledger.finish_run(run_id, "failed")
    last = ledger.last_run("orders")
    assert last is not None
    assert 0 <= last.age_s < 60
    assert last == PastRun(run_id, "failed", 1, "second", True, True, last.age_s)


def test_a_resumed_run_is_the_same_run_in_another_attempt_and_queues_what_had_not_ended(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    shards = {"shard2": "loaded", "shard3": "applied", "shard4": "failed"}
    others = {shard: TaskId(task.run_id, "dbo.orders", shard) for shard in shards}
    ledger.add_tasks([new(other, shadow="public.orders__etl_1_0") for other in others.values()])
    for shard, state in shards.items():
        if state == "failed":
            ledger.task_failed(others[shard], "broke")
        else:
            ledger.task_loaded(others[shard], end(7), visible=state == "applied")
    ledger.finish_run(task.run_id, "interrupted", "stopped")
    assert ledger.resume_run(task.run_id) == 2
    columns = "state, attempt, error, finalized_at"
    assert row(connection, "runs", columns) == ("running", 2, None, None)
    past = ledger.tasks_of(task.run_id)
    assert {shard: found.state for (_, shard), found in past.items()} == {
        "shard1": "queued",
        "shard2": "loaded",
        "shard3": "applied",
        "shard4": "queued",
    }
    loaded = past["dbo.orders", "shard2"]
    assert (loaded.totals, loaded.shadow) == (RunTotals(7, 7, 1), "public.orders__etl_1_0")
    assert loaded.windows == {"windows": [{}], "version": None}
    assert row(connection, "tasks WHERE shard = 'shard4'", "error, finalized_at") == (None, None)


@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_only_an_interrupted_run_is_resumed(
    ledger: Ledger, connection: SinkConnection, task: TaskId, state: str
) -> None:
    if state != "running":
        ledger.finish_run(task.run_id, state)
    with pytest.raises(AssertionError):
        ledger.resume_run(task.run_id)
    assert row(connection, "runs", "state, attempt") == (state, 1)


def test_a_retry_is_a_run_of_its_own_with_the_failed_ones_chunks_rejects_and_watermarks(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    loaded = TaskId(task.run_id, "dbo.orders", "shard2")
    ledger.add_tasks([new(loaded, shadow="public.orders__etl_1_0")])
    ledger.task_loaded(loaded, end(3), visible=False)
    with connection.transaction():
        begin_chunk(connection, ChunkId(task, 0, ""), 1)
        complete_chunk(connection, ChunkId(task, 0, ""), 1, '["5"]', Held(5, 5, 9))
    record_rejects(connection, task, [Reject({"id": "4"}, "name", "too long")])
    mark = WatermarkId("orders", "dbo.orders", "shard1")
    move_watermark(connection, mark, "id", ["5"], scope="x", before=None, run_id=task.run_id)
    ledger.task_failed(task, "broke")
    ledger.finish_run(task.run_id, "failed")
    run_id = ledger.start_run("orders", "fingerprint", Request("test"))
    ledger.take_over(task.run_id, run_id)
    assert row(connection, f"runs WHERE run_id = {run_id}", "retry_of, state") == (task.run_id, "running")
    mine = TaskId(run_id, "dbo.orders", "shard1")
    assert committed(connection, mine, 0) == Committed(1, ("5",), Held(5, 5, 9))
    assert committed(connection, task, 0) == Committed()
    assert row(connection, "rejects", "run_id") == (run_id,)
    assert own_watermark(connection, mark, run_id) == ("5",)
    past = ledger.tasks_of(run_id)
    assert [past["dbo.orders", shard].state for shard in ("shard1", "shard2")] == ["queued", "loaded"]
    assert ledger.tasks_of(task.run_id)["dbo.orders", "shard1"].state == "failed", "the failed run stays as it was"


# chunks


def test_a_chunk_holds_what_it_was_completed_with(connection: SinkConnection, task: TaskId) -> None:
    with connection.transaction():
        begin_chunk(connection, ChunkId(task, 0, ""), 1)
        complete_chunk(connection, ChunkId(task, 0, ""), 1, '["5"]', Held(6, 5, 99))
    assert row(
        connection, "chunks", "stream, after_key, last_key, attempt, rows_read, rows, bytes, committed_at IS NOT NULL"
    ) == (*(0, "", '["5"]', 1, 6, 5, 99, True),)


def test_a_chunk_that_is_committed_cannot_be_claimed_again(connection: SinkConnection, task: TaskId) -> None:
    begin_chunk(connection, ChunkId(task, 0, '["5"]'), 1)
    with pytest.raises(SinkError, match=r"dbo\.orders of shard1: another attempt has committed this chunk"):
        begin_chunk(connection, ChunkId(task, 0, '["5"]'), 2)
    begin_chunk(connection, ChunkId(task, 1, '["5"]'), 2)
    begin_chunk(connection, ChunkId(task, 0, '["6"]'), 2)


def test_of_two_attempts_at_a_chunk_the_second_waits_and_is_refused(sink: SinkDatabase, task: TaskId) -> None:
    chunk = ChunkId(task, 0, "")
    with sink.open() as first, sink.open() as second, ThreadPoolExecutor(1) as thread:
        with first.transaction():
            begin_chunk(first, chunk, 1)
            attempt = thread.submit(begin_chunk, second, chunk, 2)
            with pytest.raises(TimeoutError):
                attempt.result(0.3)
        with pytest.raises(SinkError, match="another attempt has committed this chunk"):
            attempt.result(5)


def test_a_chunk_whose_first_attempt_rolled_back_is_free(sink: SinkDatabase, task: TaskId) -> None:
    chunk = ChunkId(task, 0, "")
    with sink.open() as first, sink.open() as second, ThreadPoolExecutor(1) as thread:
        with first.transaction(force_rollback=True):
            begin_chunk(first, chunk, 1)
            attempt = thread.submit(begin_chunk, second, chunk, 2)
            with pytest.raises(TimeoutError):
                attempt.result(0.3)
        attempt.result(5)
        assert row(second, "chunks", "attempt") == (2,)


def test_a_chunk_of_an_unknown_task_is_refused(connection: SinkConnection, task: TaskId) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        begin_chunk(connection, ChunkId(TaskId(task.run_id, "dbo.other", "shard1"), 0, ""), 1)


def chunk(
    connection: SinkConnection, task: TaskId, number: int, last_key: str | None, held: Held, *, stream: int = 0
) -> None:
    """A committed chunk; the one before it ended at key `number`."""
    identity = ChunkId(task, stream, json.dumps([str(number)]) if number else "", number)
    with connection.transaction():
        begin_chunk(connection, identity, 1)
        complete_chunk(connection, identity, 1, last_key, held, {"id": (number, number)} if number else None)


def test_a_stream_that_has_not_begun_has_come_nowhere(connection: SinkConnection, task: TaskId) -> None:
    assert committed(connection, task, 0) == Committed(0, (), Held())
    assert checksums_of(connection, task, 0) == []


def test_how_far_a_stream_has_come_is_the_end_of_its_last_chunk_and_the_sums_of_all(
    connection: SinkConnection, task: TaskId
) -> None:
    held = Held(10, 9, 100, 1, Counts(4, 3, 2))
    for number, last in enumerate(['["9", "b"]', '["10", "a"]', '["100", "é"]']):  # as texts "9" would be the highest
        chunk(connection, task, number, last, held)
    chunk(connection, task, 0, '["7", "x"]', Held(1), stream=1)
    assert committed(connection, task, 0) == Committed(3, ("100", "é"), held + held + held)
    assert committed(connection, task, 1) == Committed(1, ("7", "x"), Held(1))
    assert sorted(found["id"] for found in checksums_of(connection, task, 0)) == [[1, 1], [2, 2]]


def test_a_chunk_of_a_table_without_order_has_no_end(connection: SinkConnection, task: TaskId) -> None:
    chunk(connection, task, 0, None, Held(3, 3, 3))
    assert committed(connection, task, 0) == Committed(1, (), Held(3, 3, 3))


def _commit_too_late(former: SinkConnection, identity: ChunkId, ledger: Ledger) -> None:
    with former.transaction():
        begin_chunk(former, identity, 1)
        former.execute("CREATE TABLE public.rows_of_the_former_attempt ()")
        ledger.finish_run(identity.task.run_id, "interrupted")
        ledger.resume_run(identity.task.run_id)
        complete_chunk(former, identity, 1, '["5"]', Held(5, 5, 5))


def test_a_former_attempt_cannot_commit_once_a_later_one_has_begun(
    sink: SinkDatabase, ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    """Traps 2 and 20: of an attempt that was taken for dead nothing comes any more."""
    identity = ChunkId(task, 0, "")
    with sink.open() as former, pytest.raises(SupersededError, match="was taken for dead, or a later one has begun"):
        _commit_too_late(former, identity, ledger)
    assert committed(connection, task, 0) == Committed()
    assert value(connection, "SELECT to_regclass('public.rows_of_the_former_attempt') IS NULL")
    with connection.transaction():
        begin_chunk(connection, identity, 2)
        complete_chunk(connection, identity, 2, '["5"]', Held(5, 5, 5))
    assert row(connection, "chunks", "attempt") == (2,)


def test_a_former_attempt_cannot_commit_into_a_run_that_was_retried(
    ledger: Ledger, connection: SinkConnection, task: TaskId
) -> None:
    ledger.finish_run(task.run_id, "failed")
    run_id = ledger.start_run("orders", "fingerprint", Request("test"))
    ledger.take_over(task.run_id, run_id)
    chunk(connection, TaskId(run_id, "dbo.orders", "shard1"), 0, '["5"]', Held(5, 5, 5))
    with pytest.raises(ChunkTakenError):
        begin_chunk(connection, ChunkId(TaskId(run_id, "dbo.orders", "shard1"), 0, ""), 2)


# abandoned runs


def nobody_holds_a_run(connection: SinkConnection) -> bool:
    """Whether the server has noticed that the sessions of runs have ended."""
    return bool(value(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0)


def test_a_run_whose_session_has_ended_is_found_and_tidied(sink: SinkDatabase, connection: SinkConnection) -> None:
    with sink.open() as dead:
        ledger = Ledger(dead)
        ledger.register("orders", "7f3a9c1e")
        run_id = ledger.start_run("orders", "abc", Request("test"))
        hold(dead, run_id)
        ledger.add_tasks([new(TaskId(run_id, "dbo.orders", "shard1"))])
        dead.execute(f'CREATE TABLE public."a b__etl_{run_id}_0" (); CREATE TABLE etl.x__etl_{run_id}_1 ()')
        dead.execute(f"CREATE TABLE public.x__etl_{run_id}_0_mine (); CREATE TABLE public.x__etl_{run_id}9_0 ()")
        assert rescue(connection, "orders") == []
        assert drop_leftovers(connection, "orders", ["dbo.orders"], [], 0) == []
    wait_until(lambda: nobody_holds_a_run(connection))
    assert rescue(connection, "orders") == [run_id]
    assert rescue(connection, "orders") == []
    assert row(connection, "runs", "state, error") == ("interrupted", "the process ended without a word")
    assert row(connection, "tasks", "state") == ("cancelled",)
    everything = "SELECT relname FROM pg_class WHERE relname LIKE '%\\_\\_etl\\_%' ORDER BY 1"
    assert len(connection.execute(everything).fetchall()) == 4, "a resumption would go on with them"
    dropped = drop_leftovers(connection, "orders", ["dbo.orders"], [], 0)
    assert sorted(dropped) == [f"a b__etl_{run_id}_0", f"x__etl_{run_id}_1"]
    left = connection.execute(everything).fetchall()
    assert left == [(f"x__etl_{run_id}9_0",), (f"x__etl_{run_id}_0_mine",)]


def test_the_streams_of_a_dead_run_are_ended_and_no_others(sink: SinkDatabase, connection: SinkConnection) -> None:
    with sink.open() as dead:
        ledger = Ledger(dead)
        ledger.register("orders", "7f3a9c1e")
        run_id = ledger.start_run("orders", "abc", Request("test"))
    with (
        sink.open(f"etl-cli orders run {run_id} dbo.orders shard1") as stream,
        sink.open(f"etl-cli orders run {run_id}1 dbo.orders shard1") as other,
    ):
        wait_until(lambda: nobody_holds_a_run(connection))
        assert rescue(connection, "orders") == [run_id]
        with pytest.raises(psycopg.errors.AdminShutdown):
            stream.execute("SELECT 1")
        assert value(other, "SELECT 1") == 1


def test_the_runs_of_other_pipelines_are_left_alone(ledger: Ledger, connection: SinkConnection) -> None:
    ledger.register("others", "00000000")
    ledger.start_run("others", "abc", Request("test"))
    assert rescue(connection, "orders") == []


def test_a_run_that_has_just_begun_is_never_taken_for_dead(sink: SinkDatabase, connection: SinkConnection) -> None:
    ledger = Ledger(connection)
    ledger.register("orders", "7f3a9c1e")
    run_id = ledger.start_run("orders", "abc", Request("test"))
    with sink.open() as other:
        assert rescue(other, "orders") == []
    hold(connection, run_id)
