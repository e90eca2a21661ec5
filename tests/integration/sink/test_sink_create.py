"""A target that does not exist is created; what is no table is left alone."""

from __future__ import annotations

import contextlib
from dataclasses import replace as changed

import psycopg
import pytest

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.target import read_target
from tests.support.database import SinkDatabase
from tests.support.orders import NEW, OLD, PLAN
from tests.support.plans import column_plan, table_plan
from tests.support.publishing import load, planned, replace, rows_of, shadows, value


def test_a_target_that_does_not_exist_is_created_as_planned(connection: SinkConnection) -> None:
    plan = table_plan(
        [
            column_plan("id", "integer", nullable=False),
            column_plan("name", "text", comment="it's a name \\"),
            column_plan("total", "numeric(10,2)"),
        ],
        ["id", "shard"],
        shard_column="shard",
        comment="all orders",
    )
    published = replace(connection, plan, [(1, "one", 1, "shard1"), (1, "uno", 2, "shard2")])
    assert (published.how, published.why) == ("create", "the target does not exist yet")
    target = read_target(connection, "public", "orders")
    assert target is not None
    assert [(c.name, c.type, c.not_null) for c in target.columns] == [
        ("id", "integer", True),
        ("name", "text", False),
        ("total", "numeric(10,2)", False),
        ("shard", "text", True),
    ]
    assert (target.primary_key, target.key and target.key.name) == (("id", "shard"), "orders_pkey")
    assert (target.comment, target.columns[1].comment) == ("all orders", "it's a name \\")
    assert len(rows_of(connection)) == 2


def test_a_created_target_tells_nothing_of_its_shadow(connection: SinkConnection) -> None:
    replace(connection, PLAN, OLD)
    names = connection.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'orders'::regclass"
        " UNION SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert {name for (name,) in names} <= {"orders", "orders_pkey", "orders_id_not_null"}
    assert value(connection, "SELECT obj_description('orders'::regclass)") is None


def test_a_created_target_has_the_default_privileges_of_its_schema(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    reader = sink.role("reader")
    connection.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{reader}"')
    connection.execute(f'GRANT USAGE ON SCHEMA public TO "{reader}"')
    replace(connection, PLAN, OLD)
    with sink.connect(reader) as other:
        assert len(rows_of(other)) == 3


def test_a_target_without_rows_is_created_from_an_empty_source(connection: SinkConnection) -> None:
    assert replace(connection, PLAN, []).how == "create"
    assert rows_of(connection) == []


def test_a_table_that_came_into_being_meanwhile_is_left_alone(connection: SinkConnection) -> None:
    apply = planned(connection, PLAN)
    connection.execute("CREATE TABLE orders (mine text)")
    with pytest.raises(SinkError, match=r"public\.orders came into being while it was being loaded: run again"):
        replace(connection, PLAN, NEW, apply)
    assert rows_of(connection) == []
    assert shadows(connection) == 0


def test_a_schema_that_does_not_exist_is_an_error(connection: SinkConnection) -> None:
    plan = changed(PLAN, target_schema="nowhere")
    with pytest.raises(psycopg.errors.InvalidSchemaName):
        load(connection, plan, OLD, planned(connection, plan))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW orders AS SELECT 1",
        "CREATE MATERIALIZED VIEW orders AS SELECT 1",
        "CREATE SEQUENCE orders",
        "CREATE TYPE orders AS (a int)",
        "CREATE TABLE x (a int); CREATE INDEX orders ON x (a)",
    ],
)
def test_what_is_no_table_is_never_replaced(connection: SinkConnection, statement: str) -> None:
    connection.execute(statement)
    assert planned(connection, PLAN).problem == "public.orders is not a table: give the table another `target`"


@pytest.mark.parametrize("statement", ["CREATE TYPE orders AS ENUM ('a')", "CREATE DOMAIN orders AS integer"])
def test_a_type_of_the_targets_name_is_an_error_that_leaves_it(connection: SinkConnection, statement: str) -> None:
    connection.execute(statement)
    with pytest.raises(SinkError, match='type "orders" already exists'):
        replace(connection, PLAN, OLD)
    assert shadows(connection) == 0


@pytest.mark.parametrize("name", ["orders_pkey", "orders__etl_old"])
def test_a_relation_of_a_name_that_is_made_does_not_get_lost(connection: SinkConnection, name: str) -> None:
    connection.execute(f'CREATE TABLE "{name}" (mine text)')
    connection.execute(f"INSERT INTO \"{name}\" VALUES ('mine')")
    with contextlib.suppress(SinkError):
        replace(connection, PLAN, OLD)
        replace(connection, PLAN, NEW)
    assert rows_of(connection, f'"{name}"') == [("mine",)]


@pytest.mark.parametrize("name", ["orders_pkey", "orders__etl_old"])
def test_a_relation_of_a_name_that_is_made_is_no_obstacle(connection: SinkConnection, name: str) -> None:
    connection.execute(f'CREATE TABLE "{name}" (mine text)')
    replace(connection, PLAN, OLD)
    assert replace(connection, PLAN, NEW).how == "swap"
