"""Words of an operator -> the value of `schedule`: `daily 00:00` -> `0 0 * * *`; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from etl_cli.runtime.config.schedule_syntax import check_schedule
from etl_cli.runtime.errors import UsageError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

FORMS = 'daily 00:00 | hourly [2] | weekly mon 00:00 | monthly 1 00:00 | cron "0 */2 * * *" | every 15m | remove | show'


def schedule_of(words: Sequence[str]) -> str | None:
    """The schedule that the words mean; None for `remove`. Raises UsageError that shows the form."""
    form, *rest = words
    if form == "remove" and not rest:
        return None
    known = _KNOWN.get(form)
    if known is None:
        raise UsageError(f"{' '.join(words)!r} is not a schedule", f"use: {FORMS}")
    least, most, build, example = known
    if not least <= len(rest) <= most:
        raise UsageError(f"{' '.join(words)!r} is not a schedule", f"use it as: {example}")
    return build(*rest)


def _daily(time: str = "00:00") -> str:
    hour, minute = _time(time)
    return f"{minute} {hour} * * *"


def _hourly(hours: str = "1") -> str:
    """Every so many hours; where they do not divide the day, counted through midnight."""
    number = _number(hours, 1, 23, "a number of hours", "hourly 2")
    if number == 1:
        return "0 * * * *"
    return f"0 */{number} * * *" if 24 % number == 0 else f"@every {number}h"


def _weekly(day: str, time: str = "00:00") -> str:
    name = day.lower()
    name = _DAYS[_LONG_DAYS.index(name)] if name in _LONG_DAYS else name
    if name not in _DAYS:
        raise UsageError(f"{day!r} is not a day of the week", f"use one of {', '.join(_DAYS)}")
    hour, minute = _time(time)
    return f"{minute} {hour} * * {name.upper()}"


def _monthly(day: str, time: str = "00:00") -> str:
    number = _number(day, 1, 31, "a day of the month", "monthly 1 00:00")
    hour, minute = _time(time)
    return f"{minute} {hour} {number} * *"


def _cron(*fields: str) -> str:
    return _checked(" ".join(fields))


def _every(interval: str) -> str:
    return _checked(f"@every {interval}")


def _checked(text: str) -> str:
    try:
        return check_schedule(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _time(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", text, re.ASCII)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise UsageError(f"{text!r} is not a time of day", "write it as HH:MM, from 00:00 to 23:59")
    return int(found[1]), int(found[2])


def _number(text: str, least: int, most: int, what: str, example: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not least <= int(text) <= most:
        raise UsageError(f"{text!r} is not {what}", f"it is from {least} to {most}, e.g. {example}")
    return int(text)


_KNOWN: dict[str, tuple[int, int, Callable[..., str], str]] = {
    "daily": (0, 1, _daily, "daily 00:00"),
    "hourly": (0, 1, _hourly, "hourly 2"),
    "weekly": (1, 2, _weekly, "weekly mon 00:00"),
    "monthly": (1, 2, _monthly, "monthly 1 00:00"),
    "cron": (1, 5, _cron, 'cron "0 */2 * * *"'),
    "every": (1, 1, _every, "every 15m"),
}
