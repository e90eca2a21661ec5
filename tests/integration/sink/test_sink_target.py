"""What is read of the relation at a target's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from etl_cli.runtime.planning import has_xml
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.target import Target, read_target
from tests.support.database import SinkDatabase
from tests.support.publishing import value


@pytest.fixture
def connection(shared_sink: SinkDatabase) -> Iterator[SinkConnection]:
    """In a transaction that is rolled back."""
    with shared_sink.open() as connection, connection.transaction(force_rollback=True):
        yield connection


def target_of(connection: SinkConnection, statement: str, name: str = "t") -> Target:
    """The target that a statement has made."""
    connection.execute(statement)
    target = read_target(connection, "public", name)
    assert target is not None
    return target


def test_nothing_is_none(connection: SinkConnection) -> None:
    assert read_target(connection, "public", "t") is None
    assert read_target(connection, "nowhere", "t") is None


def test_names_are_taken_exactly(connection: SinkConnection) -> None:
    connection.execute('CREATE SCHEMA other; CREATE TABLE other.t (); CREATE TABLE "T" ()')
    assert read_target(connection, "public", "t") is None
    assert read_target(connection, "public", "T") is not None
    assert read_target(connection, "other", "t") is not None


def test_a_plain_table_has_nothing_special(connection: SinkConnection) -> None:
    target = target_of(connection, "CREATE TABLE t (a int PRIMARY KEY, b text)")
    assert (target.kind, target.is_owner, target.persistence, target.comment) == ("r", True, "p", None)
    special = [target.has_settings, target.has_row_security, target.is_inherited, target.is_published]
    assert not any([*special, target.has_security_label])
    assert (target.indexes, target.dependents) == ((), ())
    assert [(c.name, c.kind, c.own, c.columns) for c in target.constraints] == [("t_pkey", "p", True, ("a",))]


def test_columns_are_told_in_order_with_type_and_all_that_is_theirs(connection: SinkConnection) -> None:
    target = target_of(
        connection,
        "CREATE TABLE t (gone int, z numeric(10,2) NOT NULL DEFAULT 5, i bigint GENERATED ALWAYS AS IDENTITY,"
        " g int GENERATED ALWAYS AS (1) STORED, a text, s int); ALTER TABLE t DROP gone;"
        "COMMENT ON COLUMN t.a IS 'it is a'; ALTER TABLE t ALTER s SET (n_distinct = 3)",
    )
    columns = [(c.name, c.type, c.not_null, c.has_default, c.identity, c.generated) for c in target.columns]
    assert columns == [
        ("z", "numeric(10,2)", True, True, "", ""),
        ("i", "bigint", True, True, "a", ""),
        ("g", "integer", False, True, "", "s"),
        ("a", "text", False, False, "", ""),
        ("s", "integer", False, False, "", ""),
    ]
    assert [c.comment for c in target.columns] == [None, None, None, "it is a", None]
    assert [c.has_settings for c in target.columns] == [False, False, False, False, True]


TYPES = (
    *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric(38,10)", "numeric(5,0)", "date"),
    *("time(6) without time zone", "timestamp(3) without time zone", "timestamp(0) without time zone", "jsonb"),
    *("timestamp(6) without time zone", "timestamp with time zone", "text", "bytea", "uuid", "real[]"),
)


def test_every_type_that_is_planned_is_spelled_like_the_plan(
    shared_sink: SinkDatabase, connection: SinkConnection
) -> None:
    with shared_sink.open() as other:
        types = [*TYPES, "xml"] if has_xml(other) else TYPES
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(types))
    target = target_of(connection, f"CREATE TABLE t ({columns})")
    assert [column.type for column in target.columns] == list(types)


@pytest.mark.parametrize("path", ["public", "pg_catalog", "''", "other"])
def test_types_are_spelled_alike_whatever_the_search_path(connection: SinkConnection, path: str) -> None:
    connection.execute(f"SET search_path = {path}")
    target = target_of(connection, "CREATE TABLE public.t (a text, b timestamp(3), c numeric(5,2))")
    assert [c.type for c in target.columns] == ["text", "timestamp(3) without time zone", "numeric(5,2)"]


def test_the_key_is_told_in_its_own_order(connection: SinkConnection) -> None:
    target = target_of(connection, "CREATE TABLE t (a int, b int, c int, CONSTRAINT k PRIMARY KEY (c, a))")
    assert (target.primary_key, target.key and target.key.name) == (("c", "a"), "k")


def test_constraints_of_its_own_and_of_others_are_told_apart(connection: SinkConnection) -> None:
    target = target_of(
        connection,
        "CREATE TABLE t (a int PRIMARY KEY, b int CONSTRAINT positive CHECK (b > 0), CONSTRAINT u UNIQUE (b, a));"
        "CREATE TABLE o (a int CONSTRAINT inbound REFERENCES t)",
    )
    assert {(c.name, c.kind, c.own) for c in target.constraints} == {
        ("t_pkey", "p", True),
        ("positive", "c", True),
        ("u", "u", True),
        ("inbound", "f", False),
    }


def test_indexes_of_constraints_are_no_indexes_of_their_own(connection: SinkConnection) -> None:
    target = target_of(connection, "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE); CREATE INDEX i ON t (b)")
    assert [index.name for index in target.indexes] == ["i"]


def test_a_view_that_reads_the_table_in_many_ways_is_told_once(connection: SinkConnection) -> None:
    target = target_of(
        connection,
        "CREATE TABLE t (a int, b int); CREATE VIEW v AS SELECT x.a, y.b FROM t AS x JOIN t AS y ON x.a = y.b,"
        " LATERAL (SELECT max(a) FROM t WHERE t.b = x.b) AS z",
    )
    assert [dependent.view_kind for dependent in target.dependents] == ["v"]
    assert target.dependents[0].view_oid == value(connection, "SELECT 'v'::regclass::oid::bigint")


def test_what_does_not_hang_on_it_is_not_told(connection: SinkConnection) -> None:
    connection.execute("CREATE TABLE other (a int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM other")
    target = target_of(
        connection,
        "CREATE TABLE t (a int, b text); CREATE INDEX ON t (b); CREATE INDEX ON other (a);"
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t'",
    )
    assert target.dependents == ()


def test_a_target_is_the_same_until_it_changes(connection: SinkConnection) -> None:
    first = target_of(connection, "CREATE TABLE t (a int); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT a FROM t")
    second = target_of(connection, "SELECT 1")
    third = target_of(connection, "COMMENT ON TABLE t IS 'new'")
    assert astuple(first) == astuple(second)
    assert first != third


def test_a_user_without_any_right_may_still_look(connection: SinkConnection) -> None:
    target = read_target(connection, "pg_catalog", "pg_authid")
    assert target is not None
    assert not target.is_owner
