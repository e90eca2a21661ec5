"""When a pipeline is due, held against a second calendar that knows neither cronsim nor PEP 495."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.schedule import MOST_SLOTS, Catchup, Schedule, Slot

# zone -> instants two or three hours before its clock goes forward, and back
CHANGES = {
    "Europe/Berlin": ("2026-03-28T22:30", "2026-10-24T22:30"),
    "America/New_York": ("2026-03-08T04:30", "2026-11-01T03:30"),
    "America/Sao_Paulo": ("2018-11-04T00:30", "2019-02-16T23:30"),
    "Australia/Sydney": ("2026-10-03T13:00", "2026-04-04T13:00"),
    "Australia/Lord_Howe": ("2026-10-03T13:00", "2026-04-04T13:00"),
    "Asia/Tokyo": ("2026-03-28T22:30", "2026-10-24T22:30"),
}

EXPRESSIONS = [
    *("@hourly", "@daily", "@weekly", "@monthly", "@yearly"),
    *("* * * * *", "*/5 * * * *", "*/15 * * * *", "7-59/10 * * * *", "15 * * * *", "30 * * * *", "45 * * * *"),
    *(
        "0,30 * * * *",
        "0 0-23 * * *",
        "0 */2 * * *",
        "30 */2 * * *",
        "0 1-23/2 * * *",
        "*/30 2 * * *",
        "*/20 1-4 * * *",
    ),
    *("0 0 * * *", "15 0 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "59 2 * * *", "0 3 * * *", "30 23 * * *"),
    *("15,45 2 * * *", "0,30 1,2,3 * * *", "15 1-3 * * *", "30 2 * * SUN", "0 0 * * MON", "0 6 * * MON-FRI"),
    *(
        "30 2 * MAR,OCT SUN",
        "15 * * * SUN",
        "*/10 2 * * 0",
        "0 2 1 * *",
        "30 2 29 2 *",
        "0 0 1,15 * *",
        "0 12 1 JAN,JUL *",
    ),
]

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


def config(**keys: Any) -> Config:
    needed = {"name": "orders", "id": "7f3a9c1e"}
    source = {"database": "shop", "shards": [{"name": "shard1", "host": "localhost"}]}
    return Config.model_validate({**needed, "source": source, "sink": {"user": "etl", "database": "sinkdb"}, **keys})


def schedule(at: str | list[dict[str, Any]] | None = "@daily", zone: str = "UTC", **keys: Any) -> Schedule:
    return Schedule.of(config(schedule=at, timezone=zone, **keys))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def readings(plan: Schedule, after: str, until: str) -> list[str]:
    """What the wall clock shows when slots are due, with its offset."""
    slots = plan.slots_between(utc(after), utc(until))
    return [slot.due.astimezone(plan.zone).strftime("%a %H:%M%z") for slot in slots]


# ---- a second calendar: fields by hand, and the clock by walking through every minute near a change


def _values(field: str, low: int, high: int, names: str = "") -> set[int]:
    numbers = {name: low + place for place, name in enumerate(names.split())}
    numbers |= {str(number): number for number in range(low, high + 1)}
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if first == "*" else numbers[first]
        end = numbers[last] if last else high if first == "*" or step else begin
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _matching_days(fields: list[str], begin: date) -> Iterator[date]:
    days = _values(fields[2], 1, 31)
    months = _values(fields[3], 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
    weekdays = {value % 7 for value in _values(fields[4], 0, 6, "SUN MON TUE WED THU FRI SAT")}
    both = fields[2].startswith("*") or fields[4].startswith("*")
    year, month = begin.year, begin.month
    while True:
        for number in range(1, calendar.monthrange(year, month)[1] + 1) if month in months else ():
            day = date(year, month, number)
            by_date, by_weekday = number in days, day.isoweekday() % 7 in weekdays
            if day >= begin and ((by_date and by_weekday) if both else (by_date or by_weekday)):
                yield day
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


@lru_cache(maxsize=4000)
def _minutes_of(zone: str, day: date) -> dict[datetime, list[datetime]] | timedelta:
    """Wall clock -> instants, minute by minute through the day and four hours beside it; the offset if none changes."""
    tz = ZoneInfo(zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=tz)
    begin, end = noon.astimezone(UTC) - timedelta(hours=16), noon.astimezone(UTC) + timedelta(hours=16)
    offset, late = begin.astimezone(tz).utcoffset(), end.astimezone(tz).utcoffset()
    if offset is not None and offset == late:
        return offset
    minutes: dict[datetime, list[datetime]] = {}
    for number in range(32 * 60):
        instant = begin + timedelta(minutes=number)
        minutes.setdefault(instant.astimezone(tz).replace(tzinfo=None), []).append(instant)
    return minutes


def _instants_of(
    minutes: dict[datetime, list[datetime]], local: datetime, repeats: bool, hourly: bool
) -> list[datetime]:
    if local in minutes:
        return minutes[local] if repeats else minutes[local][:1]
    hour = [local.replace(minute=minute) for minute in range(60)]
    if hourly and not any(moment in minutes for moment in hour):
        return []
    while local not in minutes:
        local += timedelta(minutes=1)
    return minutes[local][:1]


def second_calendar(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    fields = NICKNAMES.get(expression, expression).split()
    minutes, hours = sorted(_values(fields[0], 0, 59)), sorted(_values(fields[1], 0, 23))
    hourly = len(hours) == 24
    repeats = hourly or len(minutes) == 60 or fields[0].startswith("*") or fields[1].startswith("*")
    found: set[datetime] = set()
    for day in _matching_days(fields, after.astimezone(ZoneInfo(zone)).date() - timedelta(days=1)):
        times = [datetime(day.year, day.month, day.day, hour, minute) for hour in hours for minute in minutes]
        clock = _minutes_of(zone, day)
        if isinstance(clock, timedelta):
            found.update((local - clock).replace(tzinfo=UTC) for local in times)
        else:
            found.update(due for local in times for due in _instants_of(clock, local, repeats, hourly))
        if len(found) > count + 2 * len(hours) * len(minutes) + 120:  # what is before `after`, and a change
            break
    return sorted(due for due in found if due > after)[:count]


@pytest.mark.parametrize("zone", CHANGES)
def test_the_next_1000_slots_equal_those_of_a_second_calendar(zone: str) -> None:
    """Trap 25: 40 expressions, over both changes of the clock; the second calendar has the documented rules."""
    for expression in EXPRESSIONS:
        plan = schedule(expression, zone)
        for count, begin in zip((1000, 300), map(utc, CHANGES[zone]), strict=True):
            ours = [slot.due for slot in plan.next_slots(begin, count)]
            assert ours == second_calendar(expression, zone, begin, count), (expression, zone, begin)


@pytest.mark.parametrize("zone", CHANGES)
def test_cronsim_by_itself_loses_slots_at_a_change_of_the_clock_and_differs_nowhere_else(zone: str) -> None:
    """Trap 25: why its own handling of zones is not used; docs/schedule.md lists what it loses."""
    tz = ZoneInfo(zone)
    for expression in EXPRESSIONS:
        text = NICKNAMES.get(expression, expression)
        for begin in map(utc, CHANGES[zone]):
            theirs = {slot.astimezone(UTC) for slot in islice(CronSim(text, begin.astimezone(tz)), 100)}
            ours = {slot.due for slot in schedule(expression, zone).slots_between(begin, max(theirs))}
            assert theirs <= ours, (expression, zone, begin)
            for due in ours - theirs:
                near = {(due + timedelta(hours=hours)).astimezone(tz).utcoffset() for hours in range(-4, 5)}
                assert len(near) == 2, (expression, zone, due)


# ---- trap 25, by example


def test_a_skipped_time_runs_once_at_the_next_instant_that_exists() -> None:
    """Trap 25."""
    assert readings(schedule("30 2 * * *", "Europe/Berlin"), "2026-03-28T00:00", "2026-03-30T12:00") == [
        "Sat 02:30+0100",
        "Sun 03:00+0200",
        "Mon 02:30+0200",
    ]
    assert readings(schedule("@daily", "America/Sao_Paulo"), "2018-11-03T00:00", "2018-11-05T12:00") == [
        "Sat 00:00-0300",
        "Sun 01:00-0200",
        "Mon 00:00-0200",
    ]
    assert readings(schedule("15 2 * * *", "Australia/Sydney"), "2026-10-03T00:00", "2026-10-05T00:00") == [
        "Sun 03:00+1100",
        "Mon 02:15+1100",
    ]


def test_skipped_times_of_one_entry_run_once_together() -> None:
    """Trap 25."""
    for at in ("15,45 2 * * *", "*/30 2 * * *"):
        assert readings(schedule(at, "Europe/Berlin"), "2026-03-28T12:00", "2026-03-29T12:00") == ["Sun 03:00+0200"]


def test_a_repeated_time_runs_a_daily_entry_once() -> None:
    """Trap 25."""
    assert readings(schedule("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00", "2026-10-26T12:00") == [
        "Sun 02:30+0200",
        "Mon 02:30+0100",
    ]
    assert readings(schedule("30 23 * * *", "America/Sao_Paulo"), "2019-02-16T12:00", "2019-02-18T12:00") == [
        "Sat 23:30-0200",
        "Sun 23:30-0300",
    ]
    assert readings(schedule("45 1 * * *", "Australia/Lord_Howe"), "2026-04-04T04:00", "2026-04-05T04:00") == [
        "Sun 01:45+1100"
    ]


def test_a_repeated_time_runs_an_hourly_entry_twice() -> None:
    """Trap 25."""
    assert readings(schedule("@hourly", "Europe/Berlin"), "2026-10-24T23:30", "2026-10-25T03:00") == [
        "Sun 02:00+0200",
        "Sun 02:00+0100",
        "Sun 03:00+0100",
        "Sun 04:00+0100",
    ]
    assert readings(schedule("45 * * * *", "Australia/Lord_Howe"), "2026-04-04T14:00", "2026-04-04T16:30") == [
        "Sun 01:45+1100",
        "Sun 01:45+1030",
        "Sun 02:45+1030",
    ]


def test_an_hourly_entry_has_no_run_for_an_hour_that_is_skipped_whole() -> None:
    """Trap 25: an hour passes from 01:30 to 03:30, so nothing is lost."""
    assert readings(schedule("30 * * * *", "Europe/Berlin"), "2026-03-29T00:00", "2026-03-29T02:00") == [
        "Sun 01:30+0100",
        "Sun 03:30+0200",
    ]


def test_an_hourly_entry_runs_in_an_hour_of_which_half_is_skipped() -> None:
    """Trap 25: Lord Howe goes from 02:00 to 02:30."""
    assert readings(schedule("15 * * * *", "Australia/Lord_Howe"), "2026-10-03T14:30", "2026-10-03T16:30") == [
        "Sun 01:15+1030",
        "Sun 02:30+1100",
        "Sun 03:15+1100",
    ]


def test_every_second_hour_loses_none_to_a_skipped_hour() -> None:
    """Trap 25."""
    assert readings(schedule("0 */2 * * *", "Europe/Berlin"), "2026-03-28T22:30", "2026-03-29T04:00") == [
        "Sun 00:00+0100",
        "Sun 03:00+0200",
        "Sun 04:00+0200",
        "Sun 06:00+0200",
    ]


def test_a_zone_without_daylight_saving_has_one_slot_a_day() -> None:
    """Trap 25."""
    days = schedule("30 2 * * *", "Asia/Tokyo").slots_between(utc("2025-12-31T17:30"), utc("2026-12-31T17:30"))
    assert len(days) == 365
    assert {slot.due.strftime("%H:%M") for slot in days} == {"17:30"}


@pytest.mark.parametrize("zone", CHANGES)
def test_a_daily_entry_has_one_slot_a_day_in_every_zone(zone: str) -> None:
    """Trap 25."""
    for at in ("0 0 * * *", "45 1 * * *", "15 2 * * *", "30 23 * * *"):
        plan = schedule(at, zone)
        slots = plan.slots_between(utc("2018-06-01T12:00"), utc("2020-06-01T12:00"))
        days = [slot.due.astimezone(plan.zone).date() for slot in slots]
        assert days == sorted(set(days))
        assert len(days) in (730, 731)


# ---- properties

zones = st.sampled_from(sorted(CHANGES))
near_changes = st.builds(
    lambda begin, seconds, micro: begin + timedelta(seconds=seconds, microseconds=micro),
    st.sampled_from([utc(text) for pair in CHANGES.values() for text in pair]),
    st.integers(0, 2 * 86400),
    st.sampled_from([0, 0, 1, 999_999]),
)
crons = st.builds(
    "{} {} * * {}".format,
    st.sampled_from(["*", "*/7", "0", "15", "0,30", "59", "1-50/20"]),
    st.sampled_from(["*", "*/2", "0", "1", "2", "23", "1-3", "0-23", "*/5"]),
    st.sampled_from(["*", "*", "SUN", "SAT,SUN"]),
)
intervals = st.sampled_from(["@every 15m", "@every 7m", "@every 1h30m", "@every 36h", "@every 1.5h"])
entry_lists = st.lists(st.tuples(crons | intervals, st.booleans()), min_size=1, max_size=3).map(
    lambda pairs: [{"at": at, "full": full} for at, full in pairs]
)


@settings(max_examples=150, deadline=None)
@given(entry_lists, zones, near_changes, st.integers(1, 86400), st.integers(1, 86400))
def test_no_slot_is_lost_or_doubled_between_consecutive_queries(
    entries: list[dict[str, Any]], zone: str, begin: datetime, first_s: int, then_s: int
) -> None:
    """Trap 25: wherever the time is cut, in the middle of a repeated hour as well."""
    plan = schedule(entries, zone)
    middle = begin + timedelta(seconds=first_s)
    end = middle + timedelta(seconds=then_s)
    whole = plan.slots_between(begin, end, 10_000)
    assert plan.slots_between(begin, middle, 10_000) + plan.slots_between(middle, end, 10_000) == whole
    assert [slot.order for slot in whole] == sorted({slot.order for slot in whole})


@settings(max_examples=100, deadline=None)
@given(entry_lists, zones, near_changes)
def test_the_slot_after_each_slot_is_the_next_one_of_all(
    entries: list[dict[str, Any]], zone: str, begin: datetime
) -> None:
    plan = schedule(entries, zone)
    chain: list[Slot] = []
    after: datetime | Slot = begin
    for _ in range(30):
        following = plan.next_slot(after)
        if following is None:
            break
        chain.append(following)
        after = following
    assert chain == plan.next_slots(begin, 30)
    assert all(slot.due > begin and slot.due.tzinfo is UTC for slot in chain)


@settings(max_examples=100, deadline=None)
@given(entry_lists, zones, near_changes, st.integers(1, 3 * 86400))
def test_the_newest_slots_are_those_a_count_from_the_start_ends_with(
    entries: list[dict[str, Any]], zone: str, begin: datetime, span_s: int
) -> None:
    plan = schedule(entries, zone)
    end = begin + timedelta(seconds=span_s)
    missed = plan.slots_between(begin, end, 20_000)
    newest = {slot.entry: slot for slot in missed}
    assert plan.due_slots(begin, end, "latest") == sorted(newest.values(), key=lambda slot: slot.order)
    assert plan.newest_slot(begin, end) == (missed[-1] if missed else None)


@settings(max_examples=60, deadline=None)
@given(entry_lists, zones, near_changes, st.sampled_from(["30s", "10m", "3h"]))
def test_jitter_is_the_same_again_and_ends_before_the_next_slot(
    entries: list[dict[str, Any]], zone: str, begin: datetime, jitter: str
) -> None:
    plan, again = (schedule(entries, zone, jitter=jitter) for _ in range(2))
    slots = plan.next_slots(begin, 20)
    begins = [plan.begins_at(slot) for slot in slots]
    assert begins == [again.begins_at(slot) for slot in slots] == sorted(begins)
    for slot, following in pairwise(slots):
        assert 0 <= plan.jitter_of(slot) <= plan.jitter_s
        assert following.due == slot.due or plan.begins_at(slot) < following.due


# ---- entries, window, catch-up, jitter


def test_a_schedule_that_is_null_is_run_by_hand() -> None:
    plan = schedule(None)
    assert plan.next_slot(utc("2026-01-01T00:00")) is None
    assert plan.next_slots(utc("2026-01-01T00:00")) == []
    assert plan.due_slots(utc("2020-01-01T00:00"), utc("2026-01-01T00:00"), "all") == []


def test_a_slot_carries_what_its_entry_runs() -> None:
    plan = schedule(
        [
            {"at": "@hourly", "tables": ["dbo.orders"], "params": {"region": "eu"}},
            {"at": "0 0 * * SUN", "full": True},
        ],
        params={"region": "all", "limit": 5},
    )
    full, hourly, following = plan.next_slots(utc("2026-01-03T23:30"))
    assert (full.entry, full.full, full.tables, full.params) == (1, True, None, {"region": "all", "limit": 5})
    assert (hourly.entry, hourly.full, hourly.tables) == (0, False, ("dbo.orders",))
    assert hourly.params == {"region": "eu", "limit": 5}
    assert (full.due, hourly.due) == (utc("2026-01-04T00:00"), utc("2026-01-04T00:00"))
    assert following.due == utc("2026-01-04T01:00")


def test_two_entries_at_one_instant_are_two_slots_and_none_of_them_is_stepped_over() -> None:
    plan = schedule([{"at": "@hourly"}, {"at": "0 0 * * SUN", "full": True}, {"at": "@daily"}])
    first = plan.next_slot(utc("2026-01-03T23:30"))
    assert first is not None
    second = plan.next_slot(first)
    assert second is not None
    third = plan.next_slot(second)
    assert third is not None
    assert [slot.entry for slot in (first, second, third)] == [1, 0, 2]
    assert plan.slots_between(first, utc("2026-01-04T00:00")) == [second, third]
    assert plan.due_slots(second, utc("2026-01-04T00:30"), "all") == [third]
    assert plan.due_slots(second, utc("2026-01-04T00:30"), "latest") == [third]


def test_an_interval_counts_from_the_epoch_or_from_start_at() -> None:
    after = utc("2026-01-01T00:01")
    assert [slot.due for slot in schedule("@every 15m").next_slots(after, 2)] == [
        utc("2026-01-01T00:15"),
        utc("2026-01-01T00:30"),
    ]
    anchored = schedule("@every 15m", start_at="2025-12-31T23:53:20")
    assert [slot.due for slot in anchored.next_slots(after, 2)] == [
        utc("2026-01-01T00:08:20"),
        utc("2026-01-01T00:23:20"),
    ]


def test_an_interval_knows_no_change_of_the_clock() -> None:
    """Trap 25."""
    plan = schedule("@every 1h", "Europe/Berlin", start_at="2026-03-28T00:30:00")
    dues = [slot.due for slot in plan.slots_between(utc("2026-03-28T12:00"), utc("2026-03-30T12:00"))]
    assert {b - a for a, b in pairwise(dues)} == {timedelta(hours=1)}


def test_slots_count_between_start_at_and_end_at_both_included() -> None:
    plan = schedule("0 6 * * *", "Europe/Berlin", start_at="2026-01-10T06:00:00", end_at="2026-01-12T06:00:00")
    assert [slot.due.day for slot in plan.next_slots(utc("2025-01-01T00:00"), 9)] == [10, 11, 12]


def test_a_day_alone_is_counted_whole() -> None:
    plan = schedule("0 6,18 * * *", "America/New_York", start_at="2026-01-10", end_at="2026-01-11")
    assert [slot.due for slot in plan.next_slots(utc("2025-01-01T00:00"), 9)] == [
        utc("2026-01-10T11:00"),
        utc("2026-01-10T23:00"),
        utc("2026-01-11T11:00"),
        utc("2026-01-11T23:00"),
    ]


def test_a_bound_may_have_an_offset_of_its_own() -> None:
    plan = schedule("@hourly", "Europe/Berlin", start_at="2026-01-10T06:00:00+00:00")
    assert plan.next_slots(utc("2026-01-01T00:00"), 1)[0].due == utc("2026-01-10T06:00")


def test_a_bound_that_the_clock_skips_or_repeats_leaves_no_slot_out() -> None:
    """Trap 25."""
    spring = schedule("30 2 * * *", "Europe/Berlin", start_at="2026-03-29T02:15:00")
    assert spring.next_slots(utc("2026-01-01T00:00"), 1)[0].due == utc("2026-03-29T01:00")
    autumn = schedule("@hourly", "Europe/Berlin", start_at="2026-10-25T02:00:00", end_at="2026-10-25T02:00:00")
    assert [slot.due.hour for slot in autumn.next_slots(utc("2026-01-01T00:00"), 9)] == [0, 1]


AWAY = (utc("2026-01-01T00:00"), utc("2026-01-05T00:30"))


@pytest.mark.parametrize(
    ("catchup", "days"), [("none", []), ("latest", ["01-05"]), ("all", ["01-02", "01-03", "01-04", "01-05"])]
)
def test_catchup_says_what_is_run_of_what_was_missed(catchup: Catchup, days: list[str]) -> None:
    assert [slot.due.strftime("%m-%d") for slot in schedule("@daily").due_slots(*AWAY, catchup)] == days


def test_the_latest_of_each_entry_is_caught_up() -> None:
    plan = schedule([{"at": "@hourly"}, {"at": "0 0 * * SUN", "full": True}])
    missed = plan.due_slots(utc("2026-01-03T20:00"), utc("2026-01-05T08:30"), "latest")
    assert [(slot.due, slot.full) for slot in missed] == [
        (utc("2026-01-04T00:00"), True),
        (utc("2026-01-05T08:00"), False),
    ]


@pytest.mark.parametrize("catchup", ["none", "latest", "all"])
def test_who_never_ran_and_who_was_not_away_missed_nothing(catchup: Catchup) -> None:
    plan = schedule("@daily", start_at="2025-01-01")
    assert plan.due_slots(None, AWAY[1], catchup) == []
    assert plan.due_slots(AWAY[1], AWAY[1], catchup) == []
    assert plan.due_slots(AWAY[1], AWAY[0], catchup) == []


@pytest.mark.parametrize("catchup", ["none", "latest", "all"])
def test_a_slot_that_is_due_now_is_not_missed(catchup: Catchup) -> None:
    now = utc("2026-01-02T00:00")
    for last in (utc("2026-01-01T00:00"), *([None] if catchup == "none" else [])):
        assert [slot.due for slot in schedule("@daily").due_slots(last, now, catchup)] == [now]


def test_a_slot_whose_jitter_has_not_passed_is_not_missed() -> None:
    plan = schedule("@daily", jitter="2h")
    slot = plan.next_slots(utc("2026-01-01T12:00"), 1)[0]
    begins = plan.begins_at(slot)
    assert begins > slot.due
    assert plan.due_slots(utc("2026-01-01T00:00"), begins - timedelta(seconds=1), "none") == [slot]
    assert plan.due_slots(utc("2026-01-01T00:00"), begins + timedelta(seconds=1), "none") == []
    assert plan.due_slots(slot, begins - timedelta(seconds=1), "none") == []


def test_an_answer_is_bounded_and_the_next_question_goes_on_after_it() -> None:
    plan = schedule("@every 1s")
    begin, end = utc("2026-01-01T00:00"), utc("2026-01-01T00:40")
    first = plan.due_slots(begin, end, "all")
    rest = plan.due_slots(first[-1], end, "all")
    more = plan.due_slots(rest[-1], end, "all")
    assert (len(first), len(rest), len(more)) == (MOST_SLOTS, MOST_SLOTS, 400)
    assert (first + rest + more)[-1].due == end


def test_a_minutely_entry_that_was_away_for_a_decade_is_answered_at_once() -> None:
    plan = schedule([{"at": "* * * * *"}, {"at": "@every 1s"}, {"at": "@yearly"}])
    begin = datetime.now(UTC)
    missed = plan.due_slots(utc("2016-01-01T00:00"), utc("2026-01-01T00:00:30"), "latest")
    assert (datetime.now(UTC) - begin).total_seconds() < 2
    assert [slot.entry for slot in missed] == [0, 2, 1]


def test_jitter_differs_between_slots_and_pipelines() -> None:
    plan = schedule("@daily", jitter="10m")
    other = schedule("@daily", jitter="10m", id="00000001")
    slots = plan.next_slots(utc("2026-01-01T12:00"), 50)
    assert len({plan.jitter_of(slot) for slot in slots}) == 50
    assert all(plan.jitter_of(slot) != other.jitter_of(slot) for slot in slots)
    assert max(plan.jitter_of(slot) for slot in slots) > 500
    assert all(schedule("@daily").jitter_of(slot) == 0 for slot in slots)


def test_a_schedule_that_begins_near_the_end_of_time_has_an_end() -> None:
    assert schedule("@yearly").next_slot(utc("9999-06-01T00:00")) is None
    assert schedule("@every 300d").next_slot(utc("9999-12-01T00:00")) is None


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        schedule("@daily").next_slot(datetime(2026, 1, 1))
