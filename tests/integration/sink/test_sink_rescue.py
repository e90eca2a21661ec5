"""One run of a pipeline at a time, abandoned runs, and what they leave beside their targets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.heartbeat import EXPIRES_S, LOCK_CLASS, Heartbeat, hold, key, running
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, TaskId
from etl_cli.runtime.ledger.rescue import claim, drop_leftovers, end_sessions, rescue
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection, name_session
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.publishing import value, wait_until

DAY = 86_400.0


@pytest.fixture
def ledger(connection: SinkConnection) -> Ledger:
    ledger = Ledger(connection)
    ledger.register("orders", "7f3a9c1e")
    return ledger


@pytest.fixture
def other(sink: SinkDatabase, ledger: Ledger) -> Iterator[SinkConnection]:
    """The session of another run of the pipeline, on another host as it were."""
    assert ledger
    with sink.open("etl-cli orders") as connection:
        yield connection


def active_run(connection: SinkConnection) -> int:
    """A run that has claimed the pipeline and begun, over this session."""
    claim(connection, "orders")
    run_id = Ledger(connection).start_run("orders", "abc", Request("test"))
    name_session(connection, f"etl-cli orders run {run_id}")
    return run_id


def expire(connection: SinkConnection, run_id: int, seconds: float = EXPIRES_S + 1) -> None:
    """The run has not been heard of for so long."""
    connection.execute(
        "UPDATE etl.runs SET heartbeat_at = clock_timestamp() - make_interval(secs => %s) WHERE run_id = %s",
        [seconds, run_id],
    )


def state(connection: SinkConnection, run_id: int) -> str:
    return str(value(connection, f"SELECT state FROM etl.runs WHERE run_id = {run_id}"))


# claims


def test_a_pipeline_that_nobody_runs_is_claimed_and_may_be_claimed_again_by_the_same_session(
    ledger: Ledger, connection: SinkConnection
) -> None:
    assert ledger
    claim(connection, "orders")
    claim(connection, "orders")


def test_a_second_run_is_refused_with_the_first_ones_number_and_host(
    connection: SinkConnection, other: SinkConnection
) -> None:
    run_id = active_run(other)
    with pytest.raises(PlanError, match=rf"run {run_id} on \S+ of orders is active") as caught:
        claim(connection, "orders")
    assert "overlap: queue" in caught.value.remedy
    assert state(connection, run_id) == "running"


def test_a_run_that_is_only_about_to_begin_counts_as_well(connection: SinkConnection, other: SinkConnection) -> None:
    claim(other, "orders")
    with pytest.raises(PlanError, match="another run of orders is active"):
        claim(connection, "orders")


def test_other_pipelines_do_not_wait_for_each_other(connection: SinkConnection, other: SinkConnection) -> None:
    active_run(other)
    claim(connection, "others")


def test_with_allow_nobody_is_asked(connection: SinkConnection, other: SinkConnection) -> None:
    active_run(other)
    claim(connection, "orders", "allow")


def test_with_queue_a_run_waits_for_the_end_of_the_one_before_it(
    sink: SinkDatabase, connection: SinkConnection, other: SinkConnection
) -> None:
    active_run(other)
    before = value(connection, "SHOW lock_timeout")
    with ThreadPoolExecutor(1) as thread, sink.connect(SUPERUSER) as admin:
        waiting = thread.submit(claim, connection, "orders", "queue")
        wait_until(lambda: value(admin, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1)
        assert not waiting.done()
        other.close()
        waiting.result(10)
    assert value(connection, "SHOW lock_timeout") == before


def test_a_claim_ends_with_its_session(connection: SinkConnection, other: SinkConnection) -> None:
    run_id = active_run(other)
    other.close()
    claim(connection, "orders", "queue")
    assert rescue(connection, "orders") == [run_id]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_run_whose_heartbeat_has_expired_does_not_count_and_its_sessions_are_ended(
    connection: SinkConnection, other: SinkConnection, overlap: str
) -> None:
    """A host that vanished keeps its session for as long as the server believes in the connection."""
    run_id = active_run(other)
    expire(connection, run_id)
    claim(connection, "orders", overlap)
    with pytest.raises(psycopg.OperationalError):
        other.execute("SELECT 1")
    assert rescue(connection, "orders") == [run_id]
    assert state(connection, run_id) == "interrupted"


def test_a_run_that_was_heard_of_lately_is_left_alone(connection: SinkConnection, other: SinkConnection) -> None:
    run_id = active_run(other)
    expire(connection, run_id, EXPIRES_S - 20)
    with pytest.raises(PlanError, match=f"run {run_id}"):
        claim(connection, "orders")
    assert value(other, "SELECT 1") == 1


# heartbeats


def test_a_run_that_begins_is_heard_of_and_holds_its_lock(connection: SinkConnection, other: SinkConnection) -> None:
    run_id = active_run(other)
    expire(connection, run_id)
    hold(other, run_id)
    (found,) = running(connection, "orders")
    assert (found.run_id, found.expired) == (run_id, False)
    free = f"SELECT pg_try_advisory_lock({LOCK_CLASS}, {key(run_id)})"
    assert value(connection, free) is False


def test_the_heartbeat_is_renewed_while_the_run_lives_and_ends_with_it(
    connection: SinkConnection, other: SinkConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl_cli.runtime.ledger.heartbeat.INTERVAL_S", 0.01)
    run_id = active_run(other)
    with Heartbeat(lambda: other, run_id) as heartbeat:
        expire(connection, run_id)
        wait_until(lambda: not running(connection, "orders")[0].expired)
    assert not heartbeat._thread.is_alive()
    expire(connection, run_id)
    assert running(connection, "orders")[0].expired


def test_a_heartbeat_over_a_lost_connection_is_silent(
    connection: SinkConnection, other: SinkConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever uses the connection next tells."""
    monkeypatch.setattr("etl_cli.runtime.ledger.heartbeat.INTERVAL_S", 0.01)
    run_id = active_run(other)
    with Heartbeat(lambda: other, run_id) as heartbeat:
        end_sessions(connection, run_id)
        heartbeat._thread.join(0.1)
        assert heartbeat._thread.is_alive()


