"""Which way a replaced table becomes visible: every reason against a swap, every obstacle to a difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.target import Dependent, Target, TargetColumn, TargetConstraint, TargetIndex
from tests.support.plans import table_plan

PLAN = table_plan({"id": "integer", "total": "numeric(10,2)"}, ["id", "shard"], shard_column="shard")
TYPES = {"id": "integer", "total": "numeric(10,2)", "shard": "text"}


def column(name: str, **changes: Any) -> TargetColumn:
    plain = TargetColumn(name, TYPES.get(name, "integer"), False, False, "", "", False, None)
    return replace(plain, **changes)


def target(**changes: Any) -> Target:
    """A target that may be swapped."""
    plain = Target(
        oid=1,
        kind="r",
        is_owner=True,
        comment=None,
        persistence="p",
        has_settings=False,
        has_row_security=False,
        is_inherited=False,
        is_published=False,
        has_security_label=False,
        columns=tuple(column(name) for name in TYPES),
        constraints=(TargetConstraint("orders_pkey", "p", True, ("id", "shard")),),
        indexes=(TargetIndex("by_total", "CREATE INDEX ...", False),),
        dependents=(Dependent("v", 5, "view v"),),
    )
    return replace(plain, **changes)


def with_column(name: str, **changes: Any) -> Target:
    """The target with one column changed or added."""
    others = [column(other) for other in TYPES if other != name]
    return target(columns=(*others, column(name, **changes)))


AGAINST_SWAP = {
    "belongs to another user": target(is_owner=False),
    "is partitioned or part of an inheritance": target(kind="p"),
    "is partitioned or part of an inheritance ": target(is_inherited=True),
    "is in a publication": target(is_published=True),
    "has row security": target(has_row_security=True),
    "has settings of its own": target(has_settings=True),
    "has settings of its own ": target(persistence="u"),
    "has settings of its own  ": target(has_security_label=True),
    "has a column extra that the source has not": with_column("extra"),
    "has a default, identity or settings on column total": with_column("total", has_default=True),
    "has a default, identity or settings on column id": with_column("id", has_settings=True),
    "is referred to by the foreign key items_fk": target(constraints=(TargetConstraint("items_fk", "f", False, ()),)),
    "has the constraint positive": target(constraints=(TargetConstraint("positive", "c", True, ("id",)),)),
    "has the constraint customer_fk": target(constraints=(TargetConstraint("customer_fk", "f", True, ("id",)),)),
    "has settings on the index odd": target(indexes=(TargetIndex("odd", "CREATE INDEX ...", True),)),
    "is needed by materialized view m": target(dependents=(Dependent("m", 9, "materialized view m"),)),
    "is needed by function f()": target(dependents=(Dependent("-", 0, "function f()"),)),
}


def test_a_target_that_does_not_exist_is_created() -> None:
    assert decide(PLAN, None) == Apply("create", "the target does not exist yet")


def test_a_plain_target_is_swapped() -> None:
    assert decide(PLAN, target()) == Apply("swap", "nothing but what can be re-made hangs on the target")


@pytest.mark.parametrize(("reason", "found"), AGAINST_SWAP.items())
def test_each_reason_against_a_swap_leads_to_the_difference_and_is_told(reason: str, found: Target) -> None:
    assert decide(PLAN, found) == Apply("difference", f"the target {reason.strip()}")


@pytest.mark.parametrize(("reason", "found"), AGAINST_SWAP.items())
def test_a_demanded_swap_is_refused_with_the_reason(reason: str, found: Target) -> None:
    problem = f"public.orders cannot be swapped: it {reason.strip()}"
    assert decide(replace(PLAN, apply="swap"), found) == Apply("swap", "apply: swap", problem)


def test_a_demanded_swap_or_difference_is_taken_where_it_can_be() -> None:
    assert decide(replace(PLAN, apply="swap"), target()) == Apply("swap", "apply: swap")
    assert decide(replace(PLAN, apply="difference"), target()) == Apply("difference", "apply: difference")


@pytest.mark.parametrize("kind", ["v", "m", "f", "S", "i", "c"])
@pytest.mark.parametrize("way", ["auto", "swap", "difference"])
def test_what_is_no_table_is_refused(kind: str, way: str) -> None:
    refused = decide(replace(PLAN, apply=way), target(kind=kind))
    assert refused.problem == "public.orders is not a table: give the table another `target`"


OBSTACLES = {
    "public.orders lacks the key column shard: ALTER TABLE public.orders ADD COLUMN ...": target(
        columns=(column("id"), column("total"))
    ),
    "public.orders.total is text, the source wants numeric(10,2): alter the column": with_column("total", type="text"),
    "public.orders.total is generated and cannot be written: leave it out with `columns`": with_column(
        "total", generated="s", has_default=True
    ),
    "public.orders.extra is NOT NULL, has no default and is not in the source: drop NOT NULL": with_column(
        "extra", not_null=True
    ),
}


@pytest.mark.parametrize(("problem", "found"), OBSTACLES.items())
def test_each_obstacle_to_a_difference_is_a_problem_with_its_remedy(problem: str, found: Target) -> None:
    plan = replace(PLAN, apply="difference")
    assert decide(plan, found).problem == problem
    assert decide(PLAN, replace(found, is_published=True)).problem == problem


def test_a_missing_column_is_added_and_a_narrow_one_widened_before_a_difference() -> None:
    plan = replace(PLAN, apply="difference")
    without = target(columns=(column("id"), column("shard")))
    assert decide(plan, without).evolution.added == (("total", "numeric(10,2)"),)
    assert decide(plan, with_column("total", type="numeric(9,1)")).evolution.widened == (("total", "numeric(10,2)"),)
    assert decide(plan, with_column("total", type="numeric(12,2)")) == Apply("difference", "apply: difference")


def test_a_column_of_the_targets_own_is_no_obstacle_where_it_can_be_left_out() -> None:
    plan = replace(PLAN, apply="difference")
    assert decide(plan, with_column("extra", not_null=True, has_default=True)).problem == ""
    assert decide(plan, with_column("extra")).problem == ""


def test_an_identity_always_is_written_over_in_the_key_and_an_obstacle_elsewhere() -> None:
    difference = replace(PLAN, apply="difference")
    assert decide(difference, with_column("id", identity="a", has_default=True)).problem == ""
    assert "GENERATED BY DEFAULT" in decide(difference, with_column("total", identity="a", has_default=True)).problem


def test_a_changed_type_under_a_view_is_a_problem_of_the_plan() -> None:
    found = replace(with_column("total", type="numeric(12,2)"), dependents=(Dependent("v", 5, "view v"),))
    assert decide(PLAN, found).problem != ""


def test_the_planned_columns_have_the_shard_last() -> None:
    assert list(PLAN.target_columns.items()) == list(TYPES.items())
    assert list(replace(PLAN, shard_column=None).target_columns) == ["id", "total"]


def test_the_primary_key_of_a_target_is_found() -> None:
    key = target().key
    assert key is not None
    assert (target().primary_key, key.name) == (("id", "shard"), "orders_pkey")
    assert (target(constraints=()).primary_key, target(constraints=()).key) == ((), None)
