"""Views on a target: a swap makes them again, with all that hangs on them."""

from __future__ import annotations

from typing import Any

import pytest

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.target import read_target
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.orders import NEW, OLD, PLAN
from tests.support.plans import table_plan
from tests.support.publishing import planned, replace, rows_of, value

pytestmark = pytest.mark.usefixtures("target")


def view_state(connection: SinkConnection, *names: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT relname, oid, relacl, reloptions, pg_get_viewdef(oid), obj_description(oid), relowner"
        " FROM pg_class WHERE relname = ANY (%s) ORDER BY 1",
        [list(names)],
    ).fetchall()


VIEWS = {
    "plain": "CREATE VIEW v AS SELECT id, name FROM orders WHERE id > 1",
    "of all columns": "CREATE VIEW v AS SELECT * FROM orders",
    "with renamed columns": 'CREATE VIEW v ("Key", "the name") AS SELECT id, name FROM orders',
    "aggregate": "CREATE VIEW v AS SELECT name, sum(total), count(*) FROM orders GROUP BY name HAVING count(*) > 0",
    "grouped by the key": "CREATE VIEW v AS SELECT id, name, count(*) FROM orders GROUP BY id",
    "security barrier": "CREATE VIEW v WITH (security_barrier) AS SELECT id FROM orders WHERE id > 1",
    "security invoker": "CREATE VIEW v WITH (security_invoker = true) AS SELECT id FROM orders",
    "check option": "CREATE VIEW v AS SELECT * FROM orders WHERE id > 0 WITH LOCAL CHECK OPTION",
    "joined with itself": "CREATE VIEW v AS SELECT a.id, b.name FROM orders AS a JOIN orders AS b USING (id)",
    "subquery": "CREATE VIEW v AS SELECT 1 AS one WHERE EXISTS (SELECT FROM orders WHERE name LIKE '%{}%%s')",
    "recursive": "CREATE VIEW v AS WITH RECURSIVE r(n) AS (SELECT min(id) FROM orders UNION ALL"
    " SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
    "system columns": "CREATE VIEW v AS SELECT tableoid::regclass, id FROM orders",
    "whole row as text": "CREATE VIEW v AS SELECT orders::text, row_to_json(orders) FROM orders",
    "odd name": 'CREATE VIEW "odd ""v"" %s {}" AS SELECT id FROM orders',
    "union": "CREATE VIEW v AS SELECT id FROM orders UNION SELECT -id FROM orders",
    "window": "CREATE VIEW v AS SELECT id, rank() OVER (ORDER BY total) FROM orders",
    "column default": "CREATE VIEW v AS SELECT * FROM orders; ALTER VIEW v ALTER name SET DEFAULT 'x'",
    "trigger": "CREATE VIEW v AS SELECT * FROM orders; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RETURN NULL; END'; CREATE TRIGGER t INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION f()",
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_swap_keeps_a_view_with_its_rights_options_and_comment(connection: SinkConnection, name: str) -> None:
    connection.execute(VIEWS[name])
    view = 'odd "v" %s {}' if name == "odd name" else "v"
    quoted = '"odd ""v"" %s {}"' if name == "odd name" else "v"
    connection.execute(f"GRANT SELECT ON {quoted} TO PUBLIC; COMMENT ON VIEW {quoted} IS 'a view'")
    before = view_state(connection, view)
    published = replace(connection, PLAN, NEW)
    assert published.how == "swap"
    assert view_state(connection, view) == before
    connection.execute(f"SELECT * FROM {quoted}")
    assert replace(connection, PLAN, OLD).how == "swap"


def test_a_swap_keeps_views_on_views_and_in_other_schemas(connection: SinkConnection) -> None:
    connection.execute(
        "CREATE SCHEMA reporting;"
        "CREATE VIEW a AS SELECT id, name FROM orders;"
        "CREATE VIEW reporting.b AS SELECT a.id FROM a JOIN orders USING (id);"
        "CREATE MATERIALIZED VIEW reporting.c AS SELECT count(*) FROM reporting.b;"
        "GRANT SELECT ON reporting.b TO PUBLIC; COMMENT ON VIEW reporting.b IS 'b'"
    )
    before = view_state(connection, "a", "b", "c")
    assert replace(connection, PLAN, NEW).how == "swap"
    assert view_state(connection, "a", "b", "c") == before
    connection.execute("REFRESH MATERIALIZED VIEW reporting.c")
    assert rows_of(connection, "reporting.b") == [(2,), (3,), (4,)]


def test_a_view_keeps_its_place_when_one_that_it_uses_is_made_again_after_it(connection: SinkConnection) -> None:
    connection.execute(
        "CREATE VIEW first AS SELECT id FROM orders;"
        "CREATE VIEW second AS SELECT id FROM orders;"
        "CREATE OR REPLACE VIEW first AS SELECT orders.id FROM orders JOIN second USING (id)"
    )
    assert replace(connection, PLAN, NEW).how == "swap"
    assert rows_of(connection, "first") == [(2,), (3,), (4,)]


def test_a_view_finds_the_target_whatever_the_search_path(sink: SinkDatabase, connection: SinkConnection) -> None:
    connection.execute(
        "CREATE SCHEMA other; CREATE TABLE other.orders (id int); CREATE VIEW v AS SELECT id FROM public.orders;"
        "CREATE VIEW w AS SELECT a.id FROM public.orders AS a JOIN other.orders AS b USING (id)"
    )
    before = view_state(connection, "v", "w")
    for path in ("other, public", "public, other", "other", '""'):
        with sink.connect(options=f"-c search_path={path.replace(' ', '')}") as session:
            assert replace(session, PLAN, NEW).how == "swap"
        assert view_state(connection, "v", "w") == before


def test_a_temporary_table_of_the_targets_name_is_not_taken_for_it(connection: SinkConnection) -> None:
    connection.execute("CREATE VIEW v AS SELECT id FROM orders; CREATE TEMP TABLE orders (mine int)")
    assert replace(connection, PLAN, NEW).how == "swap"
    assert rows_of(connection, "v") == [(2,), (3,), (4,)]
    assert value(connection, "SELECT count(*) FROM pg_temp.orders") == 0


def test_a_view_that_another_user_owns_survives(sink: SinkDatabase, connection: SinkConnection) -> None:
    other_users_view(sink)
    try:
        replace(connection, PLAN, NEW)
    except SinkError:
        assert rows_of(connection) == OLD
    assert value(connection, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'v'") != "etl_user"
    with sink.connect(SUPERUSER) as admin:
        assert rows_of(admin, "v") == [row[:1] for row in rows_of(connection)]


def other_users_view(sink: SinkDatabase) -> None:
    """A view v of an analyst, on the target."""
    analyst = sink.role("analyst")
    with sink.connect() as connection:
        connection.execute(f'GRANT SELECT ON orders TO "{analyst}"; GRANT CREATE ON SCHEMA public TO "{analyst}"')
    with sink.connect(analyst) as connection:
        connection.execute("CREATE VIEW v AS SELECT id FROM orders")


def test_a_view_that_another_user_owns_leads_to_the_difference(sink: SinkDatabase, connection: SinkConnection) -> None:
    other_users_view(sink)
    assert replace(connection, PLAN, NEW).how == "difference"
    with sink.connect(SUPERUSER) as admin:
        assert rows_of(admin, "v") == [(2,), (3,), (4,)]


def test_new_columns_of_the_source_come_with_a_swap(connection: SinkConnection) -> None:
    connection.execute("CREATE VIEW v AS SELECT * FROM orders")
    plan = table_plan({"id": "integer", "name": "text", "total": "numeric(10,2)", "more": "text"}, ["id"])
    assert replace(connection, plan, [(1, "one", 1, "x")]).how == "swap"
    assert rows_of(connection) == [(1, "one", 1, "x")]
    assert rows_of(connection, "v") == [(1, "one", 1)]


def test_a_wider_type_of_the_source_comes_with_a_swap(connection: SinkConnection) -> None:
    plan = table_plan({"id": "bigint", "name": "text", "total": "numeric(19,4)"}, ["id"])
    assert replace(connection, plan, [(2**40, "one", "1.2345")]).how == "swap"
    target = read_target(connection, "public", "orders")
    assert target is not None
    assert [column.type for column in target.columns] == ["bigint", "text", "numeric(19,4)"]


def test_a_wider_type_of_the_source_under_a_view_is_a_problem_of_the_plan(connection: SinkConnection) -> None:
    connection.execute("CREATE VIEW v AS SELECT total FROM orders")
    plan = table_plan({"id": "integer", "name": "text", "total": "numeric(19,4)"}, ["id"])
    assert planned(connection, plan).problem != ""