def test_only_runs_that_the_ledger_calls_running_are_running(ledger: Ledger, connection: SinkConnection) -> None:
    first, second = (ledger.start_run("orders", "abc", Request("test")) for _ in range(2))
    ledger.finish_run(first, "failed")
    assert [run.run_id for run in running(connection, "orders")] == [second]
    assert running(connection, "others") == []


# rescue


def test_a_run_that_lives_is_not_rescued_unless_it_has_expired(
    connection: SinkConnection, other: SinkConnection
) -> None:
    run_id = active_run(other)
    assert rescue(connection, "orders") == []
    expire(connection, run_id)
    assert rescue(connection, "orders") == [run_id]
    assert state(connection, run_id) == "interrupted"
    with pytest.raises(psycopg.OperationalError):
        other.execute("SELECT 1")


def test_what_a_dead_run_had_done_stays_done(ledger: Ledger, connection: SinkConnection, sink: SinkDatabase) -> None:
    with sink.open() as dead:
        run_id = Ledger(dead).start_run("orders", "abc", Request("test"))
        tasks = {
            state: TaskId(run_id, f"dbo.{state}", "shard1")
            for state in ("queued", "running", "loaded", "applied", "failed")
        }
        Ledger(dead).add_tasks([NewTask(task, "public.x", "replace", {}, None) for task in tasks.values()])
        dead.execute("UPDATE etl.tasks SET state = substr(source_table, 5)")
    wait_until(lambda: rescue(connection, "orders") == [run_id])
    found: dict[str, str] = dict(connection.execute("SELECT substr(source_table, 5), state FROM etl.tasks").fetchall())
    assert found == {
        "queued": "cancelled",
        "running": "cancelled",
        "loaded": "loaded",
        "applied": "applied",
        "failed": "failed",
    }
    last = ledger.last_run("orders")
    assert last is not None
    assert (last.run_id, last.state, last.attempt) == (run_id, "interrupted", 1)


# leftovers


def ended(ledger: Ledger, *tables: str, state: str = "interrupted", pipeline: str = "orders") -> tuple[int, list[str]]:
    """An ended run with one shadow for each of its tables."""
    run_id = ledger.start_run(pipeline, "abc", Request("test"))
    names = [f"{table.partition('.')[2]}__etl_{run_id}_{number}" for number, table in enumerate(tables)]
    ledger.add_tasks(
        [
            NewTask(TaskId(run_id, table, "shard1"), "public.x", "replace", {}, f"public.{name}")
            for table, name in zip(tables, names, strict=True)
        ]
    )
    for name in names:
        ledger._connection.execute(f"CREATE TABLE public.{name} ()")
    if state != "running":
        ledger.finish_run(run_id, state)
    return run_id, names


