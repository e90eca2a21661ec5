"""What else Postgres can hang on a table: no swap may break it, or lose it without a word."""

from __future__ import annotations

import psycopg
import pytest

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.sink.connect import SinkConnection
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.orders import NEW, OLD, PLAN
from tests.support.publishing import replace, rows_of, shadows, value

pytestmark = pytest.mark.usefixtures("target")


NOT_FORESEEN = {
    "rule of a view": "CREATE VIEW v AS SELECT 1 AS one;"
    " CREATE RULE r AS ON DELETE TO v DO INSTEAD DELETE FROM orders WHERE id = OLD.one",
    "second rule of a view": "CREATE VIEW v AS SELECT id FROM orders;"
    " CREATE RULE r AS ON DELETE TO v DO INSTEAD DELETE FROM orders WHERE id = OLD.id",
    "domain over the row type": "CREATE DOMAIN d AS orders",
    "default that names the table": "CREATE TABLE x (t regclass DEFAULT 'orders'::regclass)",
    "check that names the table": "CREATE TABLE x (t oid CHECK (t <> 'orders'::regclass))",
    "whole-row index": "CREATE INDEX i ON orders ((orders.* IS NOT NULL))",
    "view on another collation": 'CREATE DOMAIN d AS int; ALTER TABLE orders ALTER name TYPE text COLLATE "POSIX";'
    " CREATE VIEW v AS SELECT name FROM orders",
}


@pytest.mark.parametrize("name", NOT_FORESEEN)
def test_what_is_not_foreseen_leaves_everything_as_it_was_at_worst(connection: SinkConnection, name: str) -> None:
    try:
        connection.execute(NOT_FORESEEN[name])
    except psycopg.Error:
        pytest.skip("this Postgres refuses it")
    try:
        replace(connection, PLAN, NEW)
    except SinkError:
        assert rows_of(connection) == OLD
        assert shadows(connection) == 0
        return
    assert rows_of(connection) == NEW


@pytest.mark.parametrize("name", NOT_FORESEEN)
def test_what_is_not_foreseen_leads_to_the_difference(connection: SinkConnection, name: str) -> None:
    try:
        connection.execute(NOT_FORESEEN[name])
    except psycopg.Error:
        pytest.fail("this Postgres refuses it")
    replace(connection, PLAN, NEW)
    assert rows_of(connection) == NEW


def test_an_event_trigger_that_forbids_dropping_leads_to_the_difference(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    with sink.connect(SUPERUSER) as admin:
        admin.execute(
            "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE o record; BEGIN"
            " FOR o IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP"
            " IF o.object_identity LIKE 'public.%old' THEN RAISE EXCEPTION 'no dropping here'; END IF;"
            " END LOOP; END $$;"
            "CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION forbid()"
        )
    replace(connection, PLAN, NEW)
    assert rows_of(connection) == NEW


LOST_BY_SWAP = {
    "collation of a column": (
        'ALTER TABLE orders ALTER name TYPE text COLLATE "POSIX"',
        "SELECT attcollation FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'name'",
    ),
    "storage of a column": (
        "ALTER TABLE orders ALTER name SET STORAGE EXTERNAL",
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'name'",
    ),
    "statistics target of a column": (
        "ALTER TABLE orders ALTER name SET STATISTICS 777",
        "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'name'",
    ),
    "deferrable key": (
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED",
        "SELECT condeferrable FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'p'",
    ),
    "covering key": (
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id) INCLUDE (name)",
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'p'",
    ),
    "clustered on the key": (
        "ALTER TABLE orders CLUSTER ON orders_pkey",
        "SELECT indisclustered FROM pg_index WHERE indexrelid = 'orders_pkey'::regclass",
    ),
    "settings of the key": (
        "ALTER INDEX orders_pkey SET (fillfactor = 55)",
        "SELECT reloptions FROM pg_class WHERE oid = 'orders_pkey'::regclass",
    ),
    "settings of toast": (
        "ALTER TABLE orders SET (toast.autovacuum_enabled = false)",
        "SELECT t.reloptions FROM pg_class AS c JOIN pg_class AS t ON t.oid = c.reltoastrelid"
        " WHERE c.oid = 'orders'::regclass",
    ),
    "typed table": (
        "CREATE TYPE orders_type AS (id integer, name text, total numeric(10,2)); ALTER TABLE orders OF orders_type",
        "SELECT reloftype::regtype FROM pg_class WHERE oid = 'orders'::regclass",
    ),
}


@pytest.mark.parametrize("name", LOST_BY_SWAP)
def test_a_swap_keeps_or_gives_way_to(connection: SinkConnection, name: str) -> None:
    make, stays = LOST_BY_SWAP[name]
    connection.execute(make)
    before = connection.execute(stays).fetchall()
    replace(connection, PLAN, NEW)
    assert rows_of(connection) == NEW
    assert connection.execute(stays).fetchall() == before


def test_a_tablespace_is_a_reason_against_a_swap_also_of_an_index(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    """A directory of the server's own is enough for a tablespace."""
    with sink.connect(SUPERUSER) as admin:
        directory = value(admin, "SHOW data_directory")
        name = f"space_{sink.database}"
        admin.execute("SET allow_in_place_tablespaces = on")
        admin.execute(f"CREATE TABLESPACE {name} OWNER etl_user LOCATION ''")
        assert directory
        try:
            connection.execute(f"ALTER TABLE orders SET TABLESPACE {name}")
            assert replace(connection, PLAN, NEW).why == "the target has settings of its own"
            connection.execute("ALTER TABLE orders SET TABLESPACE pg_default")
        finally:
            connection.execute("DROP TABLE orders")
            admin.execute(f"DROP TABLESPACE {name}")


def test_a_swap_keeps_the_tablespace_of_an_index(sink: SinkDatabase, connection: SinkConnection) -> None:
    name = f"space_{sink.database}"
    with sink.connect(SUPERUSER) as admin:
        admin.execute("SET allow_in_place_tablespaces = on")
        admin.execute(f"CREATE TABLESPACE {name} OWNER etl_user LOCATION ''")
        try:
            connection.execute(f"CREATE INDEX i ON orders (name) TABLESPACE {name}")
            replace(connection, PLAN, NEW)
            assert value(connection, "SELECT tablespace FROM pg_indexes WHERE indexname = 'i'") == name
        finally:
            connection.execute("DROP TABLE orders")
            admin.execute(f"DROP TABLESPACE {name}")
