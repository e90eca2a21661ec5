"""A failure leaves the target as it was, and says what was wrong."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from etl_cli.runtime.errors import DataError, SinkError
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.publish import publish
from etl_cli.runtime.sink.shadow import drop_shadow
from tests.support.database import SinkDatabase
from tests.support.orders import DIFFERENCE, KEYLESS, NEW, OLD, PLAN
from tests.support.publishing import insert, load, no_record, planned, replace, rows_of, shadows


@pytest.mark.parametrize("plan", [PLAN, DIFFERENCE, KEYLESS], ids=["swap", "difference", "keyless"])
@pytest.mark.usefixtures("target")
def test_an_empty_source_never_empties_a_full_target(connection: SinkConnection, plan: TablePlan) -> None:
    with pytest.raises(DataError, match=r"dbo\.orders is empty on every shard, public\.orders is not") as caught:
        replace(connection, plan, [])
    assert caught.value.remedy == "if it is meant to be empty, set allow_empty: true"
    assert rows_of(connection) == OLD


@pytest.mark.parametrize("plan", [PLAN, DIFFERENCE], ids=["swap", "difference"])
@pytest.mark.usefixtures("target")
def test_an_empty_source_empties_the_target_where_it_is_allowed(connection: SinkConnection, plan: TablePlan) -> None:
    replace(connection, changed(plan, allow_empty=True), [])
    assert rows_of(connection) == []


@pytest.mark.usefixtures("target")
def test_an_empty_source_over_an_empty_target_is_fine(connection: SinkConnection) -> None:
    connection.execute("DELETE FROM orders")
    assert replace(connection, PLAN, []).how == "swap"


@pytest.mark.parametrize("plan", [PLAN, DIFFERENCE], ids=["swap", "difference"])
@pytest.mark.usefixtures("target")
def test_a_key_that_is_not_unique_leaves_the_target_as_it_was(connection: SinkConnection, plan: TablePlan) -> None:
    with pytest.raises(DataError, match=r"dbo\.orders: the key \(id\) is not unique: Key \(id\)=\(7\)") as caught:
        replace(connection, plan, [(7, "a", 1), (7, "b", 2)])
    assert "shard_column" in caught.value.remedy
    assert rows_of(connection) == OLD
    assert shadows(connection) == 0


def test_a_foreign_key_that_restricts_leaves_the_target_as_it_was(connection: SinkConnection) -> None:
    replace(connection, PLAN, OLD)
    connection.execute("CREATE TABLE items (order_id int REFERENCES orders ON DELETE RESTRICT)")
    connection.execute("INSERT INTO items VALUES (1)")
    with pytest.raises(SinkError, match=r"making public\.orders visible failed") as caught:
        replace(connection, PLAN, NEW)
    assert "items" in str(caught.value)
    assert rows_of(connection) == OLD


@pytest.mark.usefixtures("target")
def test_a_check_that_new_rows_break_leaves_the_target_as_it_was(connection: SinkConnection) -> None:
    connection.execute("ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 4)")
    with pytest.raises(SinkError, match="small"):
        replace(connection, PLAN, NEW)
    assert rows_of(connection) == OLD


@pytest.mark.usefixtures("target")
def test_a_target_that_is_gone_meanwhile_is_an_error(connection: SinkConnection) -> None:
    for plan in (PLAN, DIFFERENCE):
        apply = planned(connection, plan)
        shadow = load(connection, plan, NEW, apply)
        connection.execute("ALTER TABLE orders RENAME TO elsewhere")
        with pytest.raises(SinkError, match="orders"):
            publish(connection, plan, shadow, apply, no_record)
        connection.execute("ALTER TABLE elsewhere RENAME TO orders")
        drop_shadow(connection, shadow)
    assert rows_of(connection) == OLD


@pytest.mark.usefixtures("target")
def test_a_shadow_that_could_not_be_published_can_be_tried_again(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    apply = planned(connection, DIFFERENCE)
    shadow = load(connection, DIFFERENCE, NEW, apply)
    connection.execute("SET lock_timeout = '100ms'")
    with sink.connect() as other, other.transaction():
        other.execute("LOCK TABLE orders")
        with pytest.raises(SinkError):
            publish(connection, DIFFERENCE, shadow, apply, no_record)
    publish(connection, DIFFERENCE, shadow, apply, no_record)
    assert rows_of(connection) == NEW


def test_rows_of_the_key_twice_in_the_target_are_not_left_there(connection: SinkConnection) -> None:
    connection.execute("CREATE TABLE orders (id integer NOT NULL, name text, total numeric(10,2), CHECK (id > 0))")
    insert(connection, "orders", ["id", "name", "total"], [*OLD, OLD[0]])
    replace(connection, PLAN, OLD)
    assert rows_of(connection) == OLD
