"""Every SQL Server type with its edge values, and what each must be in Postgres.

A value is put in as a T-SQL expression and expected as the text that Postgres prints for it (time zone
UTC, bytea in hex). The tests compare with these, never with what a driver has read; the shop's
`dbo.events` holds them so that a newcomer sees them arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Expected = str | None


@dataclass(frozen=True)
class TypeCase:
    """A column of one type: its declaration, and pairs of T-SQL expression and Postgres text."""

    column: str
    declaration: str
    sink_type: str
    values: tuple[tuple[str, Expected], ...]
    portable: bool = True
    """Whether every server that speaks TDS knows the type; hierarchyid and geography are SQL Server's own."""


_NULL = ("NULL", None)
_LONG = "Grüße aus Köln – 東京 😀 " * 840
"""21,000 characters."""

CASES = (
    TypeCase("a_bit", "bit", "boolean", (("1", "true"), ("0", "false"), _NULL)),
    TypeCase("a_tinyint", "tinyint", "smallint", (("255", "255"), ("0", "0"), _NULL)),
    TypeCase("a_smallint", "smallint", "smallint", (("-32768", "-32768"), ("32767", "32767"), _NULL)),
    TypeCase("an_int", "int", "integer", (("-2147483648", "-2147483648"), ("2147483647", "2147483647"), _NULL)),
    TypeCase(
        "a_bigint",
        "bigint",
        "bigint",
        (("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807"), _NULL),
    ),
    TypeCase(
        "a_decimal",
        "decimal(38,10)",
        "numeric(38,10)",
        (
            ("9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
            ("-9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
            ("0.0000000001", "0.0000000001"),
            ("-0.5", "-0.5000000000"),
            _NULL,
        ),
    ),
    TypeCase("a_numeric", "numeric(5,0)", "numeric(5,0)", (("99999", "99999"), ("-1", "-1"), ("0", "0"), _NULL)),
    TypeCase(
        "a_money",
        "money",
        "numeric(19,4)",
        (
            ("922337203685477.5807", "922337203685477.5807"),
            ("-922337203685477.5808", "-922337203685477.5808"),
            ("0.0001", "0.0001"),
            _NULL,
        ),
    ),
    TypeCase(
        "a_smallmoney",
        "smallmoney",
        "numeric(10,4)",
        (("214748.3647", "214748.3647"), ("-214748.3648", "-214748.3648"), _NULL),
    ),
    TypeCase(
        "a_real",
        "real",
        "real",
        (("CAST(3.4E38 AS real)", "3.4e+38"), ("CAST(-1.5 AS real)", "-1.5"), ("CAST(0.1 AS real)", "0.1"), _NULL),
    ),
    TypeCase(
        "a_float",
        "float",
        "double precision",
        (("1.7976931348623157E308", "1.7976931348623157e+308"), ("2.5E-300", "2.5e-300"), ("0.1E0", "0.1"), _NULL),
    ),
    TypeCase("a_float24", "float(24)", "real", (("CAST(16777216 AS real)", "1.6777216e+07"), _NULL)),
    TypeCase(
        "a_date",
        "date",
        "date",
        (("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31"), ("'2024-02-29'", "2024-02-29"), _NULL),
    ),
    TypeCase(
        "a_time",
        "time(7)",
        "time(6) without time zone",
        (
            ("'00:00:00'", "00:00:00"),
            ("'23:59:59.9999999'", "23:59:59.999999"),
            ("'12:34:56.1234567'", "12:34:56.123456"),
            _NULL,
        ),
    ),
    TypeCase(
        "a_time0",
        "time(0)",
        "time(6) without time zone",
        (("'23:59:59'", "23:59:59"), ("'00:00:01'", "00:00:01"), _NULL),
    ),
    TypeCase(
        "a_smalldatetime",
        "smalldatetime",
        "timestamp(0) without time zone",
        (("'1900-01-01T00:00:00'", "1900-01-01 00:00:00"), ("'2079-06-06T23:59:00'", "2079-06-06 23:59:00"), _NULL),
    ),
    TypeCase(
        "a_datetime",
        "datetime",
        "timestamp(3) without time zone",
        (
            ("'1753-01-01T00:00:00'", "1753-01-01 00:00:00"),
            ("'9999-12-31T23:59:59.997'", "9999-12-31 23:59:59.997"),
            ("'2024-06-30T12:00:00.003'", "2024-06-30 12:00:00.003"),
            _NULL,
        ),
    ),
    TypeCase(
        "a_datetime2",
        "datetime2(7)",
        "timestamp(6) without time zone",
        (
            ("'0001-01-01T00:00:00'", "0001-01-01 00:00:00"),
            ("'9999-12-31T23:59:59.9999999'", "9999-12-31 23:59:59.999999"),
            ("'1969-12-31T23:59:59.9999999'", "1969-12-31 23:59:59.999999"),
            ("'2024-02-29T12:34:56.7654321'", "2024-02-29 12:34:56.765432"),
            _NULL,
        ),
    ),
    TypeCase(
        "a_datetime2_3",
        "datetime2(3)",
        "timestamp(3) without time zone",
        (("'2024-02-29T12:34:56.789'", "2024-02-29 12:34:56.789"), _NULL),
    ),
    TypeCase(
        "a_datetimeoffset",
        "datetimeoffset(7)",
        "timestamp with time zone",
        (
            ("'0001-01-01T00:00:00+00:00'", "0001-01-01 00:00:00+00"),
            ("'9999-12-31T23:59:59.9999999+00:00'", "9999-12-31 23:59:59.999999+00"),
            ("'2024-03-31T02:30:00.1234567+05:30'", "2024-03-30 21:00:00.123456+00"),
            ("'2024-03-31T02:30:00-08:00'", "2024-03-31 10:30:00+00"),
            _NULL,
        ),
    ),
    TypeCase("a_char", "char(8)", "text", (("'ab'", "ab      "), ("''", "        "), _NULL)),
    TypeCase(
        "a_varchar",
        "varchar(40)",
        "text",
        (("''", ""), ("'it''s; \"quoted\" \\back'", 'it\'s; "quoted" \\back'), ("'  blanks  '", "  blanks  "), _NULL),
    ),
    TypeCase("a_varchar_max", "varchar(max)", "text", (("''", ""), ("'" + "x" * 21_000 + "'", "x" * 21_000), _NULL)),
    TypeCase("an_nchar", "nchar(4)", "text", (("N'ä'", "ä   "), ("N''", "    "), _NULL)),
    TypeCase(
        "an_nvarchar",
        "nvarchar(60)",
        "text",
        (
            ("N''", ""),
            ("N'😀 Ω 漢字 é'", "😀 Ω 漢字 é"),
            ("N'tab\tline\nreturn\r.'", "tab\tline\nreturn\r."),
            ("N'\\N'", "\\N"),
            ("N'NULL'", "NULL"),
            _NULL,
        ),
    ),
    TypeCase("an_nvarchar_max", "nvarchar(max)", "text", ((f"N'{_LONG}'", _LONG), ("N''", ""), _NULL)),
    TypeCase("a_binary", "binary(4)", "bytea", (("0xDEADBEEF", "\\xdeadbeef"), ("0x01", "\\x01000000"), _NULL)),
    TypeCase("a_varbinary", "varbinary(16)", "bytea", (("0x", "\\x"), ("0x00FF00", "\\x00ff00"), _NULL)),
    TypeCase(
        "a_varbinary_max",
        "varbinary(max)",
        "bytea",
        (("0x", "\\x"), ("0x" + "00FF" * 10_500, "\\x" + "00ff" * 10_500), _NULL),
    ),
    TypeCase(
        "a_uniqueidentifier",
        "uniqueidentifier",
        "uuid",
        (
            ("'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
            ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
            _NULL,
        ),
    ),
    TypeCase("an_xml", "xml", "xml", (("N'<a b=\"1\">ü</a>'", '<a b="1">ü</a>'), _NULL)),
    TypeCase(
        "a_variant",
        "sql_variant",
        "text",
        (("CAST(42 AS int)", "42"), ("CAST(N'text ü' AS nvarchar(20))", "text ü"), _NULL),
    ),
    TypeCase("a_hierarchyid", "hierarchyid", "text", (("hierarchyid::Parse('/1/2/')", "/1/2/"), _NULL), portable=False),
    TypeCase(
        "a_geography",
        "geography",
        "bytea",
        (
            (
                "geography::STGeomFromText('POINT(13.4 52.5)', 4326)",
                # little-endian WKB: byte order 01, type 1 (point), longitude, latitude as IEEE 754
                "\\x0101000000cdcccccccccc2a400000000000404a40",
            ),
            _NULL,
        ),
        portable=False,
    ),
)

ROWS = max(len(case.values) for case in CASES)
"""As many rows as the longest list of values; shorter lists begin again."""


def cases(*, portable_only: bool = False) -> tuple[TypeCase, ...]:
    """The columns; those of SQL Server alone left out on request."""
    return tuple(case for case in CASES if case.portable or not portable_only)


def create_table(name: str, *, portable_only: bool = False) -> str:
    """CREATE TABLE with all of them, `id` as key, a rowversion and a computed column."""
    columns = [f"    {case.column} {case.declaration} NULL" for case in cases(portable_only=portable_only)]
    first = ["    id int NOT NULL PRIMARY KEY", "    kind nvarchar(20) NOT NULL"]
    last = ["    version rowversion", "    doubled AS (id * 2)"]
    return f"CREATE TABLE {name} (\n" + ",\n".join([*first, *columns, *last]) + "\n)"


def insert_rows(name: str, *, portable_only: bool = False) -> Iterator[str]:
    """An INSERT for each row."""
    chosen = cases(portable_only=portable_only)
    columns = ", ".join(["id", "kind", *(case.column for case in chosen)])
    for row in range(ROWS):
        values = ", ".join(case.values[row % len(case.values)][0] for case in chosen)
        yield f"INSERT INTO {name} ({columns}) VALUES ({row + 1}, N'kind {row % 3}', {values})"


def expected_rows(*, portable_only: bool = False) -> Iterator[dict[str, Expected]]:
    """What Postgres must print for each row, by column; rowversion is the server's own."""
    for row in range(ROWS):
        values = {case.column: case.values[row % len(case.values)][1] for case in cases(portable_only=portable_only)}
        yield {"id": str(row + 1), "kind": f"kind {row % 3}", **values, "doubled": str(2 * (row + 1))}
