"""How the rows of each mode come into their target in this run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.loading import How, Loading, applied, exact, loading_of
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.sink.apply import Apply
from tests.support.plans import table_plan
from tests.support.targets import target_of

COLUMNS = {"id": "integer", "name": "text"}
FULL = Request(full=True)
SOME = Request(shards=["shard1"])
WHERE = Request(where="id > 5")


def plan_of(mode: str, *, key: bool = True, **changes: Any) -> TablePlan:
    values: dict[str, Any] = {"shard_column": "shard", "cursor": "id" if mode in ("append", "upsert") else None}
    columns = ["id", "shard"] if key else []
    return table_plan(COLUMNS, columns, mode=mode, **{**values, **changes})


def loading(
    plan: TablePlan, request: Request = EVERYTHING, *, streams: int = 1, follows_changes: bool = True
) -> Loading:
    return loading_of(plan, request, streams=streams, follows_changes=follows_changes)


@pytest.mark.parametrize("mode", ["replace", "sync"])
@pytest.mark.parametrize("request_", [EVERYTHING, FULL])
def test_replace_and_sync_load_beside_the_target(mode: str, request_: Request) -> None:
    plan = plan_of(mode)
    assert loading(plan, request_) == Loading("shadow", plan)


@pytest.mark.parametrize("request_", [EVERYTHING, FULL, SOME])
def test_upsert_merges(request_: Request) -> None:
    plan = plan_of("upsert")
    assert loading(plan, request_) == Loading("merge", plan)


# append


@pytest.mark.parametrize(("key", "how"), [(True, "insert"), (False, "append")])
def test_append_copies_straight_into_the_target_only_where_rows_have_no_key(key: bool, how: How) -> None:
    """With one, rows that a part of a run has brought already are passed over."""
    plan = plan_of("append", key=key)
    assert loading(plan) == Loading(how, plan)


@pytest.mark.parametrize(
    ("changes", "request_", "streams"),
    [
        ({"lookback": 60.0}, EVERYTHING, 1),
        ({}, FULL, 1),
        ({}, EVERYTHING, 2),
        ({"validate": "checksums"}, EVERYTHING, 1),
    ],
)
def test_append_inserts_what_is_not_there_where_rows_are_read_again(
    changes: dict[str, Any], request_: Request, streams: int
) -> None:
    """Trap 3: a lookback, a full read and streams that fail apart begin below what is there."""
    assert loading(plan_of("append", **changes), request_, streams=streams).how == "insert"


def test_rows_without_a_key_go_through_a_staging_table_where_their_checksums_are_compared() -> None:
    plan = plan_of("append", key=False, validate="checksums")
    assert loading(plan) == Loading("insert", plan)


def test_append_without_a_key_cannot_read_everything_again() -> None:
    told = loading(plan_of("append", key=False), FULL).problem
    assert told == "dbo.orders: --full in mode append needs a key, or rows would come twice"


# changes


def test_changes_are_followed_once_every_shard_has_a_version() -> None:
    plan = plan_of("changes")
    assert loading(plan) == Loading("changes", plan)


@pytest.mark.parametrize(("request_", "follows"), [(EVERYTHING, False), (FULL, True), (FULL, False)])
def test_changes_begin_with_all_rows_in_one_comparison_that_sees_deletes(request_: Request, follows: bool) -> None:
    plan = plan_of("changes", soft_delete=True, track_changes=True)
    expected = Loading("shadow", replace(plan, mode="sync"), initial=True)
    assert loading(plan, request_, follows_changes=follows) == expected


# parts


@pytest.mark.parametrize("mode", ["replace", "sync"])
def test_some_shards_alone_need_a_shard_column(mode: str) -> None:
    assert loading(plan_of(mode), SOME).problem == ""
    told = loading(plan_of(mode, shard_column=None), SOME).problem
    assert told.startswith(f"dbo.orders: --shard in mode {mode} needs a shard_column")


def test_the_first_read_of_changes_of_some_shards_needs_a_shard_column() -> None:
    told = loading(plan_of("changes", shard_column=None), SOME, follows_changes=False).problem
    assert "needs a shard_column" in told
    assert loading(plan_of("changes", shard_column=None), SOME).problem == ""


@pytest.mark.parametrize("mode", ["replace", "sync", "upsert", "changes"])
def test_a_condition_merges_the_rows_that_meet_it_and_changes_no_others(mode: str) -> None:
    plan = plan_of(mode)
    found = loading(plan, WHERE, follows_changes=False)
    assert found == Loading("merge", replace(plan, where="id > 5", mode="upsert", order=("id",)))


def test_a_condition_in_mode_append_inserts_what_is_not_there() -> None:
    plan = plan_of("append")
    assert loading(plan, WHERE) == Loading("insert", replace(plan, where="id > 5", order=("id",)))


def test_a_condition_of_the_run_narrows_that_of_the_configuration() -> None:
    plan = plan_of("replace", where="a = 1 OR b = 2")
    assert loading(plan, WHERE).plan.where == "(a = 1 OR b = 2) AND (id > 5)"


@pytest.mark.parametrize("mode", ["replace", "append", "sync"])
def test_a_condition_needs_a_key(mode: str) -> None:
    told = loading(plan_of(mode, key=False), WHERE).problem
    assert told == "dbo.orders: --where needs a key, to change only the rows that it reads"


# the target's own types


def test_copy_writes_the_target_where_the_types_are_the_same() -> None:
    found = loading(plan_of("append"))
    assert exact(found, None) is found
    assert exact(found, target_of(COLUMNS | {"shard": "text"})) is found


@pytest.mark.parametrize("key", [True, False])
def test_rows_go_through_a_staging_table_where_the_target_has_another_type(key: bool) -> None:
    found = loading(plan_of("append", key=key))
    wider = target_of({"id": "bigint", "name": "text", "shard": "text"})
    assert exact(found, wider) == replace(found, how="insert")


def test_a_column_that_the_target_does_not_have_yet_is_no_other_type() -> None:
    found = loading(plan_of("append"))
    assert exact(found, target_of({"id": "integer", "shard": "text"})) is found


def test_rows_that_may_be_there_already_are_passed_over_where_a_watermark_is_missing() -> None:
    """After `etl-cli state reset`, or where an earlier attempt ended before a shard had its first chunk."""
    found = loading(plan_of("append"))
    there = target_of(COLUMNS | {"shard": "text"})
    assert exact(found, there, continues=False) == replace(found, how="insert")
    assert exact(found, None, continues=False) is found, "a target that does not exist yet holds no row"
    keyless = loading(plan_of("append", key=False))
    assert exact(keyless, there, continues=False) is keyless, "nothing tells its rows apart"


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_other_ways_than_append_are_exact_by_themselves(mode: str) -> None:
    found = loading(plan_of(mode))
    assert exact(found, target_of({"id": "bigint"})) is found


# how they become visible


@pytest.mark.parametrize("how", ["create", "swap", "difference"])
def test_a_whole_table_becomes_visible_as_was_decided(how: Any) -> None:
    decided = Apply(how, "why")
    assert applied(decided, loading(plan_of("replace")), EVERYTHING) is decided


def test_a_part_of_the_shards_is_never_swapped_in() -> None:
    found = loading(plan_of("replace"), SOME)
    assert applied(Apply("swap", "why"), found, SOME) == Apply("difference", "a part of the shards")
    created = Apply("create", "why")
    assert applied(created, found, SOME) is created


@pytest.mark.parametrize("how", ["swap", "difference"])
def test_a_part_of_the_rows_is_never_swapped_in_and_deletes_nothing(how: Any) -> None:
    found = loading(plan_of("replace"), WHERE)
    assert applied(Apply(how, "why"), found, WHERE) == Apply("merge", "a part of the rows")


@pytest.mark.parametrize("how", ["create", "merge"])
def test_an_incremental_mode_becomes_visible_chunk_by_chunk(how: Any) -> None:
    decided = Apply(how, "why")
    assert applied(decided, loading(plan_of("upsert")), EVERYTHING) is decided
