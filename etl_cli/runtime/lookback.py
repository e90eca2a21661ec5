"""How far below the watermark an incremental run begins again (trap 3). Pure."""

from __future__ import annotations

import datetime as dt
import re

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.plan import ColumnPlan

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(\.\d+)?)?(\s*(?:[+-]\d\d:\d\d)?)")
_TIMES = ("date", "datetime", "smalldatetime", "datetime2", "datetimeoffset")
_ROWVERSIONS = ("timestamp", "rowversion")
_FIRST = dt.datetime(1, 1, 1)
_FIRST_OF = {"datetime": dt.datetime(1753, 1, 1), "smalldatetime": dt.datetime(1900, 1, 1)}
_LOWEST_OF = {"tinyint": 0, "smallint": -(2**15), "int": -(2**31), "bigint": -(2**63)}


def less(column: ColumnPlan, watermark: str, lookback: float) -> str:
    """The watermark less the lookback, as text of the cursor's type.

    `lookback` is seconds for a cursor of dates or times, a difference for one of numbers or a rowversion.
    Digits below the second are kept as they are, and nothing goes below the type's first value, which the
    server would refuse. Raises PlanError for a text that is no such value.
    """
    kind = _base(column)
    try:
        if kind in _ROWVERSIONS:
            return f"0x{max(0, int(watermark, 16) - int(lookback)):016X}"
        if kind in _TIMES:
            return _earlier(watermark, lookback, kind)
        return str(max(int(watermark) - int(lookback), _lowest(column)))
    except ValueError as error:
        raise PlanError(
            f"the watermark {watermark!r} is no value of {column.source} ({column.source_type})",
            "set it right with `etl-cli state`",
        ) from error


def is_higher(column: ColumnPlan, one: str, other: str) -> bool:
    """Whether the cursor value `one` is above `other`, both as the source's texts.

    Raises ValueError for a text that is no value of the cursor's type.
    """
    return _comparable(column, one) > _comparable(column, other)


def _lowest(column: ColumnPlan) -> int:
    """The first value of a whole number's type; decimal(p,0) has p digits."""
    digits = re.search(r"\((\d+)", column.source_type)
    nines: int = 10 ** int(digits[1] if digits else 38) - 1
    return _LOWEST_OF.get(_base(column), -nines)


def _comparable(column: ColumnPlan, text: str) -> tuple[object, ...]:
    kind = _base(column)
    if kind in _ROWVERSIONS:
        return (int(text, 16),)
    if kind not in _TIMES:
        return (int(text),)
    day, clock, fraction, offset = _parts(text)
    instant = dt.datetime.fromisoformat(f"{day} {clock or '00:00:00'}") - _FIRST - _ahead(offset)
    return instant, (fraction or ".").ljust(8, "0")


def _parts(text: str) -> tuple[str, str | None, str | None, str]:
    """Day, clock, fraction and offset of a time. Raises ValueError."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    day, clock, fraction, offset = match.groups()
    return day, clock, fraction, offset


def _ahead(offset: str) -> dt.timedelta:
    """How far a clock with this offset is ahead of UTC; "" is UTC."""
    hours, _, minutes = offset.strip().lstrip("+-").partition(":")
    ahead = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return -ahead if "-" in offset else ahead


def _earlier(text: str, seconds: float, kind: str) -> str:
    day, clock, fraction, offset = _parts(text)
    whole = dt.datetime.fromisoformat(f"{day} {clock or '00:00:00'}")
    # a part of a second is taken as a whole one: further back is safe, rows are only read again
    back = dt.timedelta(seconds=-(-seconds // 1))
    first = _FIRST_OF.get(kind, _FIRST) + max(_ahead(offset), dt.timedelta(0))
    moved = whole - back if whole - first > back else first
    if kind == "date":
        return moved.date().isoformat()
    return f"{moved.isoformat(sep=' ', timespec='seconds')}{fraction or ''}{offset}"


def _base(column: ColumnPlan) -> str:
    return column.source_type.partition("(")[0].lower()
