"""Readers see the old rows or the new ones, never between, whatever their isolation level."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed

import pytest

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import publish as publishing
from etl_cli.runtime.sink import swap as swapping
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink
from etl_cli.runtime.sink.publish import publish
from etl_cli.runtime.sink.shadow import create_shadow, shadow_of
from tests.support.database import SinkDatabase
from tests.support.orders import DIFFERENCE, NEW, OLD, PLAN
from tests.support.plans import table_plan
from tests.support.publishing import insert, load, no_record, planned, replace, rows_of, value, wait_until
from tests.support.readers import Poller, reading

pytestmark = pytest.mark.usefixtures("target")

ROWS = 300
WHOLE = "SELECT count(*), min(total), max(total), count(DISTINCT id) FROM orders"


def version(number: int) -> list[tuple[int, str, int]]:
    """A content that differs from every other in the number of its rows and in each of them."""
    return [(id_, f"row {id_}", number) for id_ in range(ROWS + number)]


def is_whole(row: tuple[int, ...]) -> bool:
    """Whether what a reader saw of WHOLE is one of the versions, or the rows OLD."""
    count, least, most, keys = row
    return (count == keys and least == most and count == ROWS + least) or row == (3, 1, 3, 3)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap gives way soon."""
    monkeypatch.setattr(publishing, "SWAP_PATIENCE_S", 0.3)
    monkeypatch.setattr(swapping, "LOCK_PATIENCE", "300ms")


# readers that come and go


@pytest.mark.parametrize(("isolation", "times"), [("READ COMMITTED", 20), ("REPEATABLE READ", 7), ("SERIALIZABLE", 7)])
@pytest.mark.parametrize("way", ["swap", "difference"])
def test_a_reader_that_polls_sees_old_or_new_never_between(
    sink: SinkDatabase, connection: SinkConnection, way: str, isolation: str, times: int
) -> None:
    """Trap 17."""
    plan = PLAN if way == "swap" else DIFFERENCE
    with Poller(sink, WHOLE, isolation) as reader, Poller(sink, WHOLE, isolation) as other:
        ways = [replace(connection, plan, version(number)).how for number in range(1, times + 1)]
        reads = reader.reads
        wait_until(lambda: reader.reads > reads + 1 or reader.error is not None)
    assert ways == [way] * times
    assert (reader.error, other.error) == (None, None)
    assert reader.reads > times
    assert all(is_whole(row) for row in reader.seen | other.seen), reader.seen | other.seen
    assert (ROWS + times, times, times, ROWS + times) in reader.seen


def test_a_reader_without_a_key_sees_old_or_new_never_between(sink: SinkDatabase, connection: SinkConnection) -> None:
    keyless = changed(DIFFERENCE, key=(), order=())
    with Poller(sink, WHOLE) as reader:
        for number in range(1, 11):
            replace(connection, keyless, version(number))
    assert reader.error is None
    assert all(is_whole(row) for row in reader.seen), reader.seen


