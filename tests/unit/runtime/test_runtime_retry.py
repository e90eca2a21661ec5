"""When a failed run is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.config.model import ErrorHandling
from etl_cli.runtime.errors import ConfigError, SinkError, UsageError
from etl_cli.runtime.retry import is_permanent, next_try

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def timetable(attempt_s: float = 0, **keys: Any) -> list[float | None]:
    """The delays of a run that fails each time, `attempt_s` after it began; None at the end."""
    handling = ErrorHandling(**keys)
    now, delays, failures = MIDNIGHT, list[float | None](), 0
    while not delays or delays[-1] is not None:
        failures += 1
        delay_s = next_try(handling, failures, MIDNIGHT, now)
        delays.append(delay_s)
        now += timedelta(seconds=(delay_s or 0) + attempt_s)
    return delays


def test_three_retries_after_5_10_and_20_seconds_and_then_the_next_slot() -> None:
    assert timetable() == [5, 10, 20, None]


def test_without_exponential_backoff_each_delay_is_the_same() -> None:
    assert timetable(exponential_backoff=False, retry_delay="7s") == [7, 7, 7, None]


def test_no_delay_is_longer_than_max_retry_delay() -> None:
    assert timetable(max_retries=5, max_retry_delay="12s") == [5, 10, 12, 12, 12, None]
    assert timetable(max_retries=2, retry_delay="1h", max_retry_delay="1m", retry_timeout="2h") == [60, 60, None]


def test_no_retry_with_max_retries_0() -> None:
    assert timetable(max_retries=0) == [None]


def test_a_retry_that_would_begin_after_the_timeout_is_not_made() -> None:
    assert timetable(max_retries=9, retry_timeout="35s") == [5, 10, 20, None]
    assert timetable(max_retries=9, retry_timeout="34s") == [5, 10, None]
    assert timetable(retry_timeout="4s") == [None]


def test_the_timeout_counts_from_the_first_failure_with_the_time_that_attempts_take() -> None:
    assert timetable(attempt_s=1700, max_retries=9) == [5, 10, 20, None]
    assert timetable(attempt_s=4000) == [5, None]


def test_a_permanent_failure_is_not_tried_again() -> None:
    assert next_try(ErrorHandling(), 1, MIDNIGHT, MIDNIGHT, permanent=True) is None


def test_wrong_usage_and_configuration_are_permanent_and_nothing_else_is() -> None:
    assert is_permanent(ConfigError.exit_code)
    assert is_permanent(UsageError.exit_code)
    assert not is_permanent(SinkError.exit_code)
    assert not any(is_permanent(code) for code in (0, 1, 130, 137, -9, -11))


def test_a_clock_that_went_back_makes_no_delay_longer() -> None:
    assert next_try(ErrorHandling(), 2, MIDNIGHT, MIDNIGHT - timedelta(hours=3)) == 10


def test_a_retry_follows_at_least_one_failure() -> None:
    with pytest.raises(ValueError, match="at least one"):
        next_try(ErrorHandling(), 0, MIDNIGHT, MIDNIGHT)


@given(
    st.integers(1, 10_000),
    st.floats(0, 1e12),
    st.floats(0, 1e12),
    st.floats(0, 1e12),
    st.floats(0, 1e8),
    st.booleans(),
)
def test_whatever_is_configured_a_delay_keeps_every_limit(
    failures: int, delay_s: float, longest_s: float, timeout_s: float, passed_s: float, exponential: bool
) -> None:
    handling = ErrorHandling(
        max_retries=5_000,
        retry_delay=delay_s,
        max_retry_delay=longest_s,
        retry_timeout=timeout_s,
        exponential_backoff=exponential,
    )
    now = MIDNIGHT + timedelta(seconds=passed_s)
    found = next_try(handling, failures, MIDNIGHT, now)
    if found is not None:
        assert failures <= 5_000
        assert 0 <= found <= longest_s
        assert (now - MIDNIGHT).total_seconds() + found <= timeout_s
