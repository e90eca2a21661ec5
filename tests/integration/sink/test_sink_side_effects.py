"""What making rows visible does beside it: to rows of other tables, to rights, to locks of others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed

import pytest

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.sink import publish as publishing
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink
from etl_cli.runtime.sink.publish import publish
from tests.support.database import SinkDatabase
from tests.support.orders import DIFFERENCE, NEW, OLD, PLAN
from tests.support.plans import table_plan
from tests.support.publishing import load, no_record, planned, replace, rows_of, value, wait_until
from tests.support.readers import reading

pytestmark = pytest.mark.usefixtures("target")

SWAPPED = [(1, "two", 1), (2, "one", 2), (3, "three", 3)]


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_rows_that_refer_to_a_row_that_stays_are_left_alone(connection: SinkConnection, action: str) -> None:
    """Two values of a unique column change places, while another table refers to the rows."""
    connection.execute(
        "ALTER TABLE orders ADD CONSTRAINT one_name UNIQUE (name);"
        f"CREATE TABLE items (order_id int REFERENCES orders ON DELETE {action});"
        "INSERT INTO items VALUES (1), (2), (3)"
    )
    try:
        replace(connection, PLAN, SWAPPED)
    except EtlError:
        assert rows_of(connection) == OLD
    assert rows_of(connection, "items") == [(1,), (2,), (3,)]


def test_a_trigger_is_not_told_of_deletions_that_are_none(connection: SinkConnection) -> None:
    connection.execute(
        "ALTER TABLE orders ADD CONSTRAINT one_name UNIQUE (name); CREATE TABLE log (id int);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO log VALUES (OLD.id); RETURN NULL; END';"
        "CREATE TRIGGER t AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note()"
    )
    try:
        replace(connection, PLAN, SWAPPED)
    except EtlError:
        assert rows_of(connection) == OLD
    assert rows_of(connection, "log") == []


def test_rows_that_refer_to_a_row_that_goes_follow_their_own_rule(connection: SinkConnection) -> None:
    connection.execute(
        "CREATE TABLE items (order_id int REFERENCES orders ON DELETE SET NULL, at int);"
        "INSERT INTO items VALUES (1, 1), (2, 2)"
    )
    assert replace(connection, PLAN, NEW).how == "difference"
    assert rows_of(connection, "items", "at") == [(None, 1), (2, 2)]


def test_a_swap_gives_no_grant_option_that_the_target_had_not(sink: SinkDatabase, connection: SinkConnection) -> None:
    reader = sink.role("reader")
    connection.execute(f'GRANT SELECT ON orders TO "{reader}"')
    connection.execute(
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{reader}" WITH GRANT OPTION'
    )
    assert replace(connection, PLAN, NEW).how == "swap"
    assert not value(connection, f"SELECT has_table_privilege('{reader}', 'orders', 'SELECT WITH GRANT OPTION')")
    assert value(connection, f"SELECT has_table_privilege('{reader}', 'orders', 'SELECT')")


def test_rows_that_are_visible_are_never_told_as_failed(sink: SinkDatabase, connection: SinkConnection) -> None:
    """Somebody looks at the shadow, so that it cannot be dropped at once."""
    apply = planned(connection, DIFFERENCE)
    shadow = load(connection, DIFFERENCE, NEW, apply)
    connection.execute("SET lock_timeout = '200ms'")
    with reading(sink, f"SELECT count(*) FROM {shadow.quoted}", "READ COMMITTED"):
        published = publish(connection, changed(DIFFERENCE, key=(), order=()), shadow, apply, no_record)
    assert published.how == "difference"
    assert rows_of(connection) == NEW


def test_a_name_that_the_options_give_hides_no_reader(
    sink: SinkDatabase, connection: SinkConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "SWAP_PATIENCE_S", 0.3)
    options = {"application_name": "reports"}
    with (
        sink.connect(application_name="reports daily") as reader,
        connect_sink(sink.sink(options=options), "etl-cli orders run 1") as applier,
    ):
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        replace(applier, PLAN, NEW)
        assert rows_of(reader) == OLD


def test_a_wider_type_that_no_view_shows_comes_with_a_swap(connection: SinkConnection) -> None:
    connection.execute("CREATE VIEW v AS SELECT id, name FROM orders")
    plan = table_plan({"id": "integer", "name": "text", "total": "numeric(19,4)"}, ["id"])
    assert replace(connection, plan, [(1, "one", "1.2345")]).how == "swap"


def test_a_writer_of_an_own_column_loses_nothing(sink: SinkDatabase, connection: SinkConnection) -> None:
    """A user's column beside the copied ones is written while the difference is applied."""
    connection.execute("ALTER TABLE orders ADD COLUMN seen int NOT NULL DEFAULT 0")
    with sink.connect() as writer, ThreadPoolExecutor(1) as thread:
        writer.execute("BEGIN; UPDATE orders SET seen = seen + 1 WHERE id = 3")
        under_way = thread.submit(replace, connection, PLAN, NEW)
        wait_until(lambda: bool(value(writer, "SELECT count(*) FROM pg_locks WHERE NOT granted")))
        writer.execute("COMMIT")
        assert under_way.result(10).how == "difference"
    assert rows_of(connection) == [(2, "two", 2, 0), (3, "THREE", 3, 1), (4, "four", 4, 0)]


def test_a_publish_takes_no_lock_with_it_into_the_next_statement(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    for plan in (PLAN, DIFFERENCE):
        replace(connection, plan, NEW)
        held = "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
        with sink.connect() as other:
            assert value(other, held, connection.info.backend_pid) == 0


def test_settings_of_a_publish_do_not_outlive_it(connection: SinkConnection) -> None:
    names = ("lock_timeout", "row_security", "maintenance_work_mem", "search_path")
    before = [value(connection, f"SHOW {name}") for name in names]
    for plan in (PLAN, DIFFERENCE):
        replace(connection, plan, NEW)
    assert [value(connection, f"SHOW {name}") for name in names] == before