def test_a_reader_through_a_view_sees_old_or_new_and_never_an_error(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    connection.execute("CREATE VIEW v AS SELECT * FROM orders")
    through_view = WHOLE.replace("orders", "v")
    with Poller(sink, through_view) as reader, Poller(sink, through_view) as other, Poller(sink, through_view) as third:
        for number in range(1, 21):
            replace(connection, PLAN, version(number))
    assert (reader.error, other.error, third.error) == (None, None, None)
    assert all(is_whole(row) for row in reader.seen | other.seen | third.seen)


@pytest.mark.usefixtures("quiet")
def test_a_view_makes_nobody_wait_for_a_deadlock(
    sink: SinkDatabase, connection: SinkConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in slow motion: a reader that has the view waits for the table while the swap wants the view."""
    monkeypatch.setattr(swapping, "LOCK_PATIENCE", "20s")
    connection.execute("CREATE VIEW v AS SELECT * FROM orders")
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW, apply)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IN ('v'::regclass, 'orders'::regclass)"
    with ThreadPoolExecutor(2) as threads:
        with reading(sink, "SELECT count(*) FROM orders") as holder:
            swapping_now = threads.submit(publish, connection, PLAN, shadow, apply, no_record)
            wait_until(lambda: value(holder, waiting) == 1)
            through_view = threads.submit(count_of, sink, "v")
            wait_until(lambda: value(holder, waiting) == 2)
        assert through_view.result(10) == 3
        assert swapping_now.result(10).how == "swap"


def count_of(sink: SinkDatabase, table: str) -> int:
    with sink.connect() as connection:
        return int(value(connection, f"SELECT count(*) FROM {table}"))


def test_a_prepared_statement_goes_on_with_the_new_rows(sink: SinkDatabase, connection: SinkConnection) -> None:
    with sink.connect() as reader:
        reader.execute("PREPARE q AS SELECT count(*), max(id) FROM orders")
        assert reader.execute("EXECUTE q").fetchone() == (3, 3)
        assert replace(connection, PLAN, [*NEW, (9, "nine", 9)]).how == "swap"
        assert reader.execute("EXECUTE q").fetchone() == (4, 9)


# readers with a snapshot of their own


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE", "SERIALIZABLE READ ONLY"])
@pytest.mark.usefixtures("impatient")
def test_a_snapshot_older_than_the_load_still_sees_the_old_rows(
    sink: SinkDatabase, connection: SinkConnection, isolation: str
) -> None:
    with reading(sink, "SELECT 1", isolation) as reader:
        published = replace(connection, PLAN, NEW)
        assert published.how == "difference"
        assert published.why == "1 open transaction(s) began before the load was complete"
        assert rows_of(reader) == OLD
    assert rows_of(connection) == NEW


@pytest.mark.usefixtures("impatient")
def test_a_snapshot_from_the_middle_of_the_load_still_sees_the_old_rows(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW[:1], apply)
    with reading(sink, "SELECT 1") as reader:
        insert(connection, shadow.quoted, ["id", "name", "total"], NEW[1:])
        assert publish(connection, PLAN, shadow, apply, no_record).how == "difference"
        assert rows_of(reader) == OLD
    assert rows_of(connection) == NEW


@pytest.mark.usefixtures("impatient")
def test_a_snapshot_from_between_load_and_publish_sees_old_or_new(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW, apply)
    with reading(sink, "SELECT 1") as reader:
        how = publish(connection, PLAN, shadow, apply, no_record).how
        assert rows_of(reader) == (NEW if how == "swap" else OLD)
        assert rows_of(connection) == NEW


@pytest.mark.usefixtures("quiet")
def test_a_snapshot_that_is_taken_while_the_swap_waits_does_not_hinder_it(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    with ThreadPoolExecutor(1) as thread, contextlib.ExitStack() as later:
        with reading(sink, "SELECT count(*) FROM orders") as holder:
            swap = thread.submit(replace, connection, PLAN, NEW)
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"
            wait_until(lambda: value(holder, blocked) == 1)
            reader = later.enter_context(reading(sink, "SELECT 1"))
        assert swap.result(10).how == "swap"
        assert rows_of(reader) == NEW


@pytest.mark.usefixtures("impatient")
def test_the_snapshot_of_another_user_counts_too(sink: SinkDatabase, connection: SinkConnection) -> None:
    analyst = sink.role("analyst")
    connection.execute(f'GRANT SELECT ON orders TO "{analyst}"')
    with reading(sink, "SELECT 1", user=analyst) as reader:
        assert replace(connection, PLAN, NEW).how == "difference"
        assert rows_of(reader) == OLD


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.usefixtures("impatient")
def test_a_reader_that_holds_the_table_goes_on_and_nobody_hangs(
    sink: SinkDatabase, connection: SinkConnection, isolation: str
) -> None:
    with reading(sink, "SELECT count(*) FROM orders", isolation) as reader:
        began = time.monotonic()
        published = replace(connection, PLAN, NEW)
        assert time.monotonic() - began < 6
        assert (published.how, published.why) == ("difference", "readers held the table")
        assert rows_of(reader) == (NEW if isolation == "READ COMMITTED" else OLD)


@pytest.mark.usefixtures("impatient")
def test_new_readers_wait_no_longer_than_one_try(sink: SinkDatabase, connection: SinkConnection) -> None:
    with reading(sink, "SELECT count(*) FROM orders"), Poller(sink, WHOLE) as poller:
        assert replace(connection, PLAN, version(1)).how == "difference"
    assert poller.error is None
    assert poller.slowest_s < 2
    assert all(is_whole(row) for row in poller.seen)


def test_a_swap_comes_as_soon_as_the_reader_has_gone(sink: SinkDatabase, connection: SinkConnection) -> None:
    with ThreadPoolExecutor(1) as thread:
        with reading(sink, "SELECT count(*) FROM orders"):
            swap = thread.submit(replace, connection, PLAN, NEW)
            with pytest.raises(TimeoutError):
                swap.result(0.5)
        assert swap.result(10).how == "swap"


@pytest.mark.usefixtures("impatient")
def test_a_demanded_swap_that_readers_hinder_is_an_error(sink: SinkDatabase, connection: SinkConnection) -> None:
    plan = changed(PLAN, apply="swap")
    with (
        reading(sink, "SELECT count(*) FROM orders"),
        pytest.raises(SinkError, match=r"public\.orders could not be swapped: readers held the table") as caught,
    ):
        replace(connection, plan, NEW)
    assert caught.value.remedy == "run again, or use apply: auto"
    assert rows_of(connection) == OLD


FUNCTIONS = {
    "plpgsql": "CREATE FUNCTION f() RETURNS bigint STABLE LANGUAGE plpgsql AS"
    " 'BEGIN RETURN (SELECT sum(id) FROM orders); END'",
    "sql": "CREATE FUNCTION f() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT sum(id) FROM orders'",
}


@pytest.mark.parametrize("language", FUNCTIONS)
@pytest.mark.usefixtures("impatient")
def test_a_stable_function_sees_the_rows_of_its_statements_snapshot(
    sink: SinkDatabase, connection: SinkConnection, language: str
) -> None:
    """The statement is older than the load, the function looks the table up by its name after the publish."""
    connection.execute(FUNCTIONS[language])
    with ThreadPoolExecutor(1) as thread:
        with sink.connect() as gate:
            gate.execute("SELECT pg_advisory_lock(2)")
            asked = thread.submit(ask_behind_the_gate, sink)
            wait_until(lambda: value(gate, "SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = 2") == 1)
            published = replace(connection, PLAN, NEW)
        assert asked.result(10) == 6
    assert published.how == "difference"
    assert value(connection, "SELECT f()") == 9


def ask_behind_the_gate(sink: SinkDatabase) -> int:
    """One statement that takes its snapshot, waits for the lock 2, then calls the function."""
    statement = (
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_lock(2)::text AS opened) SELECT f() FROM gate WHERE opened = ''"
    )
    with sink.connect() as connection:
        connection.execute("SET jit = off")
        return int(value(connection, statement))


# transactions that have nothing to do with the target


@pytest.mark.parametrize(
    "statement", ["SELECT 1", "INSERT INTO other VALUES (1)", "DECLARE c CURSOR FOR SELECT * FROM other; CLOSE c"]
)
def test_an_idle_transaction_that_holds_no_snapshot_does_not_hinder_a_swap(
    sink: SinkDatabase, connection: SinkConnection, statement: str
) -> None:
    connection.execute("CREATE TABLE other (id int)")
    with reading(sink, statement, "READ COMMITTED"):
        assert replace(connection, PLAN, NEW).how == "swap"


@pytest.mark.usefixtures("impatient")
def test_a_long_statement_elsewhere_breaks_nothing(sink: SinkDatabase, connection: SinkConnection) -> None:
    with sink.connect() as other, ThreadPoolExecutor(1) as thread:
        slow = thread.submit(other.execute, "SELECT pg_sleep(30)")
        active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        wait_until(lambda: value(connection, active) == 1)
        began = time.monotonic()
        assert replace(connection, PLAN, NEW).how == "difference"
        assert time.monotonic() - began < 6
        other.cancel_safe()
        with pytest.raises(Exception, match="canceling statement"):
            slow.result(10)
    assert rows_of(connection) == NEW


@pytest.mark.usefixtures("impatient")
def test_a_stream_of_the_run_that_still_loads_another_table_does_not_hinder_a_swap(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    other = table_plan({"id": "integer"}, target="other")
    shadow = shadow_of(other, "create", 999, 1)
    create_shadow(connection, other, shadow)
    name = "etl-cli orders run 999"
    with sink.open(f"{name} dbo.other shard1") as stream, sink.open(name) as applier, stream.transaction():
        with stream.cursor().copy(f"COPY {shadow.quoted} FROM STDIN") as copy:
            copy.write("1\n" * 50_000)
            wait_until(lambda: value(connection, "SELECT count(*) FROM pg_stat_progress_copy") == 1)
            published = replace(applier, PLAN, NEW)
        assert published.how == "swap"


@pytest.mark.parametrize(
    ("own", "other"), [("reports", "reports-ui"), ("etl-cli orders run 1", "etl-cli orders run 12")]
)
@pytest.mark.usefixtures("impatient")
def test_a_reader_whose_name_begins_like_the_runs_is_no_stream_of_it(
    sink: SinkDatabase, connection: SinkConnection, own: str, other: str
) -> None:
    with (
        sink.connect(application_name=other) as reader,
        connect_sink(sink.sink(options={"application_name": own}), "etl-cli orders run 1") as applier,
    ):
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        replace(applier, PLAN, NEW)
        assert rows_of(reader) == OLD


# a swap that gives way must be a difference that is right


@pytest.mark.usefixtures("impatient")
def test_a_swap_that_gives_way_never_alters_a_value(sink: SinkDatabase, connection: SinkConnection) -> None:
    """The source's type has become wider; a swap would have brought the new type with it."""
    plan = table_plan({"id": "integer", "name": "text", "total": "numeric(19,4)"}, ["id"])
    assert planned(connection, plan).how == "swap"
    with reading(sink, "SELECT count(*) FROM orders"), contextlib.suppress(SinkError):
        replace(connection, plan, [(1, "one", "1.2345")])
    assert value(connection, "SELECT total::text FROM orders WHERE id = 1") in ("1.2345", "1.00")


def test_a_difference_adds_the_column_that_is_missing(connection: SinkConnection) -> None:
    columns = {"id": "integer", "name": "text", "total": "numeric(10,2)", "more": "text"}
    replace(connection, table_plan(columns, ["id"], apply="difference"), [(1, "one", 1, "x")])
    assert [row[-1] for row in rows_of(connection)] == ["x"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (
            "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM orders",
            "is needed by rule _RETURN on materialized view m",
        ),
        ("ALTER TABLE orders ADD COLUMN mine text", "has a column mine that the source has not"),
        ("CREATE INDEX later ON orders (name)", ""),
    ],
)
def test_what_came_to_hang_on_the_target_during_the_load_is_kept(
    connection: SinkConnection, statement: str, why: str
) -> None:
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW, apply)
    connection.execute(statement)
    published = publish(connection, PLAN, shadow, apply, no_record)
    assert why in published.why
    assert connection.execute("SELECT id, name, total FROM orders ORDER BY 1").fetchall() == NEW
    if "INDEX" in statement:
        assert value(connection, "SELECT 'later'::regclass::text") == "later"
        assert published.how == "swap"
    else:
        assert published.how == "difference"


