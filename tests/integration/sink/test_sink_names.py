"""Tables, columns, schemas and roles of any name are created, swapped and changed like any other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from etl_cli.runtime.names import cut, quote_sink
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.apply import Apply
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.ddl import script
from etl_cli.runtime.sink.shadow import build_key, create_shadow, drop_shadow, shadow_of
from etl_cli.runtime.sink.target import read_target
from tests.support.database import SinkDatabase
from tests.support.plans import column_plan, table_plan
from tests.support.publishing import replace, rows_of, shadows, value

NAMES = {
    "reserved": "select",
    "spaces": " order  lines ",
    "quotes": "a\"b'c",
    "upper case": "OrderLines",
    "dots": "order.lines",
    "placeholders": "%s %(x)s {} {0} $1",
    "statement": "x; DROP TABLE y --",
    "backslash": "a\\b\\",
    "letters of others": "Bestellungen_ä_東京_😀",
    "brackets": "[a]]b]",
    "line ends": "a\nb\tc",
    "digits": "2024",
    "63 bytes": "x" * 63,
    "63 bytes of others": "東" * 21,
}


def plan_named(name: str, **changes: object) -> TablePlan:
    """A table of that name, with a column of that name beside its key."""
    columns = [column_plan("id", "integer", nullable=False, comment=name), column_plan(name, "text", nullable=False)]
    return table_plan(columns, ["id"], target=name, comment=name, **changes)


def rows(connection: SinkConnection, name: str) -> list[tuple[object, ...]]:
    return rows_of(connection, quote_sink("public", name))


@pytest.mark.parametrize("name", [n for n in NAMES if "63" not in n])
def test_a_table_of_any_name_is_created_swapped_and_changed(connection: SinkConnection, name: str) -> None:
    name = NAMES[name]
    plan = plan_named(name)
    assert replace(connection, plan, [(1, "a"), (2, "b")]).how == "create"
    quoted = quote_sink("public", name)
    connection.execute(f"CREATE INDEX {quote_sink('i ' + name)} ON {quoted} ({quote_sink(name)})")
    connection.execute(f"CREATE VIEW {quote_sink('v ' + name)} AS SELECT * FROM {quoted}")
    connection.execute(f"GRANT SELECT ON {quoted} TO PUBLIC")
    before = read_target(connection, "public", name)
    assert replace(connection, plan, [(2, "B"), (3, "c")]).how == "swap"
    after = read_target(connection, "public", name)
    assert before is not None
    assert after is not None
    assert (after.indexes, after.columns, after.constraints) == (before.indexes, before.columns, before.constraints)
    assert after.comment == name
    assert rows(connection, "v " + name) == [(2, "B"), (3, "c")]
    connection.execute(f"ALTER TABLE {quoted} ADD CONSTRAINT {quote_sink('c ' + name)} CHECK (true)")
    published = replace(connection, plan, [(1, "a"), (3, "c")])
    assert published.why == f"the target has the constraint c {name}"
    assert (published.inserted, published.updated, published.deleted) == (1, 0, 1)
    assert shadows(connection) == 0


@pytest.mark.parametrize("name", [n for n in NAMES if "63" in n])
def test_a_table_of_the_longest_name_is_created_swapped_and_changed(connection: SinkConnection, name: str) -> None:
    plan = plan_named(NAMES[name])
    for content in ([(1, "a"), (2, "b")], [(2, "B"), (3, "c")]):
        replace(connection, plan, content)
        assert rows(connection, NAMES[name]) == content
    replace(connection, plan, [(7, "seven")], Apply("difference", ""))
    assert rows(connection, NAMES[name]) == [(7, "seven")]


@pytest.mark.parametrize("name", [n for n in NAMES if "63" in n])
def test_a_table_of_the_longest_name_without_constraints_is_swapped_with_its_indexes(
    connection: SinkConnection, name: str
) -> None:
    plan = table_plan({"id": "integer", NAMES[name]: "text"}, target=NAMES[name])
    replace(connection, plan, [(1, "a")])
    quoted = quote_sink(NAMES[name])
    connection.execute(f"CREATE INDEX one ON {quoted} (id); CREATE INDEX two ON {quoted} ({quoted})")
    assert replace(connection, plan, [(2, "b")]).how == "swap"
    assert rows(connection, NAMES[name]) == [(2, "b")]
    assert value(connection, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('one', 'two')") == 2


def test_a_table_beyond_63_bytes_is_found_again(connection: SinkConnection) -> None:
    plan = table_plan({"id": "integer"}, target="東" * 30)
    for number, how in enumerate(["create", "swap", "swap"]):
        assert replace(connection, plan, [(number,)]).how == how
    assert rows(connection, cut("東" * 30)) == [(2,)]


def test_two_tables_of_long_names_are_loaded_at_once(connection: SinkConnection) -> None:
    plans = [table_plan({"id": "integer"}, ["id"], target="x" * 58 + end) for end in "ab"]
    made = [shadow_of(plan, "create", 1, number) for number, plan in enumerate(plans)]
    for plan, shadow in zip(plans, made, strict=True):
        create_shadow(connection, plan, shadow)
        build_key(connection, plan, shadow)


def test_two_tables_whose_keys_names_would_meet_are_both_created(connection: SinkConnection) -> None:
    for end in "ab":
        plan = table_plan([column_plan("id", "integer", nullable=False)], ["id"], target="x" * 58 + end)
        replace(connection, plan, [(1,)])


def test_a_view_of_a_shadows_name_is_not_dropped(connection: SinkConnection) -> None:
    plan = table_plan({"id": "integer"}, ["id"])
    shadow = shadow_of(plan, "create", 5, 0)
    create_shadow(connection, plan, shadow)
    drop_shadow(connection, shadow)
    drop_shadow(connection, shadow)
    assert shadows(connection) == 0


@pytest.mark.parametrize("schema", ["Reporting", "my schema", 'quo"te', "select", "x" * 63])
def test_a_target_in_a_schema_of_any_name(connection: SinkConnection, schema: str) -> None:
    connection.execute(f"CREATE SCHEMA {quote_sink(schema)}")
    plan = table_plan({"id": "integer"}, ["id"], target_schema=schema)
    connection.execute("CREATE TABLE public.orders (id int); CREATE VIEW v AS SELECT * FROM public.orders")
    for content, how in (([(1,)], "create"), ([(2,), (3,)], "swap"), ([(3,)], "swap")):
        assert replace(connection, plan, content).how == how
    assert rows_of(connection, quote_sink(schema, "orders")) == [(3,)]
    assert rows_of(connection, "public.orders") == []


@pytest.mark.parametrize("role", ["Reader", "public", "my role", 'quo"te', "select", "%s"])
def test_a_grant_to_a_role_of_any_name_is_kept(sink: SinkDatabase, connection: SinkConnection, role: str) -> None:
    full = sink.role(role)
    plan = table_plan({"id": "integer"}, ["id"])
    replace(connection, plan, [(1,)])
    connection.execute(f"GRANT SELECT ON orders TO {quote_sink(full)} WITH GRANT OPTION")
    assert replace(connection, plan, [(2,)]).how == "swap"
    with sink.connect(full) as other:
        assert rows_of(other) == [(2,)]


def statements(plans: Sequence[TablePlan]) -> str:
    return "\n".join(script(plan) for plan in plans)


def test_the_script_of_a_plan_is_taken_by_postgres(connection: SinkConnection) -> None:
    plans = [plan_named(name) for name in NAMES.values() if len(name.encode()) < 40]
    connection.execute(statements(plans))
    for plan in plans:
        assert replace(connection, plan, [(1, "a")]).how == "swap"