def left(connection: SinkConnection) -> list[str]:
    rows = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE '%\\_\\_etl\\_%' ORDER BY 1").fetchall()
    return [name for (name,) in rows]


def test_a_newer_run_of_a_table_drops_what_ended_runs_left_beside_it(
    ledger: Ledger, connection: SinkConnection
) -> None:
    _, failed = ended(ledger, "dbo.orders", state="failed")
    _, interrupted = ended(ledger, "dbo.orders")
    dropped = drop_leftovers(connection, "orders", ["dbo.orders"], [], DAY)
    assert sorted(dropped) == sorted(failed + interrupted)
    assert left(connection) == []
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], DAY) == []


def test_what_a_resumption_goes_on_with_is_kept(ledger: Ledger, connection: SinkConnection) -> None:
    _, old = ended(ledger, "dbo.orders", state="failed")
    _, mine = ended(ledger, "dbo.orders", "dbo.items")
    keep = [f"public.{name}" for name in mine]
    assert drop_leftovers(connection, "orders", ["dbo.orders", "dbo.items"], keep, 0) == old
    assert left(connection) == sorted(mine)


def test_a_table_of_that_name_in_another_schema_is_not_the_one_that_is_kept(
    ledger: Ledger, connection: SinkConnection
) -> None:
    _, (name,) = ended(ledger, "dbo.orders")
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [f"etl.{name}"], DAY) == [name]


def test_what_belongs_to_other_tables_is_kept_until_its_time_has_passed(
    ledger: Ledger, connection: SinkConnection
) -> None:
    run_id, (orders, items) = ended(ledger, "dbo.orders", "dbo.items")
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], DAY) == [orders]
    assert left(connection) == [items]
    connection.execute("UPDATE etl.runs SET finalized_at = finalized_at - interval '25h' WHERE run_id = %s", [run_id])
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], DAY) == [items]
    assert left(connection) == []


def test_a_table_that_several_shards_load_is_kept_for_each_of_them(ledger: Ledger, connection: SinkConnection) -> None:
    run_id, (items,) = ended(ledger, "dbo.items", state="running")
    second = TaskId(run_id, "dbo.items", "shard2")
    ledger.add_tasks([NewTask(second, "public.x", "replace", {}, f"public.{items}")])
    ledger.finish_run(run_id, "interrupted")
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], DAY) == []


def test_what_an_active_run_works_on_is_never_dropped(ledger: Ledger, connection: SinkConnection) -> None:
    _, (name,) = ended(ledger, "dbo.orders", state="running")
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], 0) == []
    assert left(connection) == [name]


def test_what_an_active_run_took_over_from_a_failed_one_is_never_dropped(
    ledger: Ledger, connection: SinkConnection
) -> None:
    failed, (name,) = ended(ledger, "dbo.orders", state="failed")
    ledger.take_over(failed, ledger.start_run("orders", "abc", Request("test")))
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], 0) == []
    assert left(connection) == [name]


def test_other_pipelines_and_other_owners_keep_their_tables(
    sink: SinkDatabase, ledger: Ledger, connection: SinkConnection
) -> None:
    ledger.register("others", "00000000")
    run_id, _ = ended(ledger)
    _, (theirs,) = ended(ledger, "dbo.orders", pipeline="others")
    foreign = f"foreign__etl_{run_id}_0"
    with sink.connect(SUPERUSER) as admin:
        admin.execute(f"CREATE TABLE public.{foreign} ()")
    connection.execute(f"CREATE VIEW public.view__etl_{run_id}_0 AS SELECT 1; CREATE TABLE public.x__etl_999_0 ()")
    assert drop_leftovers(connection, "orders", ["dbo.orders"], [], 0) == []
    assert left(connection) == sorted([theirs, foreign, f"view__etl_{run_id}_0", "x__etl_999_0"])


def test_whoever_still_writes_into_a_leftover_is_ended_first(
    sink: SinkDatabase, ledger: Ledger, connection: SinkConnection
) -> None:
    """A client that dies does not stop its statement."""
    run_id, (name,) = ended(ledger, "dbo.orders")
    with sink.open(f"etl-cli orders run {run_id} dbo.orders shard1") as stream:
        stream.execute("BEGIN")
        stream.execute(f"LOCK TABLE public.{name}")
        assert drop_leftovers(connection, "orders", ["dbo.orders"], [], 0) == [name]
        with pytest.raises(psycopg.OperationalError):
            stream.execute("SELECT 1")
