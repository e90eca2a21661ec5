"""What a swap makes again: grants, comments and indexes."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.target import read_target
from tests.support.database import SinkDatabase
from tests.support.orders import NEW, OLD, PLAN
from tests.support.publishing import replace, rows_of, shadows, value


def grants_of(connection: SinkConnection, name: str = "orders") -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, privilege_type, is_grantable"
        " FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) AS g"
        " WHERE oid = %s::regclass ORDER BY 1, 2",
        [name],
    ).fetchall()


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_grants_to_roles_to_public_and_with_grant_option(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    reader, writer = sink.role("reader"), sink.role('odd "x" role'.replace('"', ""))
    connection.execute("GRANT SELECT ON orders TO PUBLIC")
    connection.execute(f'GRANT SELECT, UPDATE ON orders TO "{reader}"')
    connection.execute(f'GRANT INSERT, TRIGGER ON orders TO "{writer}" WITH GRANT OPTION')
    before = grants_of(connection)
    assert replace(connection, PLAN, NEW).how == "swap"
    assert grants_of(connection) == before
    with sink.connect(reader) as other:
        assert rows_of(other) == NEW


@pytest.mark.usefixtures("target")
def test_a_swap_gives_nothing_that_the_target_had_not(sink: SinkDatabase, connection: SinkConnection) -> None:
    reader = sink.role("reader")
    connection.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO "{reader}", PUBLIC')
    before = grants_of(connection)
    assert replace(connection, PLAN, NEW).how == "swap"
    assert grants_of(connection) == before


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_a_grant_that_was_given_by_a_grantee(sink: SinkDatabase, connection: SinkConnection) -> None:
    first, second = sink.role("first"), sink.role("second")
    connection.execute(f'GRANT SELECT ON orders TO "{first}" WITH GRANT OPTION')
    with sink.connect(first) as other:
        other.execute(f'GRANT SELECT ON orders TO "{second}"')
    assert replace(connection, PLAN, NEW).how == "swap"
    with sink.connect(second) as other:
        assert rows_of(other) == NEW


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_what_the_owner_took_from_himself(connection: SinkConnection) -> None:
    connection.execute("REVOKE DELETE, TRUNCATE ON orders FROM etl_user")
    before = grants_of(connection)
    replace(connection, PLAN, NEW)
    assert grants_of(connection) == before


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_comments_that_somebody_wrote(connection: SinkConnection) -> None:
    connection.execute("COMMENT ON TABLE orders IS 'it''s \\ mine'; COMMENT ON COLUMN orders.name IS 'a name'")
    plan = changed(PLAN, comment="of the source")
    assert replace(connection, plan, NEW).how == "swap"
    assert value(connection, "SELECT obj_description('orders'::regclass)") == "it's \\ mine"
    assert value(connection, "SELECT col_description('orders'::regclass, 2)") == "a name"
    assert value(connection, "SELECT col_description('orders'::regclass, 1)") is None


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_comments_on_the_key_and_on_indexes(connection: SinkConnection) -> None:
    connection.execute("CREATE INDEX by_name ON orders (name); COMMENT ON INDEX by_name IS 'for reports'")
    connection.execute("COMMENT ON CONSTRAINT orders_pkey ON orders IS 'the key'")
    replace(connection, PLAN, NEW)
    assert value(connection, "SELECT obj_description('by_name'::regclass)") == "for reports"
    assert (
        value(connection, "SELECT obj_description(oid) FROM pg_constraint WHERE conname = 'orders_pkey'") == "the key"
    )


INDEXES = [
    "CREATE INDEX by_name ON orders (name)",
    "CREATE UNIQUE INDEX unique_name ON orders (name)",
    "CREATE INDEX large ON orders (total) WHERE total > 100 AND name IS NOT NULL",
    "CREATE INDEX lower_name ON orders (lower(name), (total * 2))",
    "CREATE INDEX newest ON orders (total DESC NULLS LAST, id ASC NULLS FIRST)",
    "CREATE INDEX covering ON orders (name) INCLUDE (total)",
    "CREATE INDEX hashed ON orders USING hash (name)",
    'CREATE INDEX collated ON orders (name COLLATE "POSIX")',
    "CREATE INDEX patterned ON orders (name text_pattern_ops)",
    'CREATE INDEX "odd name; -- \'\'""quoted""" ON orders (name)',
    'CREATE INDEX "SELECT" ON orders (name)',
    f'CREATE INDEX "{"ü" * 31}" ON orders (name)',
    "CREATE INDEX constant ON orders ((name || ' USING x'))",
    "CREATE UNIQUE INDEX one_null ON orders (name) NULLS NOT DISTINCT",
    "CREATE INDEX blocks ON orders USING brin (id int4_minmax_multi_ops (values_per_range = 16))",
]


def indexes_of(connection: SinkConnection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'orders' ORDER BY 1"
    ).fetchall()


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_every_index_with_its_name_and_definition(connection: SinkConnection) -> None:
    for statement in INDEXES:
        connection.execute(statement)
    before = indexes_of(connection)
    assert replace(connection, PLAN, NEW).how == "swap"
    assert indexes_of(connection) == before
    assert replace(connection, PLAN, OLD).how == "swap"
    assert indexes_of(connection) == before


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_an_index_whose_name_holds_the_word_using(connection: SinkConnection) -> None:
    connection.execute('CREATE INDEX "found USING name" ON orders (name)')
    before = indexes_of(connection)
    assert replace(connection, PLAN, NEW).how == "swap"
    assert indexes_of(connection) == before


@pytest.mark.usefixtures("target")
def test_a_swap_keeps_the_keys_own_name(connection: SinkConnection) -> None:
    connection.execute('ALTER TABLE orders RENAME CONSTRAINT orders_pkey TO "the Key"')
    assert replace(connection, PLAN, NEW).how == "swap"
    target = read_target(connection, "public", "orders")
    assert target is not None
    assert (target.primary_key, target.key and target.key.name) == (("id",), "the Key")


@pytest.mark.usefixtures("target")
def test_new_rows_that_break_a_unique_index_leave_the_target_as_it_was(connection: SinkConnection) -> None:
    connection.execute("CREATE UNIQUE INDEX one_name ON orders (name)")
    before = indexes_of(connection)
    with pytest.raises(DataError):
        replace(connection, PLAN, [(1, "same", 1), (2, "same", 2)])
    assert rows_of(connection) == OLD
    assert indexes_of(connection) == before
    assert shadows(connection) == 0


@pytest.mark.usefixtures("target")
def test_new_rows_that_break_a_unique_index_are_told_by_that_index(connection: SinkConnection) -> None:
    connection.execute("CREATE UNIQUE INDEX one_name ON orders (name)")
    with pytest.raises(DataError) as caught:
        replace(connection, PLAN, [(1, "same", 1), (2, "same", 2)])
    assert "the key (id) is not unique" not in str(caught.value)
