"""Places in the order of a scan: lossless texts, literals of the column's own type, and row-value predicates."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.source.position import (
    after,
    at_least,
    columns_of,
    needs_text,
    text_of,
    text_of_expression,
    text_of_value,
    up_to,
    value_of,
)
from etl_cli.runtime.source.scan import rows_of
from etl_cli.runtime.window import Window
from tests.support.evaluator import Evaluator
from tests.support.plans import column_plan, table_plan

CI = "Latin1_General_CI_AS"


def column(source_type: str, name: str = "c", collation: str | None = None) -> ColumnPlan:
    return column_plan(name, "text", source_type=source_type, collation=collation)


def integers(*names: str) -> list[ColumnPlan]:
    return [column_plan(name, "integer", source_type="int") for name in names]


# what the server is asked for


@pytest.mark.parametrize(
    ("source_type", "expression"),
    [
        ("int", "CONVERT(nvarchar(4000), [c])"),
        ("bit", "CONVERT(nvarchar(4000), [c])"),
        ("decimal(38,10)", "CONVERT(nvarchar(4000), [c])"),
        ("nvarchar(50)", "CONVERT(nvarchar(4000), [c])"),
        ("uniqueidentifier", "CONVERT(nvarchar(4000), [c])"),
        ("date", "CONVERT(varchar(34), [c], 121)"),
        ("time(7)", "CONVERT(varchar(34), [c], 121)"),
        ("datetime", "CONVERT(varchar(34), [c], 121)"),
        ("smalldatetime", "CONVERT(varchar(34), [c], 121)"),
        ("datetime2(7)", "CONVERT(varchar(34), [c], 121)"),
        ("datetimeoffset(7)", "CONVERT(varchar(34), [c], 121)"),
        ("binary(16)", "CONVERT(varchar(8000), [c], 1)"),
        ("varbinary(900)", "CONVERT(varchar(8000), [c], 1)"),
        ("timestamp", "CONVERT(varchar(8000), [c], 1)"),
        ("rowversion", "CONVERT(varchar(8000), [c], 1)"),
        ("float", "CONVERT(varchar(40), [c], 3)"),
        ("real", "CONVERT(varchar(40), [c], 3)"),
        ("money", "CONVERT(varchar(40), [c], 2)"),
        ("smallmoney", "CONVERT(varchar(40), [c], 2)"),
    ],
)
def test_the_server_gives_a_value_as_text_at_full_scale(source_type: str, expression: str) -> None:
    """Traps 7 and 10: styles without which digits would be lost."""
    assert text_of(column(source_type)) == expression


def test_the_text_of_an_expression_is_made_like_that_of_the_column() -> None:
    assert text_of_expression("MAX([c])", column("datetime2(7)")) == "CONVERT(varchar(34), MAX([c]), 121)"


@pytest.mark.parametrize(
    ("source_type", "text", "literal"),
    [
        ("int", "-5", "CONVERT(int, N'-5')"),
        ("bigint", "9223372036854775807", "CONVERT(bigint, N'9223372036854775807')"),
        ("decimal(38,10)", "1.5", "CONVERT(decimal(38,10), N'1.5')"),
        ("money", "0.0001", "CONVERT(money, N'0.0001')"),
        ("float", "1e+300", "CONVERT(float, N'1e+300')"),
        ("bit", "1", "CONVERT(bit, N'1')"),
        ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF",
         "CONVERT(uniqueidentifier, N'6F9619FF-8B86-D011-B42D-00C04FC964FF')"),
        ("date", "0001-01-01", "CONVERT(date, N'0001-01-01', 121)"),
        ("time(7)", "23:59:59.9999999", "CONVERT(time(7), N'23:59:59.9999999', 121)"),
        ("datetime", "2026-01-01 00:00:00.003", "CONVERT(datetime, N'2026-01-01 00:00:00.003', 121)"),
        ("datetime2(7)", "9999-12-31 23:59:59.9999999",
         "CONVERT(datetime2(7), N'9999-12-31 23:59:59.9999999', 121)"),
        ("datetimeoffset(7)", "2026-01-01 00:00:00.0000000 +05:30",
         "CONVERT(datetimeoffset(7), N'2026-01-01 00:00:00.0000000 +05:30', 121)"),
        ("varbinary(16)", "0x00FF", "CONVERT(varbinary(16), N'0x00FF', 1)"),
        ("rowversion", "0x00000000000007D1", "CONVERT(binary(8), N'0x00000000000007D1', 1)"),
        ("timestamp", "0x00000000000007D1", "CONVERT(binary(8), N'0x00000000000007D1', 1)"),
        ("sysname", "orders", "CONVERT(nvarchar(128), N'orders')"),
    ],
)  # fmt: skip
def test_a_text_becomes_a_value_of_the_columns_own_type(source_type: str, text: str, literal: str) -> None:
    """Trap 7: another type would make the server convert the column, and neither seek nor compare exactly."""
    assert value_of(column(source_type), text) == literal


@pytest.mark.parametrize("source_type", ["char(3)", "varchar(10)", "nchar(3)", "nvarchar(10)"])
def test_a_text_is_compared_in_the_columns_own_collation(source_type: str) -> None:
    """Traps 5 and 15."""
    literal = f"CONVERT({source_type}, N'Ümlaut' COLLATE {CI})"
    assert value_of(column(source_type, collation=CI), "Ümlaut") == literal
    assert value_of(column(source_type), "Ümlaut") == f"CONVERT({source_type}, N'Ümlaut')"


@pytest.mark.parametrize("source_type", ["int", "date", "varbinary(5)", "rowversion", "nvarchar(50)", "sysname"])
def test_no_text_ends_its_literal(source_type: str) -> None:
    """Also a watermark that somebody set, and a key that somebody chose."""
    literal = value_of(column(source_type), "x'); DROP TABLE orders; --")
    assert "N'x''); DROP TABLE orders; --'" in literal
    assert literal.count("'") == 4


def test_names_are_quoted() -> None:
    odd = column("int", "a]b")
    assert text_of(odd) == "CONVERT(nvarchar(4000), [a]]b])"
    assert after([odd], ("1",)) == "[a]]b] > CONVERT(int, N'1')"
    assert at_least(odd, "1") == "[a]]b] >= CONVERT(int, N'1')"


# what a reader gives


@pytest.mark.parametrize(
    ("source_type", "value", "text"),
    [
        ("bit", True, "1"),
        ("bit", False, "0"),
        ("int", -5, "-5"),
        ("bigint", 2**63 - 1, "9223372036854775807"),
        ("decimal(38,10)", Decimal("1E+3"), "1000"),
        ("decimal(38,38)", Decimal("1E-38"), "0." + "0" * 37 + "1"),
        ("money", Decimal("0.0001"), "0.0001"),
        ("float", 0.1, "0.1"),
        ("float", 5e-324, "5e-324"),
        ("varbinary(5)", b"\x00\xff", "0x00FF"),
        ("varbinary(5)", b"", "0x"),
        ("rowversion", b"\0\0\0\0\0\0\x07\xd1", "0x00000000000007D1"),
        ("nvarchar(5)", "ä'", "ä'"),
        ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
        ("date", dt.date(1, 1, 1), "0001-01-01"),
        ("time(3)", dt.time(1, 2, 3, 4000), "01:02:03.004000"),
        ("datetime", dt.datetime(9999, 12, 31, 23, 59, 59, 997000), "9999-12-31 23:59:59.997"),
        ("smalldatetime", dt.datetime(2026, 1, 1, 12, 30), "2026-01-01 12:30:00"),
        ("datetime2(6)", dt.datetime(1, 1, 1, 0, 0, 0, 1), "0001-01-01 00:00:00.000001"),
        ("datetime2(0)", dt.datetime(2026, 1, 1), "2026-01-01 00:00:00.000000"),
        ("datetimeoffset(6)", dt.datetime(2026, 1, 1, 12, 0, 0, 1, dt.UTC), "2026-01-01 12:00:00.000001 +00:00"),
        ("datetimeoffset(0)", dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
         "2026-01-01 10:00:00.000000 +00:00"),
    ],
)  # fmt: skip
def test_a_value_that_was_read_becomes_the_text_of_the_same_value(source_type: str, value: Any, text: str) -> None:
    assert text_of_value(column(source_type), value) == text


@pytest.mark.parametrize("kind", ["time", "datetime2", "datetimeoffset"])
def test_only_the_seventh_digit_is_read_as_text(kind: str) -> None:
    """Trap 7: Arrow keeps microseconds."""
    assert [needs_text(column(f"{kind}({digits})")) for digits in range(8)] == [False] * 7 + [True]
    assert not needs_text(column("datetime"))


# row values


def test_the_order_gives_the_columns() -> None:
    plan = table_plan(integers("x", "b", "a"), ["a", "b"], order=("a", "b"))
    assert [found.source for found in columns_of(plan)] == ["a", "b"]


def test_the_first_place_bounds_nothing() -> None:
    assert after(integers("a"), ()) == ""
    assert up_to(integers("a"), ()) == ""


def test_one_column_needs_one_comparison() -> None:
    assert after(integers("a"), ("5",)) == "[a] > CONVERT(int, N'5')"
    assert up_to(integers("a"), ("5",)) == "[a] <= CONVERT(int, N'5')"


def test_several_columns_are_a_row_value_whose_first_comparison_can_be_sought() -> None:
    """Trap 4: `>` on the first column alone would skip ties."""
    assert after(integers("a", "b"), ("5", "6")) == (
        "[a] >= CONVERT(int, N'5') AND"
        " ([a] > CONVERT(int, N'5') OR ([a] = CONVERT(int, N'5') AND ([b] > CONVERT(int, N'6'))))"
    )
    assert up_to(integers("a", "b"), ("5", "6")) == (
        "[a] <= CONVERT(int, N'5') AND"
        " ([a] < CONVERT(int, N'5') OR ([a] = CONVERT(int, N'5') AND ([b] <= CONVERT(int, N'6'))))"
    )


small = st.integers(-2, 3)
widths = st.integers(1, 4)


def plan_of(width: int, **changes: Any) -> TablePlan:
    names = "abcd"[:width]
    return table_plan(integers(*names), list(names), **changes)


@st.composite
def keys_and_positions(draw: st.DrawFn, positions: int) -> tuple[int, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """A width, keys of it, and positions of that many columns or fewer, in order."""
    width = draw(widths)
    keys = draw(st.lists(st.tuples(*[small] * width), max_size=30, unique=True))
    length = draw(st.integers(1, width))
    places = draw(st.lists(st.tuples(*[small] * length), min_size=1, max_size=positions, unique=True))
    return width, keys, sorted(places)


def texts(position: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(map(str, position))


@given(keys_and_positions(positions=1))
def test_after_and_up_to_are_the_comparisons_of_tuples(
    drawn: tuple[int, list[tuple[int, ...]], list[tuple[int, ...]]],
) -> None:
    """Trap 4, against Python's tuples; a position of fewer columns compares these alone."""
    width, keys, (place,) = drawn
    plan = plan_of(width)
    with Evaluator(plan, keys) as evaluator:
        beyond = evaluator.rows(f"SELECT * FROM {rows_of(plan, Window(after=texts(place)))}")
        within = evaluator.rows(f"SELECT * FROM {rows_of(plan, Window(up_to=texts(place)))}")
        from_on = evaluator.rows(f"SELECT * FROM {rows_of(plan, Window(floor=str(place[0])))}")
    assert sorted(beyond) == sorted(key for key in keys if key[: len(place)] > place)
    assert sorted(within) == sorted(key for key in keys if key[: len(place)] <= place)
    assert sorted(from_on) == sorted(key for key in keys if key[0] >= place[0])


@given(keys_and_positions(positions=6))
def test_parts_between_positions_have_neither_gaps_nor_overlaps(
    drawn: tuple[int, list[tuple[int, ...]], list[tuple[int, ...]]],
) -> None:
    width, keys, places = drawn
    plan = plan_of(width)
    ends = [(), *map(texts, places), ()]
    with Evaluator(plan, keys) as evaluator:
        parts = [
            evaluator.rows(f"SELECT * FROM {rows_of(plan, Window(after=start, up_to=end))}")
            for start, end in itertools.pairwise(ends)
        ]
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(keys)
