"""Dates and times: to and from 100 ns ticks, and to and from text. Exact in the years 1 to 9999."""

from __future__ import annotations

import datetime
import re

from etl_cli.sandbox.standin.errors import (
    SqlError,
    implicit_conversion_refused,
    not_supported,
    overflow,
    temporal_conversion_failed,
)
from etl_cli.sandbox.standin.types import SqlType, SqlValue

SECOND = 10_000_000
UNITS = (10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)  # ticks of the last digit at scales 0 to 7
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
LAST_TICK = 3_652_059 * DAY - 1  # 9999-12-31 23:59:59.9999999
DAYS_TO_1900 = datetime.date(1900, 1, 1).toordinal() - 1
TICKS_TO_1900 = DAYS_TO_1900 * DAY
DATETIME_FIRST = (datetime.date(1753, 1, 1).toordinal() - 1 - DAYS_TO_1900) * 300 * 86_400
DATETIME_LAST = (datetime.date(9999, 12, 31).toordinal() - DAYS_TO_1900) * 300 * 86_400 - 1
SMALLDATETIME_LAST = 65_536 * 1440 - 1
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def to_ticks(kind: SqlType, value: SqlValue) -> int:
    """Return local ticks since 0001-01-01; a time of day lies on 1900-01-01."""
    if kind.name == "date":
        return int(value) * DAY
    if kind.name == "time":
        return TICKS_TO_1900 + int(value)
    if kind.name == "datetime":
        return TICKS_TO_1900 + (int(value) * 100_000 + 1) // 3  # to the nearest tick, as since 2016
    if kind.name == "smalldatetime":
        return TICKS_TO_1900 + int(value) * MINUTE
    if kind.name == "datetimeoffset":
        return int(value[0]) + int(value[1]) * MINUTE
    return int(value)


def from_ticks(kind: SqlType, ticks: int, offset: int = 0) -> SqlValue:
    """Return the value of local ticks, rounded to the type; offset in minutes counts for datetimeoffset."""
    if kind.name == "date":
        return ticks // DAY
    if kind.name == "time":
        return _rounded(ticks % DAY, kind.scale) % DAY
    if kind.name == "datetime":
        thirds = ((ticks - TICKS_TO_1900) * 3 + 50_000) // 100_000
        return _within(thirds, DATETIME_FIRST, DATETIME_LAST, kind)
    if kind.name == "smalldatetime":
        minutes = (ticks - TICKS_TO_1900 + MINUTE // 2) // MINUTE
        return _within(minutes, 0, SMALLDATETIME_LAST, kind)
    if kind.name == "datetimeoffset":
        return _within(_rounded(ticks, kind.scale) - offset * MINUTE, 0, LAST_TICK, kind), offset
    return _within(_rounded(ticks, kind.scale), 0, LAST_TICK, kind)


def _rounded(ticks: int, scale: int) -> int:
    unit = UNITS[scale]
    return (ticks + unit // 2) // unit * unit


def _within(value: int, first: int, last: int, kind: SqlType) -> int:
    if not first <= value <= last:
        raise (
            SqlError(
                242,
                f"The conversion of a datetime2 data type to a {kind.name} data type resulted in an "
                "out-of-range value.",
            )
            if kind.name in ("datetime", "smalldatetime")
            else overflow(kind.name)
        )
    return value


def convert(source: SqlType, target: SqlType, value: SqlValue) -> SqlValue:
    """Return a value of one type as another; date and time have nothing in common (529)."""
    if {source.name, target.name} == {"date", "time"}:
        raise implicit_conversion_refused(source.name, target.name)
    if source.name == "datetimeoffset" and target.name == "datetimeoffset":
        return from_ticks(target, to_ticks(source, value), value[1])
    return from_ticks(target, to_ticks(source, value))


_DATE = r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})|(?P<packed>\d{8})"
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.:](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AP]M)?"
)
_ZONE = r"(?P<zone>Z|[+-]\d{1,2}:\d{2})"
_TEXT = re.compile(rf"\s*(?:{_DATE})?(?:(?:T|\s+|(?<!\d))?(?:{_TIME}))?\s*{_ZONE}?\s*", re.IGNORECASE)


def parse(kind: SqlType, text: str) -> SqlValue:
    """Return the value of ISO text: YYYY-MM-DD or YYYYMMDD, a time, an offset; 241 for what is none."""
    if not text.strip():
        return from_ticks(kind, TICKS_TO_1900)
    found = _TEXT.fullmatch(text)
    if found is None:
        if re.match(r"\s*(\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|[A-Za-z]{3,9} |\d{1,2} [A-Za-z]{3})", text):
            raise not_supported(f"the date format of '{text}'")
        raise temporal_conversion_failed()
    parts = found.groupdict()
    if parts["fraction"] and kind.name in ("datetime", "smalldatetime") and len(parts["fraction"]) > 3:
        raise temporal_conversion_failed()
    offset = _offset(parts["zone"])
    if parts["zone"] and kind.name in ("datetime", "smalldatetime") and parts["zone"].upper() != "Z":
        raise temporal_conversion_failed()
    if kind.name in ("datetime2", "date", "time") and parts["zone"]:
        offset = 0
    return from_ticks(kind, _day_ticks(parts) + _clock_ticks(parts), offset)


