"""What each stream reads is fixed before it is read: places to divide a window at, bounds, versions of changes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.source.bounds import Bounds
from etl_cli.runtime.source.scan import count_rows, rows_of
from etl_cli.runtime.window import ALL_ROWS, Window
from tests.support.evaluator import Evaluator
from tests.support.plans import column_plan, config_of, table_plan
from tests.support.shards import shard_of

SHARD = shard_of(config_of())
INTEGERS = [column_plan(name, "integer", source_type="int") for name in "ab"]
PLAN = table_plan(INTEGERS, ["a", "b"])
KEYLESS = table_plan(INTEGERS)

keys = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=40, unique=True)
places = st.none() | st.tuples(st.integers(-3, 3), st.integers(0, 9))


@given(keys, st.integers(2, 9), places, places)
def test_a_divided_window_holds_each_of_its_rows_once(
    rows: list[tuple[int, int]], parts: int, start: tuple[int, int] | None, end: tuple[int, int] | None
) -> None:
    whole = Window(tuple(map(str, start or ())), tuple(map(str, end or ())))
    with Evaluator(PLAN, rows) as evaluator:
        divided = Bounds(evaluator, SHARD).divided(PLAN, whole, parts)
        expected = evaluator.rows(f"SELECT * FROM {rows_of(PLAN, whole)}")
        read = [evaluator.rows(f"SELECT * FROM {rows_of(PLAN, window)}") for window in divided]
    assert sorted(itertools.chain.from_iterable(read)) == sorted(expected)
    assert 1 <= len(divided) <= parts
    assert (divided[0].after, divided[-1].up_to) == (whole.after, whole.up_to)
    sizes = [len(part) for part in read]
    if len(expected) >= parts:
        assert max(sizes) - min(sizes) <= 1, "the streams have about as many rows each"


@given(keys, st.integers(2, 5), st.integers(-3, 3), st.integers(-3, 3))
def test_a_divided_window_of_a_cursor_keeps_its_floor_and_its_bound(
    rows: list[tuple[int, int]], parts: int, floor: int, bound: int
) -> None:
    whole = Window(floor=str(floor), bound=str(bound))
    with Evaluator(PLAN, rows) as evaluator:
        divided = Bounds(evaluator, SHARD).divided(PLAN, whole, parts)
        read = [row for window in divided for row in evaluator.rows(f"SELECT * FROM {rows_of(PLAN, window)}")]
    assert sorted(read) == sorted(row for row in rows if floor <= row[0] <= bound)


def test_rows_that_come_later_belong_to_a_part_as_well() -> None:
    with Evaluator(PLAN, [(n, 0) for n in range(10)]) as evaluator:
        divided = Bounds(evaluator, SHARD).divided(PLAN, ALL_ROWS, 3)
    with Evaluator(PLAN, [(n, m) for n in range(-5, 20) for m in (-1, 0, 1)]) as evaluator:
        counts = [evaluator.rows(count_rows(PLAN, window))[0][0] for window in divided]
    assert sum(counts) == 75


def test_the_bound_is_the_cursors_maximum_as_text() -> None:
    with Evaluator(PLAN, [(2, 1), (10, 1), (9, 9)]) as evaluator:
        assert Bounds(evaluator, SHARD).highest_cursor(PLAN) == "10"


def test_a_table_without_rows_has_no_bound() -> None:
    with Evaluator(PLAN, []) as evaluator:
        assert Bounds(evaluator, SHARD).highest_cursor(PLAN) is None


def test_the_bound_is_that_of_the_rows_that_the_condition_lets_through() -> None:
    plan = table_plan(INTEGERS, ["a", "b"], where="[b] < 5")
    with Evaluator(plan, [(2, 1), (10, 9)]) as evaluator:
        assert Bounds(evaluator, SHARD).highest_cursor(plan) == "2"


def test_rows_without_a_cursor_are_counted() -> None:
    with Evaluator(PLAN, [(None, 1), (None, 2), (3, 3)]) as evaluator:
        assert Bounds(evaluator, SHARD).without_cursor(PLAN) == 2


class Answers:
    """A server that says what a test wants, by a part of the statement."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self._statement = ""

    def cursor(self) -> Answers:
        return self

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str) -> Answers:
        self._statement = statement
        return self

    def fetchone(self) -> tuple[Any]:
        return (next(answer for part, answer in self._answers.items() if part in self._statement),)


def test_the_bound_of_a_rowversion_is_below_every_open_transaction() -> None:
    """Trap 3: what is not committed yet will have a rowversion above it."""
    plan = table_plan([column_plan("v", "bytea", source_type="rowversion")], order=("v",))
    bounds = Bounds(Answers({"MIN_ACTIVE_ROWVERSION()": "0x00000000000007D1"}), SHARD)
    assert bounds.highest_cursor(plan) == "0x00000000000007D0"


def test_a_database_without_change_tracking_is_refused_with_the_statement_that_turns_it_on() -> None:
    bounds = Bounds(Answers({"CHANGE_TRACKING_CURRENT_VERSION": None}), SHARD)
    with pytest.raises(PlanError, match="shard1: change tracking is off") as caught:
        bounds.change_version(PLAN)
    assert caught.value.remedy.startswith("ALTER DATABASE [sourcedb] SET CHANGE_TRACKING = ON")


def test_a_table_whose_changes_are_not_tracked_is_refused_with_the_statement_that_turns_it_on() -> None:
    bounds = Bounds(Answers({"CHANGE_TRACKING_MIN_VALID_VERSION": None}), SHARD)
    with pytest.raises(PlanError, match=r"dbo\.orders of shard1: its changes are not tracked") as caught:
        bounds.refuse_expired_changes(PLAN, 5, 9)
    assert caught.value.remedy == "ALTER TABLE [dbo].[orders] ENABLE CHANGE_TRACKING"


def test_changes_that_are_no_longer_kept_are_refused() -> None:
    bounds = Bounds(Answers({"CHANGE_TRACKING_MIN_VALID_VERSION": 6}), SHARD)
    with pytest.raises(PlanError, match=r"changes since version 5 are no longer kept \(the oldest is 6\)") as caught:
        bounds.refuse_expired_changes(PLAN, 5, 9)
    assert "--full" in caught.value.remedy
    bounds.refuse_expired_changes(PLAN, 6, 9)
