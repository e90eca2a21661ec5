"""Which texts are a schedule: cron, `@hourly` and its like, `@every 15m`."""

from __future__ import annotations

from datetime import UTC, datetime

from etl_cli.runtime.config.units import parse_duration

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def check_schedule(text: str) -> str:
    """`text` itself where it is a schedule. Raises ValueError that says what one looks like."""
    value = text.strip()
    if value in NICKNAMES:
        return value
    if value.startswith("@every "):
        if parse_duration(value.removeprefix("@every ")) < 1:
            raise ValueError(f"{text!r}: the shortest interval is 1s")
        return value
    if value.startswith("@"):
        raise ValueError(f"{text!r} is not a schedule; known are {', '.join(NICKNAMES)} and '@every 15m'")
    return _check_cron(value)


def _check_cron(value: str) -> str:
    # imported here: a command that reads no schedule need not pay for it
    from cronsim import CronSim, CronSimError

    try:
        CronSim(value, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"{value!r} is not a cron expression ({error}); five fields are minute hour day month weekday, "
            "e.g. '0 2 * * MON'"
        ) from error
    return value