def _day_ticks(parts: dict[str, str | None]) -> int:
    packed = parts["packed"]
    if packed:
        year, month, day = int(packed[:4]), int(packed[4:6]), int(packed[6:])
    elif parts["year"]:
        year, month, day = int(parts["year"]), int(parts["month"] or 0), int(parts["day"] or 0)
    else:
        return TICKS_TO_1900
    try:
        return (datetime.date(year, month, day).toordinal() - 1) * DAY
    except ValueError:
        raise temporal_conversion_failed() from None


def _clock_ticks(parts: dict[str, str | None]) -> int:
    if parts["hour"] is None:
        return 0
    hour, minute, second = int(parts["hour"]), int(parts["minute"] or 0), int(parts["second"] or 0)
    if parts["half"]:
        hour = hour % 12 + (12 if parts["half"].upper() == "PM" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise temporal_conversion_failed()
    fraction = (parts["fraction"] or "").ljust(9, "0")
    return (hour * 3600 + minute * 60 + second) * SECOND + (int(fraction) + 50) // 100


def zone_minutes(zone: str) -> int:
    """Return the minutes of an offset such as +02:00; 241 for text that is none."""
    if not re.fullmatch(_ZONE, zone.strip(), re.IGNORECASE):
        raise temporal_conversion_failed()
    return _offset(zone.strip())


def _offset(zone: str | None) -> int:
    if zone is None or zone.upper() == "Z":
        return 0
    hours, minutes = zone[1:].split(":")
    offset = int(hours) * 60 + int(minutes)
    if offset > 14 * 60:
        raise temporal_conversion_failed()
    return -offset if zone[0] == "-" else offset


def _fraction(ticks: int, scale: int) -> str:
    return f".{ticks % SECOND:07d}"[: scale + 1] if scale else ""


def _clock(ticks: int) -> str:
    seconds = ticks // SECOND
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _date(ticks: int) -> str:
    return datetime.date.fromordinal(ticks // DAY + 1).isoformat()


def _zone(offset: int) -> str:
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def digits(kind: SqlType) -> int:
    """Return the fraction's digits that text of this type shows."""
    return 3 if kind.name == "datetime" else 0 if kind.name in ("smalldatetime", "date") else kind.scale


def format_value(kind: SqlType, value: SqlValue, style: int | None) -> str:
    """Return the text of CONVERT with this style; None is the default of CAST."""
    ticks = to_ticks(kind, value)
    if kind.name == "datetime":
        ticks = (ticks + 5_000) // 10_000 * 10_000  # text shows milliseconds
    old = kind.name in ("datetime", "smalldatetime")
    style = (0 if old else 121) if style is None else style
    if style in (126, 127):
        return _iso(kind, ticks, value, style)
    if style in (20, 120, 21, 121, 25):
        return _odbc(kind, ticks, value, 0 if style in (20, 120) else digits(kind))
    if style == 23 and kind.name != "time":
        return _date(ticks)
    if style == 112 and kind.name != "time":
        return _date(ticks).replace("-", "")
    if style in (0, 100) and old:
        return _classic(ticks)
    if style in (8, 108, 24) and kind.name != "date":
        return _clock(ticks % DAY)
    if style in (14, 114) and old:
        return _clock(ticks % DAY) + ":" + f"{ticks % SECOND // 10_000:03d}"
    raise not_supported(f"CONVERT of {kind.name} with style {style}")


def _odbc(kind: SqlType, ticks: int, value: SqlValue, scale: int) -> str:
    if kind.name == "date":
        return _date(ticks)
    clock = _clock(ticks % DAY) + _fraction(ticks, scale)
    if kind.name == "time":
        return clock
    zone = " " + _zone(value[1]) if kind.name == "datetimeoffset" else ""
    if kind.name == "smalldatetime" and scale == 0:
        return f"{_date(ticks)} {clock}"
    return f"{_date(ticks)} {clock}{zone}"


def _iso(kind: SqlType, ticks: int, value: SqlValue, style: int) -> str:
    """ISO 8601; a fraction of zero is left out, as the documentation of CONVERT says."""
    if kind.name == "date":
        return _date(ticks)
    if kind.name == "datetimeoffset" and style == 127:
        ticks = value[0]
    clock = _clock(ticks % DAY) + (_fraction(ticks, digits(kind)) if ticks % SECOND else "")
    if kind.name == "time":
        return clock
    zone = "" if kind.name != "datetimeoffset" else "Z" if style == 127 else _zone(value[1])
    return f"{_date(ticks)}T{clock}{zone}"


def _classic(ticks: int) -> str:
    """Style 0: mon dd yyyy hh:miAM, the day and the hour two wide."""
    day = datetime.date.fromordinal(ticks // DAY + 1)
    minutes = ticks % DAY // MINUTE
    hour = minutes // 60
    half = "PM" if hour >= 12 else "AM"
    return f"{MONTHS[day.month - 1]} {day.day:2d} {day.year:04d} {(hour % 12) or 12:2d}:{minutes % 60:02d}{half}"
