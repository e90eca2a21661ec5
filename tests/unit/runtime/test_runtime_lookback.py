"""How far below the watermark an incremental run begins again, and which of two cursor values is higher."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.lookback import is_higher, less
from etl_cli.runtime.plan import ColumnPlan
from tests.support.plans import column_plan

DAY = 86_400.0


def cursor(source_type: str) -> ColumnPlan:
    return column_plan("c", "text", source_type=source_type)


# less


@pytest.mark.parametrize(
    ("source_type", "watermark", "lookback", "expected"),
    [
        ("int", "1000", 10, "990"),
        ("int", "5", 10, "-5"),
        ("tinyint", "5", 5, "0"),
        ("smallint", "-5", 1, "-6"),
        ("bigint", "9223372036854775807", 1, "9223372036854775806"),
        ("decimal(38,0)", "9" * 38, 1, "9" * 37 + "8"),
        ("rowversion", "0x00000000000007D1", 1, "0x00000000000007D0"),
        ("timestamp", "0xFFFFFFFFFFFFFFFF", 255, "0xFFFFFFFFFFFFFF00"),
        ("rowversion", "0x0000000000000005", 10, "0x0000000000000000"),
        ("date", "2026-03-01", DAY, "2026-02-28"),
        ("date", "2026-03-01", 1, "2026-02-28"),
        ("date", "2026-03-01", 2 * DAY, "2026-02-27"),
        ("datetime", "2026-03-01 00:00:00.003", 1, "2026-02-28 23:59:59.003"),
        ("smalldatetime", "2026-03-01 00:01:00", 60, "2026-03-01 00:00:00"),
        ("datetime2(0)", "2024-03-01 00:00:00", DAY, "2024-02-29 00:00:00"),
        ("datetime2(3)", "2026-01-01 00:00:00.123", 1, "2025-12-31 23:59:59.123"),
        ("datetime2(7)", "2026-01-01 12:00:00.1234567", 3600, "2026-01-01 11:00:00.1234567"),
        ("datetime2(7)", "9999-12-31 23:59:59.9999999", 1, "9999-12-31 23:59:58.9999999"),
        ("datetimeoffset(7)", "2026-01-01 00:30:00.1234567 +05:30", 3600, "2025-12-31 23:30:00.1234567 +05:30"),
        ("datetimeoffset(0)", "2026-01-01 00:30:00 -08:00", 60, "2026-01-01 00:29:00 -08:00"),
    ],
)
def test_the_lookback_is_taken_from_the_watermark(
    source_type: str, watermark: str, lookback: float, expected: str
) -> None:
    assert less(cursor(source_type), watermark, lookback) == expected


@pytest.mark.parametrize("digits", range(8))
def test_the_digits_of_a_second_are_kept_as_they_are(digits: int) -> None:
    """Trap 7: nothing is rounded, and no digit is lost."""
    fraction = "." + "1234567"[:digits] if digits else ""
    text = less(cursor(f"datetime2({digits})"), f"2026-05-05 10:00:00{fraction}", 600)
    assert text == f"2026-05-05 09:50:00{fraction}"


@pytest.mark.parametrize("lookback", [0.001, 0.5, 1])
def test_a_part_of_a_second_goes_back_a_whole_one(lookback: float) -> None:
    assert less(cursor("datetime2(7)"), "2026-01-01 00:00:01.0000000", lookback) == "2026-01-01 00:00:00.0000000"


@pytest.mark.parametrize(
    ("source_type", "watermark", "expected"),
    [
        ("date", "0001-01-05", "0001-01-01"),
        ("datetime2(7)", "0001-01-01 00:00:05.5000000", "0001-01-01 00:00:00.5000000"),
        ("datetimeoffset(3)", "0001-01-02 00:00:00.000 +00:00", "0001-01-01 00:00:00.000 +00:00"),
        ("datetime2(0)", "2026-01-01 00:00:00", "0001-01-01 00:00:00"),
    ],
)
def test_nothing_goes_below_the_first_year(source_type: str, watermark: str, expected: str) -> None:
    assert less(cursor(source_type), watermark, 3000 * 366 * DAY) == expected


@pytest.mark.parametrize(
    ("source_type", "watermark", "expected"),
    [
        ("tinyint", "5", "0"),
        ("smallint", "5", "-32768"),
        ("int", "5", "-2147483648"),
        ("bigint", "-9223372036854775807", "-9223372036854775808"),
        ("decimal(3,0)", "5", "-999"),
        ("numeric(38,0)", "-" + "9" * 38, "-" + "9" * 38),
        ("smalldatetime", "1900-01-01 00:05:00", "1900-01-01 00:00:00"),
        ("datetime", "1753-01-02 00:00:00.003", "1753-01-01 00:00:00.003"),
        ("datetimeoffset(0)", "0001-01-03 00:00:00 +05:30", "0001-01-01 05:30:00 +05:30"),
        ("datetimeoffset(0)", "0001-01-03 00:00:00 -05:30", "0001-01-01 00:00:00 -05:30"),
    ],
)
def test_nothing_goes_below_the_first_value_of_the_cursors_type(
    source_type: str, watermark: str, expected: str
) -> None:
    """What is below it the server could not convert, and the run would fail for ever."""
    assert less(cursor(source_type), watermark, 10**10) == expected


@pytest.mark.parametrize("source_type", ["int", "rowversion", "date", "datetime2(7)", "datetimeoffset(7)"])
@pytest.mark.parametrize("watermark", ["", "soon", "2026-13-01", "2026-02-30 00:00:00", "2026-01-01 00:00:00 utc"])
def test_a_watermark_that_is_no_value_of_the_cursor_is_refused_with_the_remedy(
    source_type: str, watermark: str
) -> None:
    with pytest.raises(PlanError, match="is no value of c") as caught:
        less(cursor(source_type), watermark, 5)
    assert "etl-cli state" in caught.value.remedy


@given(st.datetimes(min_value=dt.datetime(1, 1, 3)), st.integers(0, 86_400))
def test_the_floor_is_so_many_seconds_below_the_watermark(watermark: dt.datetime, seconds: int) -> None:
    text = watermark.isoformat(sep=" ", timespec="microseconds") + "7"
    floor = less(cursor("datetime2(7)"), text, seconds)
    assert floor == (watermark - dt.timedelta(seconds=seconds)).isoformat(sep=" ", timespec="microseconds") + "7"


# which is higher


@pytest.mark.parametrize(
    ("source_type", "higher", "lower"),
    [
        ("int", "10", "9"),
        ("int", "-9", "-10"),
        ("bigint", "9223372036854775807", "999999999999999999"),
        ("decimal(38,0)", "1" + "0" * 37, "9" * 37),
        ("rowversion", "0x00000000000000FF", "0x000000000000000A"),
        ("rowversion", "0x8000000000000000", "0x7FFFFFFFFFFFFFFF"),
        ("date", "2026-01-10", "2026-01-09"),
        ("datetime", "2026-01-01 00:00:00.010", "2026-01-01 00:00:00.007"),
        ("smalldatetime", "2026-01-01 00:01:00", "2026-01-01 00:00:00"),
        ("datetime2(7)", "2026-01-01 00:00:00.1234568", "2026-01-01 00:00:00.1234567"),
        ("datetime2(7)", "2026-01-01 00:00:00.2000000", "2026-01-01 00:00:00.1999999"),
        ("datetime2(7)", "9999-12-31 23:59:59.9999999", "0001-01-01 00:00:00.0000000"),
        ("datetime2(3)", "2026-01-01 00:00:01", "2026-01-01 00:00:00.999"),
        ("datetimeoffset(7)", "2026-01-01 00:00:00.0000000 -01:00", "2026-01-01 00:00:00.0000000 +00:00"),
        ("datetimeoffset(7)", "2026-01-01 00:00:00.0000001 +05:30", "2026-01-01 00:00:00.0000000 +05:30"),
        ("datetimeoffset(0)", "2025-12-31 23:00:00 -08:00", "2026-01-01 06:59:59 +00:00"),
        ("datetimeoffset(0)", "0001-01-01 00:00:00 +00:00", "0001-01-01 00:00:00 +14:00"),
    ],
)
def test_the_higher_of_two_values_is_the_one_that_the_server_puts_last(
    source_type: str, higher: str, lower: str
) -> None:
    assert is_higher(cursor(source_type), higher, lower)
    assert not is_higher(cursor(source_type), lower, higher)
    assert not is_higher(cursor(source_type), higher, higher)


@pytest.mark.parametrize(
    ("source_type", "one", "other"),
    [
        ("datetimeoffset(7)", "2026-01-01 12:00:00.0000000 +00:00", "2026-01-01 14:00:00.0000000 +02:00"),
        ("datetimeoffset(7)", "2026-01-01 12:00:00.0000000 +00:00", "2026-01-01 06:30:00.0000000 -05:30"),
        ("datetime2(7)", "2026-01-01 12:00:00", "2026-01-01 12:00:00.0000000"),
        ("datetime2(7)", "2026-01-01 12:00:00.5", "2026-01-01 12:00:00.5000000"),
        ("date", "2026-01-01", "2026-01-01 00:00:00"),
        ("rowversion", "0x00000000000000ff", "0x00000000000000FF"),
    ],
)
def test_two_texts_of_one_value_are_neither_higher_nor_lower(source_type: str, one: str, other: str) -> None:
    assert not is_higher(cursor(source_type), one, other)
    assert not is_higher(cursor(source_type), other, one)


@pytest.mark.parametrize(
    ("source_type", "text"),
    [
        ("int", "2026-01-01"),
        ("int", "1.5"),
        ("bigint", "0x10"),
        ("rowversion", "2026-01-01 00:00:00"),
        ("datetime2(7)", "1000"),
        ("datetime2(7)", "2026-01-01 12:00"),
        ("date", "0x10"),
        ("datetimeoffset(7)", "2026-01-01 00:00:00 5"),
    ],
)
def test_a_value_of_another_type_is_refused(source_type: str, text: str) -> None:
    """`etl-cli state set` asks so, before a run asks the server."""
    with pytest.raises(ValueError, match=r".*"):
        is_higher(cursor(source_type), text, text)


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
instants = st.datetimes(min_value=dt.datetime(2, 1, 1), max_value=dt.datetime(9998, 1, 1), timezones=offsets)


def as_the_server_writes(moment: dt.datetime) -> str:
    """CONVERT(varchar(34), ..., 121) of a datetimeoffset(7)."""
    offset = moment.utcoffset()
    assert offset is not None
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    clock = moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"{clock}0 {sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@given(instants, instants)
def test_instants_are_compared_whatever_their_offsets(one: dt.datetime, other: dt.datetime) -> None:
    texts = as_the_server_writes(one), as_the_server_writes(other)
    assert is_higher(cursor("datetimeoffset(7)"), *texts) == (one > other)
