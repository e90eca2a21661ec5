"""How one pipeline is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_cli.runtime.config.model import ScheduleEntry
from etl_cli.runtime.config.schedule_syntax import parse_schedule
from etl_cli.runtime.health import Condition, Health, HistoryRow, Patience, RunState, Service, judge
from etl_cli.runtime.schedule import Schedule

NOW = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)
UP = Service("orders", since=NOW - timedelta(days=3), sign=NOW - timedelta(seconds=5))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def hourly(at: str | None = "@hourly", jitter_s: float = 0) -> Schedule:
    entries = ((parse_schedule(at), ScheduleEntry(at=at)),) if at else ()
    return Schedule("7f3a9c1e", ZoneInfo("UTC"), entries, jitter_s=jitter_s)


def run(run_id: int, state: RunState, began_ago: float, **more: Any) -> HistoryRow:
    """A run of so many minutes ago, for five minutes, of the hour's slot."""
    began = ago(began_ago)
    due = began.replace(minute=0, second=0)
    ended = None if state in ("running", "queued") else began + timedelta(minutes=5)
    return replace(HistoryRow(run_id, state, began, due, ended), **more)


GOOD = run(7, "succeeded", 30)


def state_of(history: Sequence[HistoryRow] | None, service: Service = UP, schedule: Schedule | None = None) -> Health:
    return judge(history, schedule or hourly(), NOW, service)


def test_a_good_last_run_is_ok_and_says_what_comes_next() -> None:
    health = state_of([GOOD])
    assert (health.state, health.next_step, health.is_well) == ("ok", "", True)
    assert health.reason == "run 7 succeeded at 2026-01-05 10:05:00+00:00; next slot 2026-01-05 11:00:00+00:00"


def test_a_service_that_is_down_is_dead_whatever_its_history() -> None:
    for history in ([GOOD], [run(8, "failed", 30)], [], None):
        health = state_of(history, replace(UP, condition="down", told="failed (watchdog)"))
        assert health.state == "dead"
        assert health.reason.startswith("the service failed (watchdog)")
        assert "manage-pipeline start orders" in health.next_step
        assert not health.is_well


def test_a_service_that_somebody_stopped_wakes_nobody_whatever_its_history() -> None:
    for history in ([GOOD], [run(8, "failed", 30)], [], None):
        health = state_of(history, replace(UP, condition="stopped", told="was stopped"))
        assert (health.state, health.reason, health.is_well) == ("stopped", "the service was stopped", True)
        assert "manage-pipeline start orders" in health.next_step


def test_a_service_that_crashes_again_and_again_is_dead_until_it_stays_up() -> None:
    once = replace(UP, restarts=1, since=ago(1))
    assert state_of([run(7, "succeeded", 1)], once).state == "ok"
    twice = replace(once, restarts=2)
    for history in ([GOOD], None):
        health = state_of(history, twice)
        assert (health.state, "restarted 2 times" in health.reason) == ("dead", True)
    assert state_of([run(7, "succeeded", 1)], replace(twice, since=ago(11))).state == "ok"
    assert state_of([GOOD], replace(twice, since=None)).state == "dead"


def test_a_service_without_a_sign_is_stalled() -> None:
    assert state_of([GOOD], replace(UP, sign=ago(2))).state == "ok"
    health = state_of([GOOD], replace(UP, sign=ago(2.1)))
    assert health.state == "stalled"
    assert "manage-pipeline restart orders" in health.next_step
    assert state_of([GOOD], replace(UP, sign=None)).state == "ok"


def test_a_run_without_a_sign_is_stalled_and_one_with_signs_is_at_work() -> None:
    assert state_of([run(8, "running", 30, sign=ago(11)), GOOD]).state == "stalled"
    assert state_of([run(8, "running", 11), GOOD]).state == "stalled"
    health = state_of([run(8, "running", 30, sign=ago(9)), GOOD])
    assert (health.state, health.reason[:20]) == ("running", "run 8 is at work sin")


def test_a_failed_last_run_is_failing_with_its_error_on_one_line() -> None:
    history = [
        run(9, "failed", 30, error="dbo.orders:\n  no such column"),
        run(8, "failed", 90),
        run(7, "succeeded", 150),
    ]
    health = state_of([*history, run(6, "failed", 210)])
    assert health.state == "failing"
    assert health.reason == (
        "run 9 failed at 2026-01-05 10:05:00+00:00, 2 failures since the last good run: dbo.orders: no such column"
    )
    assert "manage-pipeline logs orders --level error" in health.next_step


def test_a_pipeline_is_failing_until_a_run_succeeds_also_while_it_is_tried_again() -> None:
    health = state_of([run(9, "running", 1), run(8, "failed", 30), GOOD])
    assert (health.state, "run 9 is at work" in health.reason) == ("failing", True)
    assert state_of([run(9, "succeeded", 5), run(8, "failed", 30)]).state == "ok"
    assert state_of([run(9, "cancelled", 5), run(8, "failed", 30)]).state == "failing"


def test_a_ledger_out_of_reach_is_failing() -> None:
    health = state_of(None)
    assert (health.state, "ledger" in health.reason, "etl-cli check orders" in health.next_step) == (
        "failing",
        True,
        True,
    )


