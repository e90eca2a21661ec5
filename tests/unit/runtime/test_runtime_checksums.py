"""One sum per column on both sides: the same bytes for the same value, whatever the databases call it."""

from __future__ import annotations

from typing import Any

import pytest

from etl_cli.runtime.checksums import added, as_sums, differing, select_sink, select_source, summed_columns
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.window import ALL_ROWS, Window
from tests.support.plans import column_plan, table_plan

UTF8 = "COLLATE Latin1_General_100_BIN2_UTF8"
TEXT = f"CONVERT(varbinary(max), CONVERT(varchar(max), CONVERT(nvarchar(max), [x]) {UTF8}))"


def column(source_type: str, sink_type: str, **changes: Any) -> ColumnPlan:
    return column_plan("x", sink_type, source_type=source_type, **changes)


def plan_of(*columns: ColumnPlan, **changes: Any) -> TablePlan:
    return table_plan(columns, **changes)


STAMP = "timestamp({}) without time zone"

CASES = [
    # (source type, sink type, bytes on the source, bytes or text in the sink)
    ("int", "integer", "CONVERT(varchar(20), [x])", '"x"::text'),
    ("tinyint", "smallint", "CONVERT(varchar(20), [x])", '"x"::text'),
    ("bigint", "bigint", "CONVERT(varchar(20), [x])", '"x"::text'),
    ("bit", "boolean", "CONVERT(varchar(20), [x])", '"x"::int::text'),
    ("decimal(38,10)", "numeric(38,10)", "CONVERT(varchar(41), [x])", '"x"::text'),
    ("money", "numeric(19,4)", "CONVERT(varchar(41), CONVERT(decimal(19,4), [x]))", '"x"::numeric(19,4)::text'),
    ("smallmoney", "numeric(10,4)", "CONVERT(varchar(41), CONVERT(decimal(19,4), [x]))", '"x"::numeric(19,4)::text'),
    ("float", "double precision", "CONVERT(binary(8), [x])", 'float8send("x")'),
    ("real", "real", "CONVERT(binary(4), [x])", 'float4send("x")'),
    ("date", "date", "CONVERT(char(10), [x], 23)", "to_char(\"x\", 'YYYY-MM-DD')"),
    ("time(7)", "time(6) without time zone", "LEFT(CONVERT(varchar(16), CONVERT(time(7), [x]), 121), 15)",
     "to_char(\"x\", 'HH24:MI:SS.US')"),
    ("datetime", STAMP.format(3), "CONVERT(varchar(23), [x], 121)", "to_char(\"x\", 'YYYY-MM-DD HH24:MI:SS.MS')"),
    ("smalldatetime", STAMP.format(0), "LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), [x]), 121), 26)",
     "to_char(\"x\", 'YYYY-MM-DD HH24:MI:SS.US')"),
    ("datetime2(7)", STAMP.format(6), "LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), [x]), 121), 26)",
     "to_char(\"x\", 'YYYY-MM-DD HH24:MI:SS.US')"),
    ("datetimeoffset(7)", "timestamp with time zone",
     "LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), SWITCHOFFSET([x], '+00:00')), 121), 26)",
     "to_char(\"x\" AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
    ("uniqueidentifier", "uuid", "LOWER(CONVERT(char(36), [x]))", '"x"::text'),
    ("varbinary(50)", "bytea", "[x]", '"x"'),
    ("image", "bytea", "[x]", '"x"'),
    ("nvarchar(50)", "text", TEXT, '"x"::text'),
    ("varchar(max)", "text", TEXT, '"x"::text'),
    ("char(5)", "character varying(5)", TEXT, '"x"::text'),
]  # fmt: skip


@pytest.mark.parametrize(("source_type", "sink_type", "source", "sink"), CASES)
def test_each_type_is_hashed_over_the_same_bytes_on_both_sides(
    source_type: str, sink_type: str, source: str, sink: str
) -> None:
    plan = plan_of(column(source_type, sink_type))
    assert select_source(plan, ALL_ROWS) == (
        "SELECT COUNT_BIG([x]), SUM(CONVERT(decimal(38,0), CONVERT(bigint,"
        f" SUBSTRING(HASHBYTES('MD5', {source}), 1, 7)))) FROM [dbo].[orders]"
    )
    assert select_sink(plan, '"public"."orders"') == (
        f'SELECT count("x"), coalesce(sum((\'x\' || left(md5({sink}), 14))::bit(56)::bigint), 0) FROM "public"."orders"'
    )


@pytest.mark.parametrize(
    "odd",
    [
        column("xml", "xml"),
        column("json", "jsonb"),
        column("sql_variant", "text"),
        column("vector(3)", "real[]"),
        column("vector(3)", "extensions.vector(3)"),
        column("timestamp", "bytea"),
        column("rowversion", "bytea"),
        column("geography", "gis.geography"),
        column("geometry", "geometry"),
        column("datetimeoffset(7)", "smallint", derived=True),
    ],
)
def test_a_value_that_one_side_spells_in_its_own_way_has_no_checksum(odd: ColumnPlan) -> None:
    """Trap 11: and rowversion is the source's alone."""
    plan = plan_of(odd, column_plan("id", "integer", source_type="int"))
    assert [found.target for found in summed_columns(plan)] == ["id"]
    assert "[x]" not in select_source(plan, ALL_ROWS)
    assert '"x"' not in select_sink(plan, "t")


def test_a_shape_is_summed_as_the_bytes_that_were_copied() -> None:
    shape = column("geography", "bytea", expression="[x].AsBinaryZM()", spatial=True)
    assert "COUNT_BIG([x].AsBinaryZM())" in select_source(plan_of(shape), ALL_ROWS)
    assert 'md5("x")' in select_sink(plan_of(shape), "t")


def test_stripped_characters_are_stripped_on_the_source_as_well() -> None:
    plan = plan_of(column("nvarchar(50)", "text"), nul_characters="strip")
    stripped = "REPLACE([x] COLLATE Latin1_General_100_BIN2, NCHAR(0), N'')"
    assert f"CONVERT(nvarchar(max), {stripped}) {UTF8}" in select_source(plan, ALL_ROWS)


def test_the_source_sums_the_rows_of_the_window_and_the_sink_may_sum_by_shard() -> None:
    plan = table_plan([column_plan("id", "integer", source_type="int")], ["id"], where="x > 0")
    window = Window(after=("5",), up_to=("9",))
    assert select_source(plan, window).endswith(
        " FROM [dbo].[orders] WHERE (x > 0) AND ([id] > CONVERT(int, N'5')) AND ([id] <= CONVERT(int, N'9'))"
    )
    grouped = select_sink(plan, "t", 'sh"ard')
    assert grouped.startswith('SELECT "sh""ard", count("id"), ')
    assert grouped.endswith(' FROM t GROUP BY "sh""ard"')


def test_names_are_quoted_on_both_sides() -> None:
    odd = column_plan("a]b", "integer", source_type="int", target='a"b', expression="[a]]b]")
    assert "COUNT_BIG([a]]b])" in select_source(plan_of(odd), ALL_ROWS)
    assert 'count("a""b")' in select_sink(plan_of(odd), "t")


# sums


TWO = plan_of(column_plan("a", "integer", source_type="int"), column_plan("b", "integer", source_type="int"))


def test_a_row_of_sums_is_read_by_column_and_no_rows_are_zeros() -> None:
    assert as_sums(TWO, (3, 99, 2, 10**30)) == {"a": (3, 99), "b": (2, 10**30)}
    assert as_sums(TWO, (0, None, 0, None)) == {"a": (0, 0), "b": (0, 0)}


def test_sums_of_parts_add_up_to_the_sum_of_all() -> None:
    one, other = {"a": (1, 10), "b": (2, 20)}, {"a": (3, 30)}
    assert added(one, other) == added(other, one) == {"a": (4, 40), "b": (2, 20)}
    assert added({}, one) == one


def test_columns_differ_by_their_count_by_their_sum_and_where_one_side_has_none() -> None:
    source = {"same": (1, 5), "lost": (2, 5), "altered": (1, 5), "missing": (1, 5), "empty": (0, 0)}
    sink = {"same": (1, 5), "lost": (1, 5), "altered": (1, 6), "more": (1, 1)}
    assert differing(source, sink) == ["lost", "altered", "missing"]