@pytest.mark.usefixtures("impatient")
def test_what_can_never_be_swapped_is_not_waited_for(
    connection: SinkConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "SWAP_PATIENCE_S", 3)
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW, apply)
    connection.execute("ALTER TABLE orders ADD COLUMN mine text")
    began = time.monotonic()
    publish(connection, PLAN, shadow, apply, no_record)
    assert time.monotonic() - began < 2


# the first creation


@pytest.mark.usefixtures("impatient")
def test_a_snapshot_from_the_middle_of_the_load_sees_nothing_of_a_new_table_or_all(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    connection.execute("DROP TABLE orders")
    apply = planned(connection, PLAN)
    shadow = load(connection, PLAN, NEW[:1], apply)
    with reading(sink, "SELECT 1") as reader:
        insert(connection, shadow.quoted, ["id", "name", "total"], NEW[1:])
        publish(connection, PLAN, shadow, apply, no_record)
        assert rows_of(reader) in ([], NEW)


# writers


def test_a_row_that_a_writer_holds_is_waited_for_then_told(sink: SinkDatabase, connection: SinkConnection) -> None:
    connection.execute("SET lock_timeout = '300ms'")
    with reading(sink, "UPDATE orders SET name = 'mine' WHERE id = 1", "READ COMMITTED"):
        with pytest.raises(SinkError, match=r"making public\.orders visible failed") as caught:
            replace(connection, DIFFERENCE, NEW)
        assert (caught.value.sqlstate, caught.value.remedy) == ("55P03", "another session holds a lock on the table")
    assert rows_of(connection) == OLD


# several at once


def test_two_tables_become_visible_at_once(sink: SinkDatabase, connection: SinkConnection) -> None:
    plans = [changed(PLAN, target_name=name) for name in ("one", "two", "three", "four")]
    for plan in plans:
        replace(connection, plan, OLD)
    together = threading.Barrier(len(plans))

    def make_visible(plan_number: int) -> set[str]:
        with sink.open() as own:
            together.wait()
            return {replace(own, plans[plan_number], version(number)).how for number in range(1, 6)}

    with ThreadPoolExecutor(len(plans)) as threads:
        ways = list(threads.map(make_visible, range(len(plans))))
    assert ways == [{"swap"}] * len(plans)
    assert all(len(rows_of(connection, plan.target_name)) == ROWS + 5 for plan in plans)


@pytest.mark.usefixtures("quiet")
def test_two_tables_under_one_view_become_visible_at_once(sink: SinkDatabase, connection: SinkConnection) -> None:
    plans = [changed(PLAN, target_name=name) for name in ("one", "two")]
    for plan in plans:
        replace(connection, plan, OLD)
    connection.execute("CREATE VIEW over_both AS SELECT id FROM one UNION ALL SELECT id FROM two")

    def make_visible(plan: TablePlan) -> str:
        with sink.open() as own:
            return replace(own, plan, NEW).how

    def both_wait() -> bool:
        return bool(value(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'") == 2)

    for _ in range(5):
        with ThreadPoolExecutor(2) as threads:
            with reading(sink, "SELECT count(*) FROM over_both"):
                under_way = [threads.submit(make_visible, plan) for plan in plans]
                wait_until(both_wait)
            assert [each.result(20) for each in under_way] == ["swap", "swap"]
