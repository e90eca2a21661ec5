"""The plan: configuration and catalogues in, tables out, with every problem and its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.names import split_name
from etl_cli.runtime.plan import Plan, TablePlan
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.source.catalogue import Catalogue, SourceTable
from tests.support.plans import catalogue, config_of, source_table

ID = "id int"
ORDERS = source_table("dbo.orders", ID, "total decimal(10,2) NULL", primary=["id"], rows=5)


def catalogues(*tables: SourceTable) -> list[Catalogue]:
    """Two shards with the same tables."""
    return [catalogue("shard1", *tables), catalogue("shard2", *tables)]


def plan_of(tables: Sequence[object], shards: Sequence[Catalogue], **changes: Any) -> Plan:
    """The plan where there is nothing against it."""
    plan, problems, _ = make_plan(config_of(*tables, **changes), shards)
    assert problems == []
    return plan


def table_of(table: object, shards: Sequence[Catalogue], **changes: Any) -> TablePlan:
    (planned,) = plan_of([table], shards, **changes).tables
    return planned


def problems_of(tables: Sequence[object], shards: Sequence[Catalogue], **changes: Any) -> list[str]:
    return make_plan(config_of(*tables, **changes), shards)[1]


def notes_of(table: object, shards: Sequence[Catalogue], *, has_xml: bool = True) -> list[str]:
    _, problems, notes = make_plan(config_of(table), shards, has_xml=has_xml)
    assert problems == []
    return notes


# names


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("dbo.orders", ("dbo", "orders")),
        ("orders", ("dbo", "orders")),
        ("[dbo].[orders]", ("dbo", "orders")),
        ("[my schema].[order.lines]", ("my schema", "order.lines")),
        ("[order.lines]", ("dbo", "order.lines")),
        ("server.dbo.orders", ("dbo", "orders")),
        ("dbo.Order Lines", ("dbo", "Order Lines")),
    ],
)
def test_a_source_name_is_split_at_dots_outside_of_brackets(source: str, parts: tuple[str, str]) -> None:
    assert split_name(source) == parts


def test_a_doubled_bracket_is_one_of_the_name() -> None:
    assert split_name("[dbo].[a]]b]") == ("dbo", "a]b")


def test_a_table_is_found_whatever_case_the_configuration_writes() -> None:
    planned = table_of("DBO.Orders", catalogues(ORDERS))
    assert (planned.source, planned.target) == ("dbo.orders", "public.orders")


def test_names_are_folded_by_default_and_kept_on_request() -> None:
    shards = catalogues(source_table("dbo.OrderLines", "OrderId int", primary=["OrderId"]))
    folded = table_of("dbo.OrderLines", shards)
    kept = table_of({"source": "dbo.OrderLines", "names": "keep", "shard_column": "Shard"}, shards)
    assert (folded.target_name, folded.key, folded.order) == ("orderlines", ("orderid", "shard"), ("OrderId",))
    assert (kept.target_name, kept.key, kept.order) == ("OrderLines", ("OrderId", "Shard"), ("OrderId",))


def test_the_target_goes_to_the_sinks_schema_or_to_its_own() -> None:
    sink = {"user": "u", "database": "d", "schema": "staging"}
    tables = [{"source": "dbo.orders"}, {"source": "dbo.items", "target": "reporting.Items"}]
    shards = catalogues(ORDERS, source_table("dbo.items", ID, primary=["id"]))
    plan = plan_of(tables, shards, sink=sink)
    assert [(t.target_schema, t.target_name) for t in plan.tables] == [("staging", "orders"), ("reporting", "Items")]


def test_a_source_name_with_a_dot_is_no_schema_of_the_sink() -> None:
    planned = table_of("dbo.[order.lines]", catalogues(source_table("dbo.order.lines", ID, primary=["id"])))
    assert (planned.target_schema, planned.target_name) == ("public", "order.lines")


# which tables


def test_a_table_missing_on_one_shard_is_a_problem_that_names_the_shard() -> None:
    shards = [catalogue("shard1", ORDERS), catalogue("shard2"), catalogue("shard3")]
    (problem,) = problems_of(["dbo.orders"], shards)
    assert problem.startswith("dbo.orders: does not exist (or may not be seen) on shard2, shard3: create it there")


def test_a_table_missing_everywhere_is_one_problem() -> None:
    (problem,) = problems_of(["dbo.nowhere"], catalogues(ORDERS))
    assert problem.startswith("dbo.nowhere: does not exist (or may not be seen) on shard1, shard2")


def test_all_problems_of_all_tables_are_told() -> None:
    broken = source_table("dbo.broken", "id int", "x cursor", primary=["id"])
    told = problems_of(["dbo.nowhere", "dbo.broken", "dbo.orders"], catalogues(ORDERS, broken))
    assert [problem.split(":")[0] for problem in told] == ["dbo.nowhere", "dbo.broken"]


def many() -> list[Catalogue]:
    names = ["dbo.orders", "dbo.order_lines", "dbo.tmp_x", "sales.orders", "dbo.Customers"]
    tables = [source_table(name, ID, primary=["id"]) for name in names]
    return catalogues(*tables, source_table("dbo.a_view", ID, is_view=True))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"source": "dbo.*"}, ["Customers", "order_lines", "orders", "tmp_x"]),
        ({"source": "dbo.order*"}, ["order_lines", "orders"]),
        ({"source": "DBO.ORDERS?"}, None),
        ({"source": "dbo.?rders"}, ["orders"]),
        ({"source": "dbo.*", "exclude": ["dbo.tmp_*", "dbo.customers"]}, ["order_lines", "orders"]),
        ({"source": "dbo.*", "exclude": ["tmp_*"]}, ["Customers", "order_lines", "orders"]),
        ({"source": "*.orders", "exclude": ["sales.*"]}, ["orders"]),
        ({"source": "cust*"}, ["Customers"]),
    ],
)
def test_a_pattern_stands_for_the_tables_that_match_and_no_views(
    table: dict[str, Any], expected: list[str] | None
) -> None:
    if expected is None:
        assert problems_of([table], many()) == [
            f"{table['source']}: no table matches; see what is there with SELECT name FROM sys.tables"
        ]
        return
    assert [t.source_name for t in plan_of([table], many()).tables] == expected


def test_a_table_that_an_entry_names_is_left_out_of_the_patterns() -> None:
    plan = plan_of([{"source": "dbo.*"}, {"source": "dbo.ORDERS", "chunk_rows": 7}], many())
    assert [(t.source_name, t.chunk_rows) for t in plan.tables if t.source_name == "orders"] == [("orders", 7)]


def test_a_pattern_that_only_one_shard_fulfils_is_a_problem() -> None:
    shards = [catalogue("shard1", ORDERS), catalogue("shard2", ORDERS, source_table("dbo.extra", ID))]
    (problem,) = problems_of(["dbo.*"], shards)
    assert problem.startswith("dbo.extra: does not exist (or may not be seen) on shard1")


def test_a_pattern_takes_a_table_once_whose_case_differs_between_shards() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.Orders", ID, primary=["id"])),
        catalogue("shard2", source_table("dbo.orders", ID, primary=["id"])),
    ]
    assert len(plan_of(["dbo.*"], shards).tables) == 1


def test_a_source_named_twice_is_a_problem() -> None:
    tables = [{"source": "dbo.orders"}, {"source": "dbo.orders", "target": "copy"}]
    (problem,) = problems_of(tables, catalogues(ORDERS))
    assert "dbo.orders" in problem


def test_overlapping_patterns_are_a_problem() -> None:
    (problem,) = problems_of(["dbo.*", "*.orders"], catalogues(ORDERS))
    assert "dbo.orders is named twice" in problem


# targets


def test_two_sources_of_one_target_are_a_problem_that_names_both() -> None:
    shards = catalogues(ORDERS, source_table("sales.orders", ID, primary=["id"]))
    (problem,) = problems_of(["dbo.orders", "sales.orders"], shards)
    assert problem == (
        "dbo.orders and sales.orders would share the target public.orders: give one of them its own `target`"
    )


def test_targets_that_meet_in_lower_case_are_a_problem_unless_names_are_kept() -> None:
    shards = catalogues(source_table("a.Orders", ID, primary=["id"]), source_table("b.orders", ID, primary=["id"]))
    assert len(problems_of(["a.Orders", "b.orders"], shards)) == 1
    assert problems_of(["a.Orders", "b.orders"], shards, defaults={"names": "keep"}) == []


def test_targets_that_meet_after_63_bytes_are_a_problem() -> None:
    names = ["dbo." + "ä" * 40 + end for end in "ab"]
    shards = catalogues(*[source_table(name, ID, primary=["id"]) for name in names])
    (problem,) = problems_of(names, shards)
    assert "would share the target" in problem


def test_targets_that_differ_within_63_bytes_are_no_problem() -> None:
    names = ["dbo." + "x" * 60 + end for end in "ab"]
    shards = catalogues(*[source_table(name, ID, primary=["id"]) for name in names])
    assert problems_of(names, shards) == []


@pytest.mark.parametrize("what", ["table", "column"])
def test_a_name_beyond_63_bytes_is_planned_as_postgres_stores_it(what: str) -> None:
    long = "東" * 30
    table = source_table(f"dbo.{long}", ID, f"{long} int NULL", primary=["id"])
    planned = table_of(f"dbo.{long}", catalogues(table))
    assert (planned.target_name if what == "table" else planned.columns[1].target) == "東" * 21


# columns


def test_the_columns_are_those_of_the_source_in_its_order() -> None:
    table = source_table("dbo.t", "b int", "a nvarchar(max) NULL -- what it says", "c rowversion", primary=["b"])
    columns = table_of("dbo.t", catalogues(table)).columns
    assert [(c.source, c.target, c.sink_type, c.nullable, c.large, c.text) for c in columns] == [
        ("b", "b", "integer", False, False, False),
        ("a", "a", "text", True, True, True),
        ("c", "c", "bytea", False, False, False),
    ]
    assert columns[1].comment == "what it says"


def test_columns_may_be_chosen_in_any_order_and_case() -> None:
    table = source_table("dbo.t", ID, "Name nvarchar(5)", "secret int", primary=["id"])
    columns = table_of({"source": "dbo.t", "columns": ["NAME", "id"]}, catalogues(table)).columns
    assert [(c.source, c.target) for c in columns] == [("Name", "name"), ("id", "id")]


def test_an_unknown_column_is_a_problem_that_lists_the_columns() -> None:
    (problem,) = problems_of([{"source": "dbo.orders", "columns": ["id", "totla"]}], catalogues(ORDERS))
    assert problem == "dbo.orders: has no column totla: its columns are id, total"


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_a_column_on_one_shard_only_is_a_problem_that_names_it_and_the_shards(first: int, second: int) -> None:
    tables = [
        source_table("dbo.t", ID, "extra int NULL", primary=["id"]),
        source_table("dbo.t", ID, primary=["id"]),
    ]
    shards = [catalogue("shard1", tables[first]), catalogue("shard2", tables[second])]
    (problem,) = problems_of(["dbo.t"], shards)
    has, lacks = ("shard1", "shard2") if first == 0 else ("shard2", "shard1")
    assert f"columns differ: {has} has extra, {lacks} has not: make the tables alike, or list the common" in problem


def test_common_columns_alone_are_no_problem() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", ID, "extra int", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", ID, "more int", primary=["id"])),
    ]
    assert len(table_of({"source": "dbo.t", "columns": ["id"]}, shards).columns) == 1


def test_a_column_of_two_types_is_a_problem_that_names_both() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", ID, "x int", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", ID, "x decimal(10,2)", primary=["id"])),
    ]
    (problem,) = problems_of(["dbo.t"], shards)
    assert (
        "x is not of one type on all shards (shard1 int -> integer, shard2 decimal(10,2) -> numeric(10,2))" in problem
    )


def test_types_that_become_one_are_no_problem() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", ID, "x varchar(10)", "y tinyint", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", ID, "x nvarchar(50)", "y smallint", primary=["id"])),
    ]
    assert [c.sink_type for c in table_of("dbo.t", shards).columns] == ["integer", "text", "smallint"]


def test_a_column_that_is_nullable_anywhere_is_nullable() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", ID, "x int", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", ID, "x int NULL", primary=["id"])),
    ]
    assert [c.nullable for c in table_of("dbo.t", shards).columns] == [False, True]


def test_an_unsupported_type_is_a_problem_that_names_column_and_remedy() -> None:
    table = source_table("dbo.t", ID, "odd my_clr_type NULL", primary=["id"])
    (problem,) = problems_of(["dbo.t"], catalogues(table))
    assert problem == (
        "dbo.t: column odd: type my_clr_type has no counterpart here (shard1): leave the column out with `columns`"
    )
    assert problems_of([{"source": "dbo.t", "columns": ["id"]}], catalogues(table)) == []


def test_columns_that_meet_in_lower_case_are_a_problem_with_its_remedies() -> None:
    table = source_table("dbo.t", ID, "Name int", "NAME int", primary=["id"])
    (problem,) = problems_of(["dbo.t"], catalogues(table))
    assert "columns name and name are one name in Postgres (name): leave one out" in problem
    assert problems_of([{"source": "dbo.t", "names": "keep"}], catalogues(table)) == []


def test_columns_that_meet_after_63_bytes_are_a_problem() -> None:
    long = "x" * 63
    table = source_table("dbo.t", ID, f"{long}1 int", f"{long}2 int", primary=["id"])
    (problem,) = problems_of(["dbo.t"], catalogues(table))
    assert f"columns {long}1 and {long}2 are one name in Postgres ({long})" in problem


def test_xml_becomes_text_with_a_note_where_the_sink_has_none() -> None:
    shards = catalogues(source_table("dbo.t", ID, "x xml NULL", primary=["id"]))
    assert notes_of("dbo.t", shards) == []
    assert notes_of("dbo.t", shards, has_xml=False) == ["dbo.t: column x becomes text, the sink is built without XML"]


# key and order


def test_the_key_is_the_primary_key_with_the_shard_last() -> None:
    table = source_table("dbo.t", "a int", "b int", primary=["b", "a"])
    planned = table_of("dbo.t", catalogues(table))
    assert (planned.key, planned.order) == (("b", "a", "shard"), ("b", "a"))


def test_the_configured_key_wins_over_the_primary_key() -> None:
    table = source_table("dbo.t", ID, "code nvarchar(9)", primary=["id"])
    assert table_of({"source": "dbo.t", "key": ["CODE"]}, catalogues(table)).key == ("code", "shard")


def test_a_table_without_a_key_is_one_chunk_and_says_so() -> None:
    shards = catalogues(source_table("dbo.t", "x int NULL"))
    planned = table_of("dbo.t", shards)
    assert (planned.key, planned.order) == ((), ())
    assert notes_of("dbo.t", shards) == ["dbo.t: has no key: copied as one chunk, and not resumable in mid-table"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"key": ["nope"]}, "key column nope does not exist: name the columns under `key`"),
        ({"columns": ["total"]}, "key column id is not copied: add it to `columns`"),
        ({"key": ["total"]}, "key column total may be NULL on shard1, shard2: choose another `key`"),
    ],
)
def test_a_key_that_cannot_serve_is_a_problem(table: dict[str, Any], problem: str) -> None:
    assert problems_of([{"source": "dbo.orders", **table}], catalogues(ORDERS)) == [f"dbo.orders: {problem}"]


@pytest.mark.parametrize("kind", ["nvarchar(max)", "xml", "text", "geography", "sql_variant", "json"])
def test_a_type_without_order_cannot_be_the_key(kind: str) -> None:
    table = source_table("dbo.t", f"x {kind}")
    (problem,) = problems_of([{"source": "dbo.t", "key": ["x"]}], catalogues(table))
    assert problem == f"dbo.t: key column x is {kind}, which has no order: choose another `key`"


def test_a_key_that_may_be_null_on_any_shard_is_a_problem() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", "code int")),
        catalogue("shard2", source_table("dbo.t", "code int NULL")),
    ]
    (problem,) = problems_of([{"source": "dbo.t", "key": ["code"]}], shards)
    assert "may be NULL" in problem


def test_a_key_without_order_on_any_shard_is_a_problem() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", "code nvarchar(50)")),
        catalogue("shard2", source_table("dbo.t", "code nvarchar(max)")),
    ]
    (problem,) = problems_of([{"source": "dbo.t", "key": ["code"]}], shards)
    assert "has no order" in problem


def test_a_case_insensitive_key_is_noted() -> None:
    table = source_table("dbo.t", "code nvarchar(9) COLLATE Latin1_General_CI_AS", primary=["code"])
    (note,) = notes_of("dbo.t", catalogues(table))
    assert "key column code ignores case on the source (Latin1_General_CI_AS)" in note


def test_a_table_is_scanned_along_its_clustered_unique_index() -> None:
    table = source_table("dbo.t", ID, "at datetime2(7)", primary=["id"], clustered=["at", "id"])
    planned = table_of("dbo.t", catalogues(table))
    assert (planned.order, planned.key) == (("at", "id"), ("id", "shard"))


@pytest.mark.parametrize("at", ["at datetime2(7) NULL", "at xml"])
def test_a_clustered_index_with_nulls_or_without_order_is_not_scanned_along(at: str) -> None:
    table = source_table("dbo.t", ID, at, primary=["id"], clustered=["at"])
    assert table_of("dbo.t", catalogues(table)).order == ("id",)


def test_a_descending_clustered_index_is_not_scanned_along() -> None:
    table = source_table("dbo.t", ID, "at date", primary=["id"], clustered=["at", "id"], descending=True)
    assert table_of("dbo.t", catalogues(table)).order == ("id",)


def test_a_clustered_index_that_is_not_copied_is_not_scanned_along() -> None:
    table = source_table("dbo.t", ID, "at datetime2(7)", "x int", primary=["id"], clustered=["at", "id"])
    planned = table_of({"source": "dbo.t", "columns": ["id", "x"]}, catalogues(table))
    assert set(planned.order) <= {column.source for column in planned.columns}


# the shard column


def test_without_a_shard_column_the_key_is_the_sources() -> None:
    planned = table_of({"source": "dbo.orders", "shard_column": None}, catalogues(ORDERS))
    assert (planned.shard_column, planned.key) == (None, ("id",))


@pytest.mark.parametrize("own", ["shard", "Shard", "SHARD"])
def test_a_column_of_the_shard_columns_name_is_a_problem_with_its_remedy(own: str) -> None:
    shards = catalogues(source_table("dbo.t", ID, f"{own} int", primary=["id"]))
    (problem,) = problems_of(["dbo.t"], shards)
    assert problem == (
        "dbo.t: has a column shard of its own: give the shard's another name with `shard_column`, or null"
    )
    assert table_of({"source": "dbo.t", "shard_column": "Origin"}, shards).shard_column == "origin"
    assert problems_of([{"source": "dbo.t", "shard_column": None}], shards) == []


# the fingerprint


def fingerprint(table: object = "dbo.orders", source: SourceTable = ORDERS, **changes: Any) -> str:
    return plan_of([table], catalogues(source), **changes).fingerprint


def test_the_fingerprint_is_the_same_for_the_same_plan() -> None:
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 16


@pytest.mark.parametrize(
    "table",
    [
        {"where": "id > 5"},
        {"columns": ["id"]},
        {"target": "other"},
        {"shard_column": None},
        {"shard_column": "origin"},
        {"nul_characters": "strip"},
        {"chunk_rows": 5},
    ],
)
def test_the_fingerprint_changes_with_what_lands_where(table: dict[str, Any]) -> None:
    assert fingerprint({"source": "dbo.orders", **table}) != fingerprint()


def test_the_fingerprint_changes_with_the_source() -> None:
    changed = source_table("dbo.orders", ID, "total decimal(12,2) NULL", primary=["id"])
    assert fingerprint(source=changed) != fingerprint()


def test_the_fingerprint_changes_with_the_shards() -> None:
    plan = plan_of(["dbo.orders"], [catalogue("shard1", ORDERS)])
    assert plan.fingerprint != fingerprint()


def test_the_fingerprint_does_not_change_with_estimates_and_the_tables_comment() -> None:
    assert fingerprint(source=replace(ORDERS, row_estimate=10**6, comment="new")) == fingerprint()


def test_the_fingerprint_does_not_change_with_a_columns_comment() -> None:
    columns = tuple(replace(column, comment="new") for column in ORDERS.columns)
    assert fingerprint(source=replace(ORDERS, columns=columns)) == fingerprint()


def test_no_shard_that_answers_makes_an_empty_plan() -> None:
    plan, problems, _ = make_plan(config_of("dbo.*"), [])
    assert (plan.tables, problems) == ((), [])