def test_an_interrupted_run_waits_for_its_resumption_only_so_long() -> None:
    stopped = run(8, "interrupted", 30)
    assert state_of([stopped, GOOD], replace(UP, since=ago(0.5))).state == "ok"
    health = state_of([stopped, GOOD])
    assert (health.state, "not resumed" in health.reason) == ("failing", True)
    assert state_of([run(9, "running", 5), stopped, GOOD]).state == "running"


def test_a_slot_without_a_run_is_late_after_the_grace() -> None:
    before = run(7, "succeeded", 90)
    assert judge([before], hourly(), NOW.replace(minute=1), UP).state == "late"
    assert judge([before], hourly(), NOW.replace(minute=0, second=59), UP).state == "ok"
    health = state_of([before])
    assert (health.state, health.reason) == ("late", "the slot of 2026-01-05 10:00:00+00:00 has no run")
    assert "manage-pipeline run orders" in health.next_step


def test_a_slot_is_late_only_when_its_jitter_has_passed() -> None:
    plan = hourly("@daily", jitter_s=7200)
    slot = plan.next_slots(NOW, 1)[0]
    begins = plan.begins_at(slot)
    good, service = run(7, "succeeded", 600), replace(UP, sign=None)
    assert judge([good], plan, begins, service).state == "ok"
    assert judge([good], plan, begins + timedelta(seconds=61), service).state == "late"


def test_a_slot_from_before_the_service_started_is_not_missed() -> None:
    long_ago = run(7, "succeeded", 6000)
    assert state_of([long_ago], replace(UP, since=ago(20))).state == "ok"
    assert state_of([long_ago], replace(UP, since=ago(31))).state == "late"


def test_a_slot_from_before_the_schedule_was_changed_is_not_missed() -> None:
    long_ago = run(7, "succeeded", 6000)
    assert state_of([long_ago], replace(UP, schedule_since=ago(20))).state == "ok"
    assert state_of([long_ago], replace(UP, schedule_since=ago(31))).state == "late"
    assert state_of([], replace(UP, since=None, schedule_since=ago(31))).state == "ok"


def test_a_slot_that_came_due_while_a_run_was_at_work_is_not_missed() -> None:
    assert state_of([run(7, "succeeded", 100, ended=ago(10))]).state == "ok"
    assert state_of([run(7, "running", 100, sign=ago(1))]).state == "running"


def test_a_slot_that_passed_while_the_pipeline_was_paused_is_not_missed() -> None:
    before, slot = run(7, "succeeded", 150), datetime(2026, 1, 5, 10, tzinfo=UTC)
    passed = HistoryRow(0, "passed", slot, slot, slot)
    assert state_of([before, passed]).state == "ok"
    assert state_of([passed]).reason.startswith("no run yet; next slot")
    earlier = replace(passed, due=ago(120), began=ago(120), ended=ago(120))
    assert state_of([before, earlier]).state == "late"


def test_a_run_by_hand_since_the_slot_makes_up_for_it() -> None:
    assert state_of([run(8, "succeeded", 10, due=None), run(7, "succeeded", 150)]).state == "ok"


def test_a_new_pipeline_is_ok_until_its_first_slot_is_missed() -> None:
    assert state_of([], replace(UP, since=ago(20))).state == "ok"
    assert state_of([], replace(UP, since=ago(40))).state == "late"
    assert state_of([], replace(UP, since=None)).state == "ok"
    assert state_of([], replace(UP, since=ago(20))).reason.startswith("no run yet; next slot")


def test_a_pipeline_that_is_run_by_hand_is_never_late() -> None:
    assert state_of([], schedule=hourly(None)).reason == "no run yet; no slot to come, it runs by hand"
    assert state_of([run(7, "succeeded", 90_000)], schedule=hourly(None)).state == "ok"


@pytest.mark.parametrize("state", ["cancelled", "queued", "interrupted"])
def test_a_history_without_a_run_that_ended_has_a_verdict(state: RunState) -> None:
    assert state_of([run(7, state, 29)], replace(UP, since=ago(0.5))).reason.startswith(f"run 7 is {state}; next slot")


states: st.SearchStrategy[RunState] = st.sampled_from(
    ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
)
conditions: st.SearchStrategy[Condition] = st.sampled_from(["up", "stopped", "down"])


@settings(deadline=None)
@given(
    st.none() | st.lists(st.tuples(states, st.floats(0, 10_000)), max_size=5),
    conditions,
    st.none() | st.floats(0, 1e5),
    st.none() | st.floats(0, 10),
    st.integers(0, 3),
)
def test_every_case_has_a_verdict_on_one_line_and_a_next_step_when_it_is_not_well(
    runs: list[tuple[RunState, float]] | None,
    condition: Condition,
    since: float | None,
    sign: float | None,
    restarts: int,
) -> None:
    history = None if runs is None else [run(number, *each) for number, each in enumerate(runs)]
    up, heard = (None if minutes is None else ago(minutes) for minutes in (since, sign))
    service = Service("orders", condition, up, heard, restarts=restarts)
    health = judge(history, hourly(), NOW, service, Patience(grace_s=30))
    assert "\n" not in health.reason
    assert health.is_well or health.next_step
