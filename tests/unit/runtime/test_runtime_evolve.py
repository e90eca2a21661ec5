"""The schema contract (trap 23): what is added, what is widened, and that nothing is ever dropped or narrowed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.evolve import UNCHANGED, Evolution, against_contract, discarded, evolution, is_wider
from tests.support.plans import column_plan, table_plan
from tests.support.targets import target_of

STAMP = "timestamp({}) without time zone"
ZONED = "timestamp({}) with time zone"
TIME = "time({}) without time zone"

WIDER = [
    # (narrow, wide)
    ("smallint", "integer"),
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("smallint", "numeric(5,0)"),
    ("integer", "numeric(12,2)"),
    ("bigint", "numeric(19,0)"),
    ("bigint", "numeric(38,19)"),
    ("numeric(10,2)", "numeric(12,2)"),
    ("numeric(10,2)", "numeric(12,4)"),
    ("numeric(5,0)", "numeric(38,0)"),
    ("real", "double precision"),
    ("character varying(10)", "character varying(20)"),
    ("character varying(10)", "text"),
    (STAMP.format(0), STAMP.format(3)),
    (STAMP.format(3), STAMP.format(6)),
    (ZONED.format(0), ZONED.format(6)),
    (TIME.format(0), TIME.format(6)),
]

NEITHER = [
    # neither holds all values of the other
    ("integer", "numeric(9,0)"),
    ("integer", "numeric(11,2)"),
    ("bigint", "numeric(19,2)"),
    ("numeric(10,2)", "numeric(10,4)"),
    ("numeric(12,4)", "numeric(13,2)"),
    ("bigint", "double precision"),
    ("integer", "double precision"),
    ("numeric(10,2)", "double precision"),
    ("integer", "text"),
    ("boolean", "smallint"),
    ("uuid", "text"),
    ("date", STAMP.format(6)),
    (STAMP.format(6), ZONED.format(6)),
    (STAMP.format(3), TIME.format(6)),
    ("jsonb", "text"),
    ("xml", "text"),
    ("bytea", "text"),
    ("real[]", "double precision"),
]


@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_a_type_that_holds_all_values_is_wider_and_the_other_way_round_it_is_not(narrow: str, wide: str) -> None:
    assert is_wider(wide, than=narrow)
    assert not is_wider(narrow, than=wide)


@pytest.mark.parametrize(("one", "other"), NEITHER)
def test_a_type_that_would_lose_values_is_not_wider_in_either_direction(one: str, other: str) -> None:
    assert not is_wider(one, than=other)
    assert not is_wider(other, than=one)


@pytest.mark.parametrize("kind", sorted({kind for pair in WIDER + NEITHER for kind in pair}))
def test_a_type_holds_its_own_values(kind: str) -> None:
    assert is_wider(kind, than=kind)


def test_what_is_wider_than_something_wider_is_wider() -> None:
    kinds = sorted({kind for pair in WIDER + NEITHER for kind in pair})
    for narrow, middle, wide in itertools.permutations(kinds, 3):
        if is_wider(middle, than=narrow) and is_wider(wide, than=middle):
            assert is_wider(wide, than=narrow), (narrow, middle, wide)


# what is done to the target


def plan_of(columns: dict[str, str], **changes: Any) -> TablePlan:
    return table_plan(columns, ["id"], **changes)


def test_a_target_that_has_what_is_wanted_stays_as_it_is() -> None:
    columns = {"id": "integer", "name": "text"}
    assert evolution(plan_of(columns), target_of(columns)) == UNCHANGED
    assert list(UNCHANGED.statements(plan_of(columns))) == []


def test_new_columns_are_added_and_narrow_ones_widened() -> None:
    plan = plan_of({"id": "bigint", "total": "numeric(12,2)", "new": "text"}, shard_column="shard", lineage=True)
    found = evolution(plan, target_of({"id": "integer", "total": "numeric(10,2)"}))
    assert found == Evolution(
        added=(
            ("new", "text"),
            ("shard", "text"),
            ("_etl_run_id", "bigint"),
            ("_etl_loaded_at", "timestamp with time zone"),
        ),
        widened=(("id", "bigint"), ("total", "numeric(12,2)")),
    )


def test_a_soft_delete_needs_its_column() -> None:
    plan = plan_of({"id": "integer"}, soft_delete=True)
    added = (("_etl_deleted_at", "timestamp with time zone"),)
    assert evolution(plan, target_of({"id": "integer"})) == Evolution(added=added)
    assert evolution(plan, target_of({"id": "integer", "_etl_deleted_at": "timestamp with time zone"})) == UNCHANGED


def test_nothing_is_dropped_and_nothing_narrowed() -> None:
    plan = plan_of({"id": "integer", "total": "numeric(10,2)"})
    target = target_of({"id": "bigint", "total": "numeric(12,4)", "gone": "text"})
    assert evolution(plan, target) == UNCHANGED


def test_a_type_that_cannot_be_widened_is_left_to_whoever_refuses_it() -> None:
    assert evolution(plan_of({"id": "uuid"}), target_of({"id": "integer"})) == UNCHANGED


def test_each_change_is_a_statement_with_quoted_names() -> None:
    plan = plan_of({"id": "integer"}, target='or"ders')
    changes = Evolution((('a"b', "text"),), (("Total", "numeric(12,2)"),))
    assert list(changes.statements(plan)) == [
        'ALTER TABLE "public"."or""ders" ADD COLUMN IF NOT EXISTS "a""b" text',
        'ALTER TABLE "public"."or""ders" ALTER COLUMN "Total" TYPE numeric(12,2)',
    ]


# contracts


def test_freeze_tells_all_that_has_changed_with_the_remedy() -> None:
    plan = plan_of({"id": "bigint", "new": "text"}, contract="freeze")
    told = against_contract(plan, target_of({"id": "integer", "old": "text"}))
    assert told == (
        "dbo.orders: its columns are not those of public.orders (new new; gone old; changed id (integer -> bigint)), "
        "and schema: freeze forbids any change: alter the target, or use schema: evolve or discard"
    )


@pytest.mark.parametrize(
    "target",
    [{"id": "integer"}, {"id": "integer", "new": "text", "old": "text"}, {"id": "bigint", "new": "text"}],
)
def test_freeze_finds_each_change_alone(target: dict[str, str]) -> None:
    assert against_contract(plan_of({"id": "integer", "new": "text"}, contract="freeze"), target_of(target)) != ""


def test_freeze_has_nothing_against_what_is_the_same() -> None:
    plan = plan_of({"id": "integer"}, contract="freeze", shard_column="shard", soft_delete=True)
    columns = {"shard": "text", "_etl_deleted_at": "timestamp with time zone", "id": "integer"}
    assert against_contract(plan, target_of(columns)) == ""


@pytest.mark.parametrize("contract", ["evolve", "discard"])
def test_other_contracts_forbid_nothing(contract: str) -> None:
    plan = plan_of({"id": "bigint", "new": "text"}, contract=contract)
    assert against_contract(plan, target_of({"id": "integer", "old": "text"})) == ""


def test_discard_leaves_out_what_the_target_does_not_have() -> None:
    plan = plan_of({"id": "integer", "name": "text", "new": "text"}, contract="discard")
    kept = discarded(plan, target_of({"id": "integer", "name": "text"}))
    assert [column.target for column in kept.columns] == ["id", "name"]
    assert (kept.key, kept.order) == (plan.key, plan.order)


def test_discard_keeps_what_rows_are_told_apart_and_scanned_by() -> None:
    at = column_plan("Updated At", "date", target="updated at", source_type="date")
    key = column_plan("id", "integer", source_type="int")
    plan = table_plan([key, at], ["id"], contract="discard", order=("Updated At", "id"), cursor="Updated At")
    kept = discarded(plan, target_of({"name": "text"}))
    assert [column.source for column in kept.columns] == ["id", "Updated At"]


@pytest.mark.parametrize("contract", ["evolve", "freeze"])
def test_other_contracts_leave_nothing_out(contract: str) -> None:
    plan = plan_of({"id": "integer", "new": "text"}, contract=contract)
    assert discarded(plan, target_of({"id": "integer"})) is plan
