"""The throttle: over any stretch no more rows than the rate allows, told by a clock that the test owns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.throttle import Throttle


class Clock:
    """Time passes only while somebody sleeps, or when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


def throttle(rows_per_s: float | None, clock: Clock) -> Throttle:
    return Throttle(rows_per_s, clock, clock.sleep)


def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    free = throttle(None, clock)
    free.wait(10**9)
    assert (clock.slept, free.most_rows) == ([], 2**31 - 1)


def test_each_batch_waits_as_long_as_its_rows_may_take() -> None:
    clock = Clock()
    limited = throttle(1000, clock)
    for rows in (100, 50, 200):
        limited.wait(rows)
    assert clock.slept == pytest.approx([0.1, 0.05, 0.2])


def test_the_time_that_reading_took_is_part_of_the_wait() -> None:
    clock = Clock()
    limited = throttle(1000, clock)
    limited.wait(100)
    clock.now += 0.08  # the next batch is being read and loaded
    limited.wait(100)
    assert clock.slept == pytest.approx([0.1, 0.1])


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    limited = throttle(1000, clock)
    limited.wait(100)
    clock.now += 3600
    limited.wait(100)
    assert clock.slept[-1] == pytest.approx(0.1)


def test_a_batch_without_rows_does_not_wait() -> None:
    clock = Clock()
    throttle(1, clock).wait(0)
    assert clock.slept == []


@pytest.mark.parametrize(("rate", "most"), [(1000, 100), (15, 1), (10, 1), (1, 1), (0.25, 1), (10**6, 10**5)])
def test_a_batch_holds_a_tenth_of_a_second_of_rows_and_at_least_one(rate: float, most: int) -> None:
    assert throttle(rate, Clock()).most_rows == most


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), min_size=1, max_size=50),
    st.floats(0.5, 10_000),
)
def test_never_more_rows_than_the_rate_allows(batches: list[tuple[int, float]], rate: float) -> None:
    clock = Clock(now=0.0)
    limited = throttle(rate, clock)
    rows = 0
    for size, busy in batches:
        limited.wait(size)
        rows += size
        assert clock.now >= rows / rate - 1e-6
        clock.now += busy
