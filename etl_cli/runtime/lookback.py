"""How far below the watermark an incremental run begins again (trap 3). Pure."""

from __future__ import annotations

import datetime as dt
import re

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.plan import ColumnPlan

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(\.\d+)?)?(.*)")
_FIRST = dt.datetime(1, 1, 1)


def less(column: ColumnPlan, watermark: str, lookback: float) -> str:
    """The watermark less the lookback, as text of the cursor's type.

    `lookback` is seconds for a cursor of dates or times, a difference for one of numbers or a rowversion.
    Digits below the second are kept as they are. Raises PlanError for a text that is no such value.
    """
    kind = column.source_type.partition("(")[0].lower()
    try:
        if kind in ("timestamp", "rowversion"):
            return f"0x{max(0, int(watermark, 16) - int(lookback)):016X}"
        if kind in ("date", "datetime", "smalldatetime", "datetime2", "datetimeoffset"):
            return _earlier(watermark, lookback, is_date=kind == "date")
        return str(int(watermark) - int(lookback))
    except ValueError as error:
        raise PlanError(
            f"the watermark {watermark!r} is no value of {column.source} ({column.source_type})",
            "set it right with `etl-cli state`",
        ) from error


def is_higher(column: ColumnPlan, one: str, other: str) -> bool:
    """Whether the cursor value `one` is above `other`, both as the source's texts."""
    return _comparable(column, one) > _comparable(column, other)


def _comparable(column: ColumnPlan, text: str) -> tuple[object, ...]:
    kind = column.source_type.partition("(")[0].lower()
    if kind in ("timestamp", "rowversion"):
        return (int(text, 16),)
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return (int(text),)
    day, clock, fraction, offset = match.groups()
    whole = dt.datetime.fromisoformat(f"{day} {clock or '00:00:00'}")
    minutes = 0
    if offset.strip():
        hours, _, rest = offset.strip().lstrip("+-").partition(":")
        minutes = (int(hours) * 60 + int(rest or 0)) * (-1 if offset.strip().startswith("-") else 1)
    seconds = (whole - _FIRST) // dt.timedelta(seconds=1) - 60 * minutes
    return seconds, (fraction or ".").ljust(8, "0")


def _earlier(text: str, seconds: float, *, is_date: bool) -> str:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    day, clock, fraction, offset = match.groups()
    whole = dt.datetime.fromisoformat(f"{day} {clock or '00:00:00'}")
    # a part of a second is taken as a whole one: further back is safe, rows are only read again
    back = dt.timedelta(seconds=-(-seconds // 1))
    moved = whole - back if whole - _FIRST > back else _FIRST
    if is_date:
        return moved.date().isoformat()
    return f"{moved.isoformat(sep=' ', timespec='seconds')}{fraction or ''}{offset}"
