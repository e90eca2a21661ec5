"""The new rows, all of them and nothing else, by swap and by difference."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from etl_cli.runtime.sink.apply import Apply
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.publish import publish
from tests.support.orders import DIFFERENCE, KEYLESS, NEW, OLD, PLAN
from tests.support.plans import column_plan, table_plan
from tests.support.publishing import load, planned, replace, rows_of, shadows, value


@pytest.mark.usefixtures("target")
def test_a_swap_shows_the_new_rows_and_nothing_else(connection: SinkConnection) -> None:
    published = replace(connection, PLAN, NEW)
    assert (published.how, published.why) == ("swap", "nothing but what can be re-made hangs on the target")
    assert rows_of(connection) == NEW
    assert shadows(connection) == 0


@pytest.mark.usefixtures("target")
def test_a_difference_changes_what_differs_and_counts_it(connection: SinkConnection) -> None:
    connection.execute("CREATE TABLE before AS SELECT id, xmin::text AS version FROM orders")
    published = replace(connection, DIFFERENCE, NEW)
    assert (published.how, published.inserted, published.updated, published.deleted) == ("difference", 1, 1, 1)
    assert rows_of(connection) == NEW
    untouched = "SELECT array_agg(id) FROM orders JOIN before USING (id) WHERE orders.xmin::text = version"
    assert value(connection, untouched) == [2]


@pytest.mark.usefixtures("target")
def test_a_difference_without_a_key_replaces_all_rows(connection: SinkConnection) -> None:
    connection.execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    published = replace(connection, changed(KEYLESS, apply="difference"), [*NEW, NEW[0]])
    assert (published.inserted, published.updated, published.deleted) == (4, 0, 3)
    assert rows_of(connection) == sorted([*NEW, NEW[0]])


@pytest.mark.usefixtures("target")
def test_equal_rows_are_no_difference(connection: SinkConnection) -> None:
    published = replace(connection, DIFFERENCE, OLD)
    assert (published.inserted, published.updated, published.deleted) == (0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("text", "a", "a "),
        ("text", "a", "A"),
        ("text", "", None),
        ("text", "é", "e\u0301"),
        ("integer", 1, None),
        ("double precision", 0.0, -0.0),
        ("double precision", float("nan"), None),
        ("real", 0.0, -0.0),
        ("bytea", b"", None),
        ("bytea", b"\0", b""),
        ("timestamp(6) without time zone", "2024-01-01 00:00:00.000001", "2024-01-01 00:00:00"),
        ("jsonb", '{"a": 1}', '{"a": 2}'),
        ("uuid", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"),
        ("numeric(10,2)", 1, 2),
        ("boolean", False, None),
    ],
)
def test_a_difference_sees_the_smallest_change(connection: SinkConnection, kind: str, old: object, new: object) -> None:
    plan = table_plan({"id": "integer", "x": kind}, ["id"], apply="difference")
    replace(connection, plan, [(1, old), (2, new)])
    assert replace(connection, plan, [(1, new), (2, new)]).updated == 1
    kept = connection.execute("SELECT count(DISTINCT x::text), count(x) FROM orders").fetchone()
    assert kept == ((0, 0) if new is None else (1, 2))


@pytest.mark.parametrize(("kind", "old", "new"), [("jsonb", '{"a": 1.0}', '{"a": 1.00}'), ("real[]", [0.0], [-0.0])])
def test_a_difference_sees_what_the_types_equality_does_not(
    connection: SinkConnection, kind: str, old: object, new: object
) -> None:
    plan = table_plan({"id": "integer", "x": kind}, ["id"], apply="difference")
    replace(connection, plan, [(1, old)])
    assert replace(connection, plan, [(1, new)]).updated == 1


def test_a_rowversion_alone_is_no_difference_but_goes_with_one(connection: SinkConnection) -> None:
    columns = [
        column_plan("id", "integer", nullable=False),
        column_plan("name", "text"),
        column_plan("v", "bytea", source_type="rowversion"),
    ]
    plan = table_plan(columns, ["id"], apply="difference")
    replace(connection, plan, [(1, "a", b"\1"), (2, "a", b"\1")])
    assert replace(connection, plan, [(1, "a", b"\2"), (2, "b", b"\2")]).updated == 1
    assert rows_of(connection) == [(1, "a", b"\1"), (2, "b", b"\2")]


def test_a_table_of_keys_alone_has_rows_that_come_and_go(connection: SinkConnection) -> None:
    plan = table_plan({"a": "integer", "b": "text"}, ["a", "b"], apply="difference")
    replace(connection, plan, [(1, "x"), (2, "x")])
    published = replace(connection, plan, [(2, "x"), (2, "y")])
    assert (published.inserted, published.updated, published.deleted) == (1, 0, 1)


def test_both_ways_end_with_the_same_rows_for_each_shard(connection: SinkConnection) -> None:
    for way in ("swap", "difference"):
        plan = changed(PLAN, key=("id", "shard"), shard_column="shard", target_name=way, apply=way)
        for rows in ([(1, "a", 1, "s1"), (1, "b", 2, "s2")], [(1, "b", 2, "s2"), (2, None, None, "s1")]):
            apply = planned(connection, changed(plan, apply="auto"))
            replace(connection, plan, rows, apply if apply.how == "create" else Apply(way, ""))
    assert rows_of(connection, "swap", "1, 4") == rows_of(connection, "difference", "1, 4")


@pytest.mark.parametrize("way", ["auto", "difference"])
@pytest.mark.usefixtures("target")
def test_the_record_is_written_with_the_rows_or_not_at_all(connection: SinkConnection, way: str) -> None:
    connection.execute("CREATE TABLE ledger (what text)")

    def records(connection: SinkConnection) -> None:
        connection.execute("INSERT INTO ledger VALUES ('yes')")

    plan = changed(PLAN, apply=way)
    apply = planned(connection, plan)
    shadow = load(connection, plan, NEW, apply)
    publish(connection, plan, shadow, apply, records)
    assert rows_of(connection, "ledger") == [("yes",)]

    def fails(_: SinkConnection) -> None:
        raise RuntimeError("no ledger")

    apply = planned(connection, plan)
    with pytest.raises(RuntimeError, match="no ledger"):
        publish(connection, plan, load(connection, plan, OLD, apply), apply, fails)
    assert rows_of(connection) == NEW
