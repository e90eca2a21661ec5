"""Functions of dates."""

from __future__ import annotations

import calendar
import datetime

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql import temporal
from etl_cli.sandbox.standin.sql.bound import Bound, converted, strict
from etl_cli.sandbox.standin.sql.functions.registry import register
from etl_cli.sandbox.standin.types import SqlType, SqlValue

_PART_NAMES = """
year yy yyyy|quarter qq q|month mm m|week wk ww|day dd d|dayofyear dy y|weekday dw w|hour hh|minute mi n|second ss s
millisecond ms|microsecond mcs|nanosecond ns
"""
PARTS = {name: group.split()[0] for group in _PART_NAMES.replace("\n", "|").split("|") for name in group.split()}
CALENDAR_PARTS = {"year": 12, "quarter": 3, "month": 1}  # in months
TICKS = {
    "week": 7 * temporal.DAY, "day": temporal.DAY, "dayofyear": temporal.DAY, "weekday": temporal.DAY,
    "hour": 60 * temporal.MINUTE, "minute": temporal.MINUTE, "second": temporal.SECOND, "millisecond": 10_000,
    "microsecond": 10,
}  # fmt: skip
NANOSECONDS_PER_TICK = 100
SUNDAY = temporal.DAY  # 0001-01-01 was a Monday: weeks begin a day before it
FURTHEST_MINUTES = 14 * 60


