"""The statements that read a table's rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_cli.runtime.source.scan import (
    OPERATION,
    count_rows,
    position_column,
    rows_of,
    select_nothing,
    select_position,
    select_rows,
    srid_of,
    texts_beside,
)
from etl_cli.runtime.window import Window
from tests.support.plans import column_plan, table_plan

ID = column_plan("id", "integer", source_type="int")
AT = column_plan("at", "timestamp(6) without time zone", source_type="datetime2(7)")
NAME = column_plan("name", "text", source_type="nvarchar(50)")
SHAPE = column_plan("shape", "bytea", source_type="geometry", expression="[shape].AsBinaryZM()", spatial=True)

PLAN = table_plan([ID, NAME], ["id"])
INCREMENTAL = table_plan([ID, AT], ["id"], mode="upsert", cursor="at", order=("at", "id"))
CHANGES = table_plan([ID, NAME], ["id"], mode="changes")


def test_a_scan_reads_all_rows_in_the_order_of_the_key() -> None:
    assert select_rows(PLAN) == "SELECT [id], [name] FROM [dbo].[orders] ORDER BY [id]"


def test_a_table_without_a_key_is_read_without_an_order() -> None:
    assert select_rows(table_plan([NAME])) == "SELECT [name] FROM [dbo].[orders]"


def test_an_expression_keeps_the_columns_name_and_a_shape_brings_its_srid() -> None:
    assert select_rows(table_plan([SHAPE])) == (
        "SELECT [shape].AsBinaryZM() AS [shape], [shape].STSrid AS [shape SRID] FROM [dbo].[orders]"
    )
    assert srid_of(SHAPE) == "shape SRID"


def test_an_order_with_a_seventh_digit_is_read_as_text_beside_the_column() -> None:
    """Trap 7."""
    assert select_rows(INCREMENTAL) == (
        "SELECT [id], [at], CONVERT(varchar(34), [at], 121) AS [__etl_position_0] FROM [dbo].[orders]"
        " ORDER BY [at], [id]"
    )
    assert texts_beside(INCREMENTAL) == [position_column(0)] == ["__etl_position_0"]
    assert texts_beside(PLAN) == []


def test_names_are_quoted_on_the_source_as_well() -> None:
    odd = table_plan([column_plan("a]b", "integer", source_type="int", expression="[a]]b]")], ["a]b"], target="o]s")
    assert select_rows(odd) == "SELECT [a]]b] FROM [dbo].[o]]s] ORDER BY [a]]b]"


# windows


def test_conditions_of_configuration_and_window_hold_together_each_in_brackets() -> None:
    plan = replace(PLAN, where="a = 1 OR b = 2")
    window = Window(after=("5",), up_to=("9",))
    assert rows_of(plan, window, "c IS NULL") == (
        "[dbo].[orders] WHERE (a = 1 OR b = 2) AND ([id] > CONVERT(int, N'5')) AND ([id] <= CONVERT(int, N'9'))"
        " AND (c IS NULL)"
    )


def test_an_incremental_window_begins_at_its_floor_and_ends_at_its_bound() -> None:
    window = Window(floor="2026-01-01 00:00:00.0000000", bound="2026-01-02 00:00:00.1234567")
    assert rows_of(INCREMENTAL, window) == (
        "[dbo].[orders] WHERE ([at] >= CONVERT(datetime2(7), N'2026-01-01 00:00:00.0000000', 121))"
        " AND ([at] <= CONVERT(datetime2(7), N'2026-01-02 00:00:00.1234567', 121))"
    )


def test_what_is_committed_takes_the_place_of_the_floor() -> None:
    window = Window(after=("2026-01-01 00:00:00.1234567", "7"), floor="2025-01-01", bound="2026-01-02")
    assert "2025-01-01" not in rows_of(INCREMENTAL, window)
    assert "[id] > CONVERT(int, N'7')" in rows_of(INCREMENTAL, window)


def test_rows_of_the_watermarks_own_value_are_read_after_its_key() -> None:
    """Trap 4: of rows that share the highest cursor value those with a higher key may have come later."""
    window = Window(after=("2026-01-01 00:00:00.1234567", "7"))
    at = "CONVERT(datetime2(7), N'2026-01-01 00:00:00.1234567', 121)"
    assert rows_of(INCREMENTAL, window) == (
        f"[dbo].[orders] WHERE ([at] >= {at} AND ([at] > {at} OR ([at] = {at} AND ([id] > CONVERT(int, N'7')))))"
    )


@pytest.mark.parametrize("plan", [PLAN, INCREMENTAL, CHANGES, replace(PLAN, where="x > 0")])
def test_the_count_is_over_the_rows_that_the_scan_gives(plan: object) -> None:
    window = Window(after=("5",), since=3, version=9) if plan is CHANGES else Window(after=("5",))
    rows = rows_of(plan, window)  # type: ignore[arg-type]
    assert count_rows(plan, window) == f"SELECT COUNT_BIG(*) FROM {rows}"  # type: ignore[arg-type]
    assert f" FROM {rows} ORDER BY " in select_rows(plan, window)  # type: ignore[arg-type]


def test_a_position_is_found_by_its_number_in_the_order() -> None:
    assert select_position(INCREMENTAL, Window(bound="2026-01-01"), 41) == (
        "SELECT CONVERT(varchar(34), [at], 121), CONVERT(nvarchar(4000), [id]) FROM [dbo].[orders]"
        " WHERE ([at] <= CONVERT(datetime2(7), N'2026-01-01', 121))"
        " ORDER BY [at], [id] OFFSET 41 ROWS FETCH NEXT 1 ROWS ONLY"
    )


def test_asking_whether_a_scan_is_allowed_reads_no_row() -> None:
    assert (
        select_nothing(replace(PLAN, where="x > 0")) == "SELECT TOP (0) [id], [name] FROM [dbo].[orders] WHERE (x > 0)"
    )
    assert "CHANGETABLE(CHANGES [dbo].[orders], 0)" in select_nothing(CHANGES)


# mode changes


def test_changes_come_with_their_key_and_with_what_is_there_now() -> None:
    assert rows_of(CHANGES, Window(since=3, version=9)) == (
        "(SELECT ct.[id] AS [id], t.[name] AS [name], CASE WHEN t.[id] IS NULL THEN 0 ELSE 1 END AS [__etl_present]"
        " FROM CHANGETABLE(CHANGES [dbo].[orders], 3) AS ct LEFT JOIN [dbo].[orders] AS t ON t.[id] = ct.[id]"
        " WHERE ct.SYS_CHANGE_VERSION <= 9) AS q"
    )


def test_a_changed_row_says_what_became_of_it() -> None:
    selected = select_rows(CHANGES, Window(since=3, version=9))
    assert f"CASE WHEN [__etl_present] = 1 THEN N'U' ELSE N'D' END AS [{OPERATION}]" in selected
    assert selected.endswith(" AS q ORDER BY [id]")
    assert texts_beside(CHANGES) == [OPERATION]


def test_a_changed_row_that_the_condition_no_longer_lets_through_is_gone() -> None:
    """It must be read to be deleted: the condition decides what it is, not whether it comes."""
    selected = select_rows(replace(CHANGES, where="a = 1 OR b = 2"), Window(since=3, version=9))
    assert "CASE WHEN [__etl_present] = 1 AND (a = 1 OR b = 2) THEN N'U' ELSE N'D' END" in selected
    assert " WHERE (a = 1 OR b = 2)" not in selected


def test_changes_are_resumed_after_the_last_key() -> None:
    assert rows_of(CHANGES, Window(after=("5",), since=3, version=9)).endswith(
        " AS q WHERE ([id] > CONVERT(int, N'5'))"
    )


def test_changes_of_a_key_of_several_columns_meet_on_all_of_them() -> None:
    plan = table_plan([ID, column_plan("line", "integer", source_type="int"), NAME], ["id", "line"], mode="changes")
    changed = rows_of(plan, Window(since=0, version=1))
    assert " ON t.[id] = ct.[id] AND t.[line] = ct.[line] " in changed
    assert "ct.[id] AS [id], ct.[line] AS [line], t.[name] AS [name]" in changed


def test_a_column_that_the_query_derives_is_not_asked_of_the_table() -> None:
    offset = column_plan("at_offset", "smallint", source_type="int", expression="DATEPART(tz, [at])", derived=True)
    plan = table_plan([ID, AT, offset], ["id"], mode="changes")
    assert "t.[at_offset]" not in rows_of(plan, Window(since=0, version=1))
    assert "DATEPART(tz, [at]) AS [at_offset]" in select_rows(plan, Window(since=0, version=1))
