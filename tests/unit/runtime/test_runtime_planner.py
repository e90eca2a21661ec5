"""What the planner refuses and notes about modes, cursors, lookbacks and shards that may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.request import Request
from etl_cli.runtime.source.catalogue import Catalogue, SourceTable
from tests.support.plans import catalogue, config_of, source_table

ID = "id int"
AT = "at datetime2(7)"
ORDERS = source_table("dbo.orders", ID, AT, "total decimal(10,2) NULL", primary=["id"])
KEYLESS = source_table("dbo.orders", ID, AT)

UPSERT = {"source": "dbo.orders", "mode": "upsert", "cursor": "at"}
APPEND = {"source": "dbo.orders", "mode": "append", "cursor": "at"}


def catalogues(*tables: SourceTable) -> list[Catalogue]:
    """Two shards with the same tables."""
    return [catalogue("shard1", *tables), catalogue("shard2", *tables)]


def table_of(table: object, source: SourceTable = ORDERS, **changes: Any) -> TablePlan:
    plan, problems, _ = make_plan(config_of(table, **changes), catalogues(source))
    assert problems == []
    return plan.tables[0]


def problems_of(table: object, shards: Sequence[Catalogue], **changes: Any) -> list[str]:
    return make_plan(config_of(table, **changes), shards)[1]


def problem_of(table: object, source: SourceTable = ORDERS, **changes: Any) -> str:
    (problem,) = problems_of(table, catalogues(source), **changes)
    assert problem.startswith("dbo.orders: ")
    return problem.removeprefix("dbo.orders: ")


def notes_of(table: object, shards: Sequence[Catalogue]) -> list[str]:
    _, problems, notes = make_plan(config_of(table), shards)
    assert problems == []
    return notes


def with_cursor(kind: str) -> SourceTable:
    return source_table("dbo.orders", ID, f"at {kind}", primary=["id"])


# the order of a scan


@pytest.mark.parametrize("table", [UPSERT, APPEND])
def test_append_and_upsert_move_along_the_cursor_and_then_the_key(table: dict[str, Any]) -> None:
    planned = table_of(table)
    assert (planned.cursor, planned.order, planned.key) == ("at", ("at", "id"), ("id", "shard"))
    assert planned.incremental


def test_a_cursor_that_is_the_key_is_in_the_order_once() -> None:
    assert table_of({**UPSERT, "cursor": "id"}).order == ("id",)
    source = source_table("dbo.orders", "a int", "b int", primary=["a", "b"])
    assert table_of({**UPSERT, "cursor": "b"}, source).order == ("b", "a")


def test_append_without_a_key_moves_along_the_cursor_alone() -> None:
    planned = table_of(APPEND, KEYLESS)
    assert (planned.key, planned.order) == ((), ("at",))


def test_a_clustered_index_is_no_way_for_an_incremental_scan() -> None:
    source = source_table("dbo.orders", ID, AT, "x int", primary=["id"], clustered=["x", "id"])
    assert table_of(UPSERT, source).order == ("at", "id")
    assert table_of({"source": "dbo.orders", "mode": "changes"}, source).order == ("id",)
    assert table_of({"source": "dbo.orders", "mode": "sync"}, source).order == ("x", "id")


@pytest.mark.parametrize("mode", ["replace", "sync", "changes"])
def test_the_other_modes_know_no_cursor(mode: str) -> None:
    assert table_of({"source": "dbo.orders", "mode": mode, "cursor": "at"}).cursor is None


def test_a_cursor_is_found_whatever_case_the_configuration_writes() -> None:
    planned = table_of({**UPSERT, "cursor": "AT"})
    assert planned.order == ("at", "id")
    assert planned.cursor == "at", "the watermark and the merge look for the source's own spelling"


# cursors


@pytest.mark.parametrize(
    "kind",
    [
        *("tinyint", "smallint", "int", "bigint", "decimal(18,0)", "numeric(38,0)"),
        *("date", "datetime", "smalldatetime", "datetime2(0)", "datetime2(7)", "datetimeoffset(7)"),
        *("rowversion", "timestamp"),
    ],
)
def test_what_grows_with_time_may_be_a_cursor(kind: str) -> None:
    assert table_of(UPSERT, with_cursor(kind)).cursor == "at"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("uniqueidentifier", "whose values do not grow, and which SQL Server orders by its last bytes first"),
        ("decimal(18,2)", "which has digits behind the point"),
        *((kind, "which has no order that grows with time") for kind in ("nvarchar(50)", "bit", "float", "time(7)")),
        *((kind, "which has no order that grows with time") for kind in ("money", "binary(8)", "xml", "varchar(max)")),
    ],
)
def test_what_does_not_grow_is_refused_as_cursor_with_the_reason(kind: str, reason: str) -> None:
    """Traps 5 and 11."""
    assert problem_of(UPSERT, with_cursor(kind)) == (
        f"cursor column at is {kind}, {reason}: choose another `cursor`, or mode sync"
    )


def test_a_cursor_that_does_not_exist_or_is_not_copied_is_a_problem() -> None:
    assert problem_of({**UPSERT, "cursor": "nope"}) == (
        "cursor column nope does not exist: name another under `cursor`"
    )
    assert problem_of({**UPSERT, "columns": ["id", "total"]}) == ("cursor column at is not copied: add it to `columns`")


def test_a_cursor_that_may_be_null_anywhere_is_noted() -> None:
    filled, nullable = with_cursor("datetime2(7)"), with_cursor("datetime2(7) NULL")
    told = "dbo.orders: cursor column at may be NULL: rows without it are never read"
    assert notes_of(UPSERT, catalogues(nullable)) == [told]
    assert notes_of(UPSERT, [catalogue("shard1", filled), catalogue("shard2", nullable)]) == [told]
    assert notes_of(UPSERT, catalogues(filled)) == []


# keys


@pytest.mark.parametrize("mode", ["upsert", "sync", "changes"])
def test_a_mode_that_tells_rows_apart_needs_a_key(mode: str) -> None:
    table = {"source": "dbo.orders", "mode": mode, **({"cursor": "at"} if mode == "upsert" else {})}
    told = [problem for problem in problems_of(table, catalogues(KEYLESS)) if "needs a key" in problem]
    assert told == [f"dbo.orders: mode {mode} needs a key to tell rows apart: name its columns under `key`"]


def test_append_needs_a_key_for_a_lookback() -> None:
    assert problem_of({**APPEND, "lookback": "1h"}, KEYLESS) == (
        "a lookback in mode append needs a key, or rows would come twice: name it under `key`"
    )
    assert table_of({**APPEND, "lookback": "1h"}).lookback == 3600
    assert table_of({**APPEND, "lookback": 500, "cursor": "id"}).lookback == 500


def test_changes_go_by_the_primary_key() -> None:
    table = {"source": "dbo.orders", "mode": "changes", "key": ["code"]}
    source = source_table("dbo.orders", ID, "code int", primary=["id"])
    assert problem_of(table, source) == ("mode changes goes by the primary key, which is another on shard1, shard2")
    assert table_of({**table, "key": ["id"]}, source).order == ("id",)


def test_changes_are_refused_where_one_shard_has_another_primary_key() -> None:
    source = source_table("dbo.orders", "id int", "line int", primary=["id", "line"])
    other = source_table("dbo.orders", "id int", "line int", primary=["id"])
    shards = [catalogue("shard1", source), catalogue("shard2", other)]
    (problem,) = problems_of({"source": "dbo.orders", "mode": "changes"}, shards)
    assert problem == "dbo.orders: mode changes goes by the primary key, which is another on shard2"


def test_the_order_of_a_primary_keys_columns_does_not_matter_to_changes() -> None:
    source = source_table("dbo.orders", "id int", "line int", primary=["id", "line"])
    other = source_table("dbo.orders", "id int", "line int", primary=["line", "id"])
    shards = [catalogue("shard1", source), catalogue("shard2", other)]
    assert problems_of({"source": "dbo.orders", "mode": "changes"}, shards) == []


# shards that may fail


@pytest.mark.parametrize("mode", ["replace", "sync", "changes"])
def test_going_on_without_a_shard_needs_a_shard_column(mode: str) -> None:
    """Trap 21: a failed shard keeps its old rows, so they must be told from the others'."""
    table = {"source": "dbo.orders", "mode": mode, "shard_column": None}
    assert problem_of(table, error_handling={"on_shard_failure": "continue"}) == (
        "on_shard_failure: continue needs a shard_column to keep a failed shard's rows apart"
    )
    assert problems_of(table, catalogues(ORDERS), error_handling={"on_shard_failure": "fail"}) == []
    assert table_of({**table, "shard_column": "origin"}, error_handling={"on_shard_failure": "continue"}).key == (
        "id",
        "origin",
    )


