"""What each stream of a task reads, fixed before it is read: from where on, up to where, and as of which version."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.watermarks import Watermark, WatermarkId
from etl_cli.runtime.loading import Loading
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.source.bounds import Bounds
from etl_cli.runtime.window import ALL_ROWS, Window
from etl_cli.runtime.windows import Fixed, as_json, fix_windows, from_ledger
from tests.support.plans import column_plan, table_plan

MOMENT = "2026-01-01 00:00:10.1234567"
BOUND = "2026-01-02 00:00:00.0000001"
AT = column_plan("at", "timestamp(6) without time zone", source_type="datetime2(7)", nullable=False)
ID = column_plan("id", "integer", source_type="int", nullable=False)
UPSERT = table_plan([ID, AT], ["id"], mode="upsert", cursor="at", order=("at", "id"))
REPLACE = table_plan([ID, AT], ["id"])
CHANGES = table_plan([ID, AT], ["id"], mode="changes")


class Shard:
    """Answers as `Bounds` does; keeps what it was asked."""

    def __init__(self, bound: str | None = BOUND, without: int = 0, oldest: int = 0) -> None:
        self.asked: list[str] = []
        self._bound = bound
        self._without = without
        self._oldest = oldest

    def highest_cursor(self, _: TablePlan) -> str | None:
        self.asked.append("bound")
        return self._bound

    def without_cursor(self, _: TablePlan) -> int:
        self.asked.append("without")
        return self._without

    def change_version(self, _: TablePlan) -> int:
        self.asked.append("version")
        return 9

    def refuse_expired_changes(self, _: TablePlan, since: int, version: int) -> None:
        assert since <= version
        self.asked.append(f"expired {since}")
        if since < self._oldest:
            raise PlanError("no longer kept")

    def divided(self, _: TablePlan, window: Window, parts: int) -> list[Window]:
        self.asked.append(f"divided by {parts}")
        return [replace(window, up_to=("5",)), replace(window, after=("5",))]


def fixed(
    plan: TablePlan,
    mark: Watermark | None = None,
    request: Request = EVERYTHING,
    *,
    shard: Shard | None = None,
    streams: int = 1,
    **loading: Any,
) -> Fixed:
    how = Loading(**{"how": "merge", "plan": plan, **loading})
    return fix_windows(cast("Bounds", shard or Shard()), how, mark, request, streams=streams)


def mark(*position: str, cursor: str = "at") -> Watermark:
    return Watermark(WatermarkId("orders", "dbo.orders", "shard1"), cursor, position[0], position)


def test_a_table_without_a_cursor_is_read_whole() -> None:
    assert fixed(REPLACE, how="shadow") == Fixed((ALL_ROWS,)) == Fixed.everything()


def test_the_first_incremental_run_reads_everything_up_to_the_bound() -> None:
    """Trap 3: the bound is read first, so that nothing which comes later is passed over."""
    assert fixed(UPSERT) == Fixed((Window(bound=BOUND),))


def test_the_next_run_begins_after_the_row_that_the_watermark_names() -> None:
    """Traps 4 and 7: rows of the same cursor value and a higher key are read, the row itself is not."""
    assert fixed(UPSERT, mark(MOMENT, "7")) == Fixed((Window(after=(MOMENT, "7"), bound=BOUND),))


def test_a_watermark_that_was_set_by_hand_has_the_cursor_alone() -> None:
    assert fixed(UPSERT, mark(MOMENT)) == Fixed((Window(after=(MOMENT,), bound=BOUND),))


def test_a_watermark_of_a_longer_key_is_cut_to_the_order() -> None:
    assert fixed(UPSERT, mark(MOMENT, "7", "x")).windows[0].after == (MOMENT, "7")


def test_a_lookback_begins_below_the_watermark_with_the_value_itself() -> None:
    """Trap 3."""
    plan = replace(UPSERT, lookback=5.0)
    floor = "2026-01-01 00:00:05.1234567"
    assert fixed(plan, mark(MOMENT, "7")) == Fixed((Window(floor=floor, bound=BOUND),))
    assert fixed(plan) == Fixed((Window(bound=BOUND),))


def test_a_full_run_reads_everything_up_to_the_bound_whatever_the_watermark_says() -> None:
    plan = replace(UPSERT, lookback=5.0)
    assert fixed(plan, mark(MOMENT, "7"), Request(full=True)) == Fixed((Window(bound=BOUND),))


def test_a_condition_reads_all_rows_that_meet_it_whatever_the_watermark_says() -> None:
    shard = Shard()
    assert fixed(UPSERT, mark(MOMENT, "7"), Request(where="id > 5"), shard=shard) == Fixed((ALL_ROWS,))
    assert shard.asked == []


def test_a_table_without_rows_has_nothing_to_read() -> None:
    assert fixed(UPSERT, shard=Shard(bound=None)) == Fixed(())


def test_rows_without_a_cursor_are_told_of() -> None:
    plan = table_plan([ID, replace(AT, nullable=True)], ["id"], mode="upsert", cursor="at", order=("at", "id"))
    told = ("3 rows have no at: they are never read",)
    assert fixed(plan, shard=Shard(without=3)) == Fixed((Window(bound=BOUND),), notes=told)
    assert fixed(plan, shard=Shard(bound=None, without=3)) == Fixed((), notes=told)
    assert fixed(plan, shard=Shard()).notes == ()


def test_a_cursor_that_cannot_be_null_is_not_asked_for_nulls() -> None:
    shard = Shard()
    fixed(UPSERT, shard=shard)
    assert shard.asked == ["bound"]


def test_a_watermark_of_another_cursor_is_refused_with_the_remedy() -> None:
    with pytest.raises(PlanError, match="its watermark is one of id, the cursor is at") as caught:
        fixed(UPSERT, mark("5", cursor="id"))
    assert "etl-cli state" in caught.value.remedy
    assert fixed(UPSERT, mark("5", cursor="id"), Request(full=True)).windows == (Window(bound=BOUND),)


# changes


def test_changes_are_read_from_the_version_of_the_last_run_to_the_present_one() -> None:
    shard = Shard(oldest=5)
    found = fixed(CHANGES, mark("5", cursor="SYS_CHANGE_VERSION"), shard=shard, how="changes")
    assert found == Fixed((Window(since=5, version=9),), version=9)
    assert shard.asked == ["version", "expired 5"]


def test_changes_that_are_no_longer_kept_are_refused() -> None:
    with pytest.raises(PlanError, match="no longer kept"):
        fixed(CHANGES, mark("4", cursor="SYS_CHANGE_VERSION"), shard=Shard(oldest=5), how="changes")


def test_the_version_of_a_first_read_is_asked_before_the_rows() -> None:
    """A change between the two is read again, and none is passed over."""
    shard = Shard()
    found = fixed(replace(CHANGES, mode="sync"), shard=shard, how="shadow", initial=True)
    assert found == Fixed((ALL_ROWS,), version=9)
    assert shard.asked == ["version", "expired 9"]


# streams


@pytest.mark.parametrize("plan", [REPLACE, UPSERT])
def test_several_streams_divide_the_window_between_them(plan: TablePlan) -> None:
    shard = Shard()
    found = fixed(plan, shard=shard, streams=3)
    assert [(window.after, window.up_to) for window in found.windows] == [((), ("5",)), (("5",), ())]
    assert shard.asked[-1] == "divided by 3"


def test_a_table_without_an_order_cannot_be_divided() -> None:
    shard = Shard()
    assert fixed(table_plan([ID]), shard=shard, streams=3, how="shadow") == Fixed((ALL_ROWS,))
    assert shard.asked == []


def test_changes_and_first_reads_are_divided_too() -> None:
    since = mark("5", cursor="SYS_CHANGE_VERSION")
    assert len(fixed(CHANGES, since, streams=2, how="changes").windows) == 2
    assert len(fixed(replace(CHANGES, mode="sync"), streams=2, how="shadow", initial=True).windows) == 2


# the ledger


@pytest.mark.parametrize(
    "found",
    [
        Fixed.everything(),
        Fixed(()),
        Fixed((Window(since=5, version=9), Window(after=("a", "ä"), up_to=("b",))), version=9),
        Fixed((Window(floor=MOMENT, bound=BOUND),)),
        Fixed((ALL_ROWS,), version=0),
    ],
)
def test_what_was_fixed_comes_back_from_the_ledger(found: Fixed) -> None:
    """Trap 20: another attempt reads within the same bounds."""
    assert from_ledger(json.loads(json.dumps(as_json(found)))) == found
