"""Which texts are a schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.config.schedule_syntax import NICKNAMES, Cron, Every, check_schedule, parse_schedule


@pytest.mark.parametrize("text", [*NICKNAMES, "@every 15m", "@every 1h30m", "@every 1s", "0 2 * * MON", "*/5 * * * *"])
def test_the_documented_texts_are_schedules(text: str) -> None:
    assert check_schedule(text) == text


@pytest.mark.parametrize("text", ["0 0 1,15 * *", "0 9-17 * * 1-5", "0 0 * * SUN", "30 4 L * *", "0 0 * JAN MON#1"])
def test_cron_lists_ranges_names_and_last_days_are_schedules(text: str) -> None:
    assert check_schedule(text) == text


def test_blanks_around_a_schedule_are_left_out() -> None:
    assert check_schedule("  @daily \n") == "@daily"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "@fortnightly",
            "@weekly, @daily, @midnight, @hourly and '@every 15m'",
        ),
        ("@every", "is not a schedule"),
        ("@every 0s", "the shortest interval is 1s"),
        ("@every 500ms", "the shortest interval is 1s"),
        ("@every soon", "is not a duration"),
        ("@every -5m", "is not a duration"),
        ("@Daily", "is not a schedule"),
        ("daily", "five fields are minute hour day month weekday"),
        ("", "five fields are minute hour day month weekday"),
        ("60 * * * *", "is not a cron expression"),
        ("* * * *", "is not a cron expression"),
        ("0 0 32 * *", "is not a cron expression"),
        ("0 0 * * 8", "is not a cron expression"),
        ("5-1 * * * *", "is not a cron expression"),
        ("0 0 0 * * *", "Wrong number of fields"),
        ("0 0 31 FEB *", "is not a cron expression"),
        ("@every 367d", "the longest interval is 366d"),
    ],
)
def test_what_is_no_schedule_says_what_one_looks_like(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        check_schedule(text)


def test_an_interval_is_read_in_seconds() -> None:
    assert parse_schedule("@every  1h30m") == Every(5400)


def test_a_star_or_all_of_the_hours_go_on_through_a_repeated_hour_and_named_times_do_not() -> None:
    """Trap 25."""
    for text in ("@hourly", "0,30 * * * *", "0 0-23 * * *"):
        assert parse_schedule(text) == Cron(NICKNAMES.get(text, text), repeats=True, hourly=True)
    for text in ("0 */2 * * *", "*/10 2 * * *", "0-59 2 * * *"):
        assert parse_schedule(text) == Cron(text, repeats=True, hourly=False)
    for text in ("@daily", "30 2 * * *", "0 1-22 * * *", "0,30 1,2,3 * * *"):
        assert parse_schedule(text) == Cron(NICKNAMES.get(text, text), repeats=False, hourly=False)


def test_a_schedule_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="cron"):
        check_schedule("0 0 30 2 *")


@given(st.text(max_size=20))
def test_any_text_is_a_schedule_or_a_value_error(text: str) -> None:
    try:
        assert check_schedule(text) == text.strip()
    except ValueError:
        return