# checksums


def test_checksums_want_servers_that_can_give_utf8() -> None:
    table = {"source": "dbo.orders", "validate": "checksums"}
    old = catalogue("shard2", ORDERS)
    old = replace(old, server=replace(old.server, version="14.0.3456.2"))
    (problem,) = problems_of(table, [catalogue("shard1", ORDERS), old])
    assert problem == ("dbo.orders: validate: checksums needs SQL Server 2019 or newer, shard2 is older: use counts")
    assert problems_of({**table, "validate": "counts"}, [catalogue("shard1", ORDERS), old]) == []
    assert table_of(table).validate == "checksums"


# columns of our own


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({"lineage": True}, "_etl_run_id"),
        ({"lineage": True}, "_etl_loaded_at"),
        ({"mode": "sync", "soft_delete": True}, "_etl_deleted_at"),
    ],
)
def test_a_source_that_has_a_column_of_ours_is_refused(changes: dict[str, Any], own: str) -> None:
    source = source_table("dbo.orders", ID, f"{own} int NULL", primary=["id"])
    assert problem_of({"source": "dbo.orders", **changes}, source) == (
        f"has a column {own} of its own, which `lineage` and `soft_delete` use: leave it out"
    )
    assert problems_of("dbo.orders", catalogues(source)) == []


