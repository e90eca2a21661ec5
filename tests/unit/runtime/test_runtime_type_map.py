"""The table of types in CORRECTNESS.md, row by row."""

from __future__ import annotations

import pytest

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.type_map import (
    SourceType,
    UnsupportedTypeError,
    can_be_key,
    is_large,
    select_expression,
    sink_type,
)
from tests.support.plans import source_type

TABLE = {
    "bit": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "decimal(38,10)": "numeric(38,10)",
    "decimal(5,0)": "numeric(5,0)",
    "numeric(18,2)": "numeric(18,2)",
    "money": "numeric(19,4)",
    "smallmoney": "numeric(10,4)",
    "real": "real",
    "float(1)": "real",
    "float(24)": "real",
    "float(25)": "double precision",
    "float(53)": "double precision",
    "float": "double precision",
    "date": "date",
    "time(0)": "time(6) without time zone",
    "time(7)": "time(6) without time zone",
    "datetime": "timestamp(3) without time zone",
    "smalldatetime": "timestamp(0) without time zone",
    "datetime2(0)": "timestamp(0) without time zone",
    "datetime2(3)": "timestamp(3) without time zone",
    "datetime2(6)": "timestamp(6) without time zone",
    "datetime2(7)": "timestamp(6) without time zone",
    "datetime2": "timestamp(6) without time zone",
    "datetimeoffset(0)": "timestamp with time zone",
    "datetimeoffset(7)": "timestamp with time zone",
    "char(10)": "text",
    "varchar(50)": "text",
    "varchar(max)": "text",
    "nchar(10)": "text",
    "nvarchar(4000)": "text",
    "nvarchar(max)": "text",
    "text": "text",
    "ntext": "text",
    "sysname": "text",
    "binary(8)": "bytea",
    "varbinary(max)": "bytea",
    "image": "bytea",
    "uniqueidentifier": "uuid",
    "xml": "xml",
    "json": "jsonb",
    "rowversion": "bytea",
    "timestamp": "bytea",
    "sql_variant": "text",
    "hierarchyid": "text",
    "geography": "bytea",
    "geometry": "bytea",
    "vector(3)": "real[]",
}


@pytest.mark.parametrize(("source", "sink"), TABLE.items())
def test_each_source_type_has_its_sink_type(source: str, sink: str) -> None:
    assert sink_type(source_type(source)) == sink


@pytest.mark.parametrize("source", ["INT", "NVarChar(50)", "DateTime2(7)", "Decimal(5,2)", "Float"])
def test_the_case_of_a_type_does_not_matter(source: str) -> None:
    assert sink_type(source_type(source)) == sink_type(source_type(source.lower()))


def test_xml_becomes_text_where_the_sink_has_none() -> None:
    assert sink_type(SourceType("xml"), has_xml=False) == "text"
    assert sink_type(SourceType("int"), has_xml=False) == "integer"


@pytest.mark.parametrize("name", ["cursor", "table", "my_clr_type", ""])
def test_a_type_without_a_counterpart_is_an_error_that_says_what_to_do(name: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=rf"type {name} has no counterpart here: leave the column out"):
        sink_type(SourceType(name))
    assert issubclass(UnsupportedTypeError, PlanError)


@pytest.mark.parametrize(
    ("source", "expression"),
    [
        ("int", "[a]]b]"),
        ("nvarchar(max)", "[a]]b]"),
        ("uniqueidentifier", "[a]]b]"),
        ("xml", "[a]]b]"),
        ("sql_variant", "CAST([a]]b] AS nvarchar(4000))"),
        ("hierarchyid", "[a]]b].ToString()"),
        ("geography", "[a]]b].AsBinaryZM()"),
        ("geometry", "[a]]b].AsBinaryZM()"),
        ("json", "CAST([a]]b] AS nvarchar(max))"),
        ("vector(3)", "CAST([a]]b] AS nvarchar(max))"),
    ],
)
def test_the_server_converts_what_no_driver_can(source: str, expression: str) -> None:
    assert select_expression("a]b", source_type(source)) == expression


@pytest.mark.parametrize("source", ["varchar(max)", "nvarchar(max)", "varbinary(max)", "text", "ntext", "image", "xml"])
def test_large_types_are_read_piece_by_piece_and_cannot_be_a_key(source: str) -> None:
    assert is_large(source_type(source))
    assert not can_be_key(source_type(source))


@pytest.mark.parametrize("source", ["json", "geography", "geometry", "vector(3)"])
def test_types_without_an_order_cannot_be_a_key(source: str) -> None:
    assert not can_be_key(source_type(source))


def test_a_variant_cannot_be_a_key() -> None:
    assert not can_be_key(SourceType("sql_variant"))


@pytest.mark.parametrize(
    "source",
    [
        "int",
        "bigint",
        "decimal(10,2)",
        "nvarchar(50)",
        "varbinary(8)",
        "uniqueidentifier",
        "datetime2(7)",
        "date",
        "bit",
    ]
    + ["rowversion", "hierarchyid", "datetimeoffset(7)", "float"],
)
def test_types_with_an_order_can_be_a_key(source: str) -> None:
    assert can_be_key(source_type(source))
    assert not is_large(source_type(source))


@pytest.mark.parametrize(
    "text", ["decimal(38,10)", "datetime2(7)", "datetimeoffset(3)", "time(0)", "nvarchar(50)", "varbinary(max)", "int"]
)
def test_a_source_type_is_shown_as_it_is_declared(text: str) -> None:
    assert str(source_type(text)) == text
