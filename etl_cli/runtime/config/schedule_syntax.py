"""Which texts are a schedule: cron, `@hourly` and its like, `@every 15m`. The one place that knows the syntax.

When a schedule is due, time zone and daylight saving included, is runtime/schedule.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from etl_cli.runtime.config.units import parse_duration

if TYPE_CHECKING:
    from cronsim import CronSim

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

LONGEST_INTERVAL_S = 366 * 86400.0


@dataclass(frozen=True)
class Every:
    """A fixed interval in seconds of elapsed time, at least 1."""

    seconds: float


@dataclass(frozen=True)
class Cron:
    """A cron expression of five fields.

    `repeats`: it goes on through an hour that the clock shows twice, as Debian's cron has it: a field of minutes
    or hours begins with a star or holds all there are. Any other expression names its times of the day.
    `hourly`: it runs in each of the 24 hours.
    """

    text: str
    repeats: bool
    hourly: bool

    def times_after(self, local: datetime) -> Iterator[datetime]:
        """The times of the wall clock that match, ascending, strictly after `local`.

        Naive, both ways: cronsim 2.8 can lose or reorder slots of an aware time beside a change of the clock
        (it steps whole hours through Lord Howe's half one, and forgets which of two 02:30s it was asked about).
        """
        return iter(_cronsim(self.text, local.replace(tzinfo=None, fold=0)))


def parse_schedule(text: str) -> Cron | Every:
    """What `text` says. Raises ValueError that says what a schedule looks like."""
    value = text.strip()
    if value.split(None, 1)[:1] == ["@every"] and value != "@every":
        return _parse_every(value)
    if value.startswith("@") and value not in NICKNAMES:
        raise ValueError(f"{text!r} is not a schedule; known are {', '.join(NICKNAMES)} and '@every 15m'")
    return _parse_cron(NICKNAMES.get(value, value))


def check_schedule(text: str) -> str:
    """`text` without blanks around it, where it is a schedule. Raises ValueError like `parse_schedule`."""
    parse_schedule(text)
    return text.strip()


def _parse_every(value: str) -> Every:
    seconds = parse_duration(value.removeprefix("@every").strip())
    if seconds < 1:
        raise ValueError(f"{value!r}: the shortest interval is 1s")
    if seconds > LONGEST_INTERVAL_S:
        raise ValueError(f"{value!r}: the longest interval is 366d")
    return Every(seconds)


def _parse_cron(value: str) -> Cron:
    fields = value.split()
    try:
        if len(fields) != 5:  # cronsim takes a sixth, for seconds, which other crons read as a year
            raise ValueError("Wrong number of fields")
        parsed = _cronsim(value, datetime(2026, 1, 1))
        minutes, hours = len(parsed.minutes), len(parsed.hours)
        if next(parsed, None) is None:
            raise ValueError("it never comes")
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not a cron expression ({error}); five fields are minute hour day month weekday, "
            "e.g. '0 2 * * MON'"
        ) from error
    repeats = fields[0].startswith("*") or fields[1].startswith("*") or minutes == 60 or hours == 24
    return Cron(value, repeats, hourly=hours == 24)


def _cronsim(text: str, local: datetime) -> CronSim:
    # imported here: a command that reads no schedule need not pay for it
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(text, local)
    except CronSimError as error:
        raise ValueError(str(error)) from error