# parts


def test_only_the_tables_that_are_asked_for_are_planned() -> None:
    shards = catalogues(ORDERS, source_table("dbo.items", ID, primary=["id"]))
    config = config_of("dbo.*", {"source": "dbo.missing"})
    plan, problems, _ = make_plan(config, shards, request=Request(tables=["DBO.Items"]))
    assert ([table.source for table in plan.tables], problems) == (["dbo.items"], [])


def test_a_table_that_is_not_configured_cannot_be_asked_for() -> None:
    _, problems, _ = make_plan(config_of("dbo.orders"), catalogues(ORDERS), request=Request(tables=["dbo.nope"]))
    assert problems == ["dbo.nope: not among `tables`: name a source table as config.yaml does"]


# the fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "append"},
        {"cursor": "id"},
        {"lookback": 60},
        {"schema": "discard"},
        {"on_bad_row": "reject"},
        {"max_rejects": 5},
        {"lineage": True},
        {"validate": "checksums"},
    ],
)
def test_the_fingerprint_changes_with_how_rows_are_read_and_written(changes: dict[str, Any]) -> None:
    """Trap 20."""
    plans = [make_plan(config_of(table), catalogues(ORDERS))[0] for table in (UPSERT, {**UPSERT, **changes})]
    assert plans[0].fingerprint != plans[1].fingerprint


@pytest.mark.parametrize("changes", [{"soft_delete": True}, {"track_changes": True}])
def test_the_fingerprint_changes_with_what_becomes_of_deletes(changes: dict[str, Any]) -> None:
    table = {"source": "dbo.orders", "mode": "sync"}
    plans = [make_plan(config_of(each), catalogues(ORDERS))[0] for each in (table, {**table, **changes})]
    assert plans[0].fingerprint != plans[1].fingerprint