def _part(name: str, first: int, last: int) -> None:
    @register(name, 1)
    def maker(arguments: list[Bound]) -> Bound:
        date = converted(arguments[0], SqlType("datetime2", scale=7))
        style = SqlType("date")
        return strict(t.INT, lambda v: int(temporal.format_value(style, v // temporal.DAY, None)[first:last]), date)


_part("YEAR", 0, 4)
_part("MONTH", 5, 7)
_part("DAY", 8, 10)


def _part_of(argument: Bound, function: str) -> str:
    """Return the date part that a word means; 155 for none."""
    word = str(argument.value)
    if word not in PARTS:
        raise SqlError(155, f"'{word}' is not a recognized {function} option.", severity=15)
    return PARTS[word]


def _refuse_part(part: str, function: str, kind: SqlType) -> None:
    """Raise 9810 for a part that the type does not have."""
    clock = part not in CALENDAR_PARTS and TICKS.get(part, 1) < temporal.DAY
    if (kind.name == "date" and clock) or (kind.name == "time" and not clock):
        raise SqlError(
            9810, f"The datepart {part} is not supported by date function {function} for data type {kind.name}."
        )


# --- DATEADD -------------------------------------------------------------------------------------------------------


@register("DATEADD", 3)
def _dateadd(arguments: list[Bound]) -> Bound:
    """The date keeps its type; text is a datetime."""
    part, number = _part_of(arguments[0], "dateadd"), converted(arguments[1], t.INT)
    date = arguments[2] if arguments[2].type.is_temporal else converted(arguments[2], t.DATETIME)
    kind = date.type
    _refuse_part(part, "dateadd", kind)
    return strict(kind, lambda count, value: _added(kind, value, part, count), number, date)


def _added(kind: SqlType, value: SqlValue, part: str, count: int) -> SqlValue:
    ticks = temporal.to_ticks(kind, value)
    try:
        moved = _months_later(ticks, count * CALENDAR_PARTS[part]) if part in CALENDAR_PARTS else _later(
            ticks, part, count
        )  # fmt: skip
        if kind.name != "time" and not 0 <= moved <= temporal.LAST_TICK:
            raise OverflowError
        return temporal.from_ticks(kind, moved, value[1] if kind.name == "datetimeoffset" else 0)
    except (SqlError, OverflowError, ValueError):
        raise SqlError(517, f"Adding a value to a '{kind.name}' column caused an overflow.") from None


def _later(ticks: int, part: str, count: int) -> int:
    if part == "nanosecond":
        return ticks + (count + NANOSECONDS_PER_TICK // 2) // NANOSECONDS_PER_TICK
    return ticks + count * TICKS[part]


def _months_later(ticks: int, months: int) -> int:
    """The day stays, or becomes the last of a shorter month."""
    days, rest = divmod(ticks, temporal.DAY)
    old = datetime.date.fromordinal(days + 1)
    year, month = divmod(old.year * 12 + old.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    last = calendar.monthrange(year, month + 1)[1]
    return (datetime.date(year, month + 1, min(old.day, last)).toordinal() - 1) * temporal.DAY + rest


# --- DATEDIFF ------------------------------------------------------------------------------------------------------


def _difference(name: str, kind: SqlType) -> None:
    low, high = t.INTEGERS[kind.name]

    @register(name, 3)
    def maker(arguments: list[Bound]) -> Bound:
        part = _part_of(arguments[0], name.lower())
        dates = [date if date.type.is_temporal else converted(date, t.datetime2()) for date in arguments[1:]]
        first, second = dates[0].type, dates[1].type

        def between(start: SqlValue, end: SqlValue) -> int:
            found = _boundary(_utc(second, end), part) - _boundary(_utc(first, start), part)
            if not low <= found <= high:
                raise SqlError(
                    535,
                    f"The {name.lower()} function resulted in an overflow. The number of dateparts separating two "
                    f"date/time instances is too large. Try to use {name.lower()} with a less precise datepart.",
                )
            return found

        return strict(kind, between, *dates)


def _utc(kind: SqlType, value: SqlValue) -> int:
    """Moments with an offset are compared as moments."""
    return int(value[0]) if kind.name == "datetimeoffset" else temporal.to_ticks(kind, value)


def _boundary(ticks: int, part: str) -> int:
    """Return how many boundaries of a part lie before a moment."""
    if part in CALENDAR_PARTS:
        date = datetime.date.fromordinal(ticks // temporal.DAY + 1)
        return (date.year * 12 + date.month - 1) // CALENDAR_PARTS[part]
    if part == "nanosecond":
        return ticks * NANOSECONDS_PER_TICK
    return (ticks + (SUNDAY if part == "week" else 0)) // TICKS[part]


_difference("DATEDIFF", t.INT)
_difference("DATEDIFF_BIG", t.BIGINT)


# --- offsets -------------------------------------------------------------------------------------------------------


def _minutes(zone: SqlValue, function: str) -> int:
    """Return an offset given as text or as minutes; 9812 for what is none."""
    try:
        found = zone if isinstance(zone, int) else temporal.zone_minutes(zone)
    except SqlError:
        found = FURTHEST_MINUTES + 1
    if abs(found) > FURTHEST_MINUTES:
        raise SqlError(9812, f"The timezone provided to builtin function {function} is invalid.")
    return found


def _zone(argument: Bound) -> Bound:
    return argument if argument.type.is_text else converted(argument, t.INT)


@register("SWITCHOFFSET", 2)
def _switchoffset(arguments: list[Bound]) -> Bound:
    """The same moment under another offset."""
    moment = arguments[0] if arguments[0].type.name == "datetimeoffset" else converted(arguments[0], t.datetimeoffset())
    return strict(moment.type, lambda v, zone: (v[0], _minutes(zone, "switchoffset")), moment, _zone(arguments[1]))


@register("TODATETIMEOFFSET", 2)
def _todatetimeoffset(arguments: list[Bound]) -> Bound:
    """A clock reading with an offset."""
    source = arguments[0].type
    scale = temporal.digits(source) if source.is_temporal else 7
    reading = converted(arguments[0], t.datetime2(scale))
    kind = t.datetimeoffset(scale)

    def moment(ticks: int, zone: SqlValue) -> SqlValue:
        return temporal.from_ticks(kind, ticks, _minutes(zone, "todatetimeoffset"))

    return strict(kind, moment, reading, _zone(arguments[1]))


@register("DATEPART", 2)
def _datepart(arguments: list[Bound]) -> Bound:
    """The offset's minutes; the other parts are left to YEAR, MONTH and DAY."""
    word, kind = str(arguments[0].value), arguments[1].type
    if word not in ("tzoffset", "tz"):
        raise not_supported(f"DATEPART({word}, ...)")
    if kind.name != "datetimeoffset":
        raise SqlError(
            9810, f"The datepart tzoffset is not supported by date function datepart for data type {kind.name}."
        )
    return strict(t.INT, lambda value: value[1], arguments[1])
