"""When a failed run is tried again, by `error_handling`. Pure; jitter is no part of it."""

from __future__ import annotations

from datetime import datetime

from etl_cli.runtime.config.model import ErrorHandling
from etl_cli.runtime.errors import ConfigError

_MOST_DOUBLINGS = 60


def is_permanent(exit_code: int) -> bool:
    """Whether an attempt ended with wrong usage or configuration: another one would end the same way."""
    return exit_code == ConfigError.exit_code


def next_try(
    error_handling: ErrorHandling,
    failures: int,
    first_failure: datetime,
    now: datetime,
    *,
    permanent: bool = False,
) -> float | None:
    """Seconds from `now` to the next attempt; None: no more, the pipeline waits for its next slot.

    `failures` counts the attempts of this slot that failed, at least 1; an interruption by a stop is none of them.
    After failure n the delay is `retry_delay * 2**(n - 1)`, or `retry_delay` without exponential_backoff, at most
    `max_retry_delay`. There are at most `max_retries` retries, and none that would begin later than `retry_timeout`
    after `first_failure`. Both times are aware. Raises ValueError for fewer than one failure.
    """
    if failures < 1:
        raise ValueError(f"{failures} failures; a retry follows at least one")
    if permanent or failures > error_handling.max_retries:
        return None
    delay_s = _delay_s(error_handling, failures)
    passed_s = max((now - first_failure).total_seconds(), 0.0)
    return delay_s if passed_s + delay_s <= error_handling.retry_timeout else None


def _delay_s(error_handling: ErrorHandling, failures: int) -> float:
    doublings = min(failures - 1, _MOST_DOUBLINGS) if error_handling.exponential_backoff else 0
    return min(error_handling.retry_delay * 2.0**doublings, error_handling.max_retry_delay)
