"""Every type: what is put in comes out, through each driver, with the metadata of the type."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from tests.integration.standin.drivers import Drivers

Sql = Callable[..., list[Any]]
DATETIMEOFFSET = -155
GUID = "01234567-89AB-CDEF-0123-456789ABCDEF"
LAST = dt.datetime(9999, 12, 31, 23, 59, 59, 999999)


class Case(NamedTuple):
    """A type, a constant of it, and what Python is to get."""

    type: str
    constant: str
    value: Any


def offset(data: bytes) -> tuple[dt.datetime, int, int]:
    """Local time to the second, nanoseconds, and the offset in minutes of ODBC's datetimeoffset."""
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", data)
    return dt.datetime(year, month, day, hour, minute, second), nanoseconds, hours * 60 + minutes


CASES = [
    Case("bit", "1", True),
    Case("bit", "0", False),
    Case("tinyint", "0", 0),
    Case("tinyint", "255", 255),
    Case("smallint", "-32768", -32768),
    Case("smallint", "32767", 32767),
    Case("int", "-2147483648", -(2**31)),
    Case("int", "2147483647", 2**31 - 1),
    Case("bigint", "-9223372036854775808", -(2**63)),
    Case("bigint", "9223372036854775807", 2**63 - 1),
    Case("decimal(1,0)", "-9", Decimal(-9)),
    Case("decimal(18,4)", "-99999999999999.9999", Decimal("-99999999999999.9999")),
    Case("numeric(19,19)", "0.0000000000000000001", Decimal("1E-19")),
    Case("decimal(28,10)", "123456789012345678.0123456789", Decimal("123456789012345678.0123456789")),
    Case("decimal(38,0)", "9" * 38, Decimal("9" * 38)),
    Case("numeric(38,38)", "-0." + "9" * 38, Decimal("-0." + "9" * 38)),
    Case("money", "-922337203685477.5808", Decimal("-922337203685477.5808")),
    Case("money", "922337203685477.5807", Decimal("922337203685477.5807")),
    Case("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    Case("smallmoney", "214748.3647", Decimal("214748.3647")),
    Case("real", "3.4028235e38", 3.4028234663852886e38),
    Case("real", "-1.17549435e-38", -1.1754943508222875e-38),
    Case("float", "1.7976931348623157e308", 1.7976931348623157e308),
    Case("float", "0.1", 0.1),
    Case("date", "'0001-01-01'", dt.date(1, 1, 1)),
    Case("date", "'9999-12-31'", dt.date(9999, 12, 31)),
    Case("time(7)", "'23:59:59.9999999'", dt.time(23, 59, 59, 999999)),
    Case("time(0)", "'00:00:00'", dt.time(0)),
    Case("time(3)", "'12:34:56.789'", dt.time(12, 34, 56, 789000)),
    Case("smalldatetime", "'1900-01-01 00:00'", dt.datetime(1900, 1, 1)),
    Case("smalldatetime", "'2079-06-06 23:59'", dt.datetime(2079, 6, 6, 23, 59)),
    Case("datetime", "'1753-01-01'", dt.datetime(1753, 1, 1)),
    Case("datetime", "'9999-12-31 23:59:59.997'", dt.datetime(9999, 12, 31, 23, 59, 59, 997000)),
    Case("datetime", "'2024-02-29 12:00:00.003'", dt.datetime(2024, 2, 29, 12, 0, 0, 3000)),
    Case("datetime2(7)", "'0001-01-01'", dt.datetime(1, 1, 1)),
    Case("datetime2(7)", "'9999-12-31 23:59:59.9999999'", LAST),
    Case("datetime2(0)", "'2024-02-29 23:59:58'", dt.datetime(2024, 2, 29, 23, 59, 58)),
    Case("datetime2(3)", "'2024-02-29 23:59:58.123'", dt.datetime(2024, 2, 29, 23, 59, 58, 123000)),
    Case("datetimeoffset(7)", "'2024-02-29 23:59:58.1234567 -05:30'",
         (dt.datetime(2024, 2, 29, 23, 59, 58), 123456700, -330)),
    Case("datetimeoffset(7)", "'9999-12-31 23:59:59.9999999 +14:00'",
         (dt.datetime(9999, 12, 31, 23, 59, 59), 999999900, 840)),
    Case("datetimeoffset(0)", "'0001-01-01 00:00:00 +00:00'", (dt.datetime(1, 1, 1), 0, 0)),
    Case("char(5)", "'ab'", "ab   "),
    Case("varchar(10)", "'a b '", "a b "),
    Case("varchar(10)", "''", ""),
    Case("varchar(10)", "'€'", "€"),
    Case("varchar(max)", "REPLICATE(CAST('x' AS varchar(max)), 20000)", "x" * 20000),
    Case("varchar(max)", "''", ""),
    Case("nchar(5)", "N'ж'", "ж    "),
    Case("nvarchar(10)", "N'日本😀'", "日本😀"),
    Case("nvarchar(10)", "N''", ""),
    Case("nvarchar(10)", "N'a' + NCHAR(0) + N'b'", "a\0b"),
    Case("nvarchar(max)", "REPLICATE(CAST(N'ж' AS nvarchar(max)), 20000)", "ж" * 20000),
    Case("nvarchar(max)", "N''", ""),
    Case("varchar(20) COLLATE Cyrillic_General_CI_AS", "N'жук'", "жук"),
    Case("varchar(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8", "N'日本😀'", "日本😀"),
    Case("varchar(max) COLLATE Latin1_General_100_CI_AS_SC_UTF8", "N'日本😀'", "日本😀"),
    Case("char(8) COLLATE Latin1_General_100_CI_AS_SC_UTF8", "N'é'", "é      "),
    Case("varchar(20) COLLATE Latin1_General_BIN2", "'Ä'", "Ä"),
    Case("text", "'old text'", "old text"),
    Case("text", "''", ""),
    Case("ntext", "N'старый'", "старый"),
    Case("image", "0x00FF", b"\0\xff"),
    Case("image", "0x", b""),
    Case("binary(4)", "0x01", b"\1\0\0\0"),
    Case("varbinary(10)", "0x", b""),
    Case("varbinary(10)", "0x00FF00", b"\0\xff\0"),
    Case("varbinary(max)", "0x", b""),
    Case("varbinary(max)", "CONVERT(varbinary(max), REPLICATE(CAST('x' AS varchar(max)), 20000))", b"x" * 20000),
    Case("uniqueidentifier", f"'{GUID}'", GUID),
    Case("xml", "N'<a>ж</a>'", "<a>ж</a>"),
]  # fmt: skip
IDENTITIES = [f"{case.type}-{number}" for number, case in enumerate(CASES)]


@pytest.fixture
def stored(sql: Sql, table: str) -> Callable[[str, str], str]:
    """Creates a table with a constant and with NULL in column v."""

    def store(kind: str, constant: str) -> str:
        sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, v {kind} NULL)")
        sql(f"INSERT INTO {table} VALUES (1, {constant}), (2, NULL)")
        return table

    return store


@pytest.mark.parametrize("case", CASES, ids=IDENTITIES)
def test_a_stored_value_comes_out_through_microsofts_driver(
    connect: Drivers, stored: Callable[[str, str], str], case: Case
) -> None:
    connection = connect.odbc()
    connection.add_output_converter(DATETIMEOFFSET, offset)
    rows = connection.execute(f"SELECT v FROM {stored(case.type, case.constant)} ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [case.value, None]


@pytest.mark.parametrize("case", CASES, ids=IDENTITIES)
def test_a_stored_value_comes_out_through_freetds(
    connect: Drivers, stored: Callable[[str, str], str], case: Case
) -> None:
    """FreeTDS knows no datetimeoffset of its own: it gives text; time and date at scale 7 come as text or rounded."""
    name = stored(case.type, case.constant)
    as_text = case.type.startswith(("datetimeoffset", "time", "xml", "uniqueidentifier"))
    column = "CONVERT(nvarchar(max), v)" if as_text else "v"
    rows = connect.freetds().execute(f"SELECT {column} FROM {name} ORDER BY id").fetchall()
    expected = case.value
    if case.type.startswith("datetimeoffset"):
        moment, nanoseconds, minutes = case.value
        digits = int(case.type[-2])
        fraction = f".{nanoseconds:09d}"[: digits + 1] if digits else ""
        zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
        expected = moment.isoformat(" ") + fraction + " " + zone
    elif case.type.startswith("time"):
        expected = case.constant.strip("'")
    assert [row[0] for row in rows] == [expected, None]


@pytest.mark.parametrize("case", CASES, ids=IDENTITIES)
def test_a_stored_value_comes_out_as_arrow(connect: Drivers, stored: Callable[[str, str], str], case: Case) -> None:
    cursor = connect.mssql().cursor()
    cursor.execute(f"SELECT v FROM {stored(case.type, case.constant)} ORDER BY id")
    column = cursor.arrow_batch(10).column(0)
    expected = case.value
    if case.type.startswith("datetimeoffset"):
        moment, nanoseconds, minutes = case.value
        ticks = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) - minutes * 60_000_000
        assert column.cast("int64").to_pylist() == [ticks + nanoseconds // 1000, None]
        return
    if case.type.startswith("time"):
        clock = case.value
        whole = (clock.hour * 3600 + clock.minute * 60 + clock.second) * 10**9
        digits = case.constant.strip("'").partition(".")[2].ljust(9, "0")
        assert column.cast("int64").to_pylist() == [whole + int(digits), None]
        return
    assert column.to_pylist() == [expected, None]


@pytest.mark.parametrize("case", CASES, ids=IDENTITIES)
def test_a_stored_value_comes_out_as_a_row_of_mssql_python(
    connect: Drivers, stored: Callable[[str, str], str], case: Case
) -> None:
    cursor = connect.mssql().cursor()
    cursor.execute(f"SELECT v FROM {stored(case.type, case.constant)} ORDER BY id")
    got = [row[0] for row in cursor.fetchall()]
    expected = case.value
    if case.type.startswith("datetimeoffset"):
        moment, nanoseconds, minutes = case.value
        zone = dt.timezone(dt.timedelta(minutes=minutes))
        expected = moment.replace(microsecond=nanoseconds // 1000, tzinfo=zone)
    elif case.type == "uniqueidentifier":
        expected = uuid.UUID(case.value)
    assert got == [expected, None]


def test_metadata_says_the_declared_type(sql: Sql, connect: Drivers, table: str) -> None:
    sql(
        f"CREATE TABLE {table} (a bigint NOT NULL IDENTITY(1,1), b decimal(18,4) NULL, c nvarchar(100) NOT NULL, "
        "d varchar(max) NULL, e datetime2(3) NOT NULL, f binary(8) NULL, g rowversion)"
    )
    description = connect.odbc().execute(f"SELECT * FROM {table}").description
    assert [(name, kind, size, scale, null) for name, kind, _, size, _, scale, null in description] == [
        ("a", int, 19, 0, False), ("b", Decimal, 18, 4, True), ("c", str, 100, 0, False), ("d", str, 0, 0, True),
        ("e", dt.datetime, 23, 3, False), ("f", bytearray, 8, 0, True), ("g", bytearray, 8, 0, False),
    ]  # fmt: skip


def test_a_lone_surrogate_is_kept(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (v nvarchar(10))")
    sql(f"INSERT INTO {table} VALUES (N'a' + NCHAR(55357) + N'b'), (NCHAR(56832))")
    assert sql(f"SELECT CONVERT(varbinary(20), v), LEN(v), UNICODE(SUBSTRING(v, 2, 1)) FROM {table}") == [
        (b"a\0\x3d\xd8b\0", 3, 0xD83D),
        (b"\x00\xde", 1, None),
    ]


def test_two_halves_of_a_surrogate_pair_join(sql: Sql) -> None:
    assert sql("SELECT NCHAR(55357) + NCHAR(56832), LEN(NCHAR(55357) + NCHAR(56832))") == [("😀", 2)]


def test_empty_text_and_empty_binary_are_not_null(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a varchar(5), b nvarchar(max), c varbinary(5), d varbinary(max))")
    sql(f"INSERT INTO {table} VALUES ('', N'', 0x, 0x), (NULL, NULL, NULL, NULL)")
    assert sql(f"SELECT a, b, c, d, DATALENGTH(a), DATALENGTH(d) FROM {table}") == [
        ("", "", b"", b"", 0, 0),
        (None,) * 6,
    ]


def test_rowversion_rises_with_every_change(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int, v int, rv rowversion)")
    sql(f"INSERT INTO {table} (id, v) VALUES (1, 1), (2, 2)")
    before = sql(f"SELECT rv FROM {table} ORDER BY id")
    sql(f"UPDATE {table} SET v = v WHERE id = 1")
    after = sql(f"SELECT rv FROM {table} ORDER BY id")
    assert len(before[0][0]) == 8
    assert before[0] < before[1] == after[1] < after[0]
    assert sql("SELECT @@DBTS")[0] == after[0]


def test_user_types_are_read_by_their_methods(sql: Sql, table: str, connect: Drivers) -> None:
    sql(f"CREATE TABLE {table} (h hierarchyid, g geography, m geometry)")
    sql(
        f"INSERT INTO {table} VALUES (hierarchyid::Parse('/1/2.5/'), geography::Point(47.5, 19, 4326), "
        "geometry::STGeomFromText('LINESTRING (0 0, 1 2)', 0)), ('/', 'POINT (1 2 3)', NULL), (NULL, NULL, NULL)"
    )
    assert sql(f"SELECT [h].ToString(), [g].AsBinaryZM(), [g].STSrid, m.STAsText() FROM {table}") == [
        ("/1/2.5/", struct.pack("<BI2d", 1, 1, 19, 47.5), 4326, "LINESTRING (0 0, 1 2)"),
        ("/", struct.pack("<BI3d", 1, 1001, 1, 2, 3), 4326, None),
        (None, None, None, None),
    ]


def test_a_shape_of_several_parts_says_z_and_m_as_its_parts_do(sql: Sql) -> None:
    found = sql("SELECT geometry::STGeomFromText('MULTIPOINT ((1 2 3 4), (5 6 7 8))', 0).AsBinaryZM()")
    points = [struct.pack("<BI4d", 1, 3001, *numbers) for numbers in ((1, 2, 3, 4), (5, 6, 7, 8))]
    assert found == [(struct.pack("<BII", 1, 3004, 2) + b"".join(points),)]


def test_a_user_type_as_it_is_is_refused_by_name(
    sql: Sql, table: str, connect: Drivers, error_number: Callable[..., int]
) -> None:
    sql(f"CREATE TABLE {table} (h hierarchyid)")
    assert error_number(connect.odbc(), f"SELECT h FROM {table}") == 50000


@pytest.mark.parametrize(
    ("constant", "text"),
    [
        ("CAST(5 AS int)", "5"), ("CAST(-7 AS bigint)", "-7"), ("N'ж'", "ж"), ("'x'", "x"),
        ("CAST(1.50 AS decimal(5,2))", "1.50"), ("CAST(1 AS bit)", "1"), (f"CAST('{GUID}' AS uniqueidentifier)", GUID),
        ("CAST('2024-02-29' AS date)", "2024-02-29"), ("CAST(12.5 AS money)", "12.50"), ("CAST(2.5 AS float)", "2.5"),
        ("CAST('2024-02-29 01:02:03.1234567' AS datetime2(7))", "2024-02-29 01:02:03.1234567"),
    ],
)  # fmt: skip
def test_sql_variant_holds_values_of_other_types(sql: Sql, table: str, constant: str, text: str) -> None:
    sql(f"CREATE TABLE {table} (v sql_variant)")
    sql(f"INSERT INTO {table} VALUES ({constant}), (NULL)")
    assert sql(f"SELECT CAST(v AS nvarchar(100)) FROM {table}") == [(text,), (None,)]


@pytest.mark.parametrize(
    ("constant", "value"),
    [("CAST(5 AS int)", 5), ("N'ж'", "ж"), ("CAST(-7 AS bigint)", -7), ("CAST(1.50 AS decimal(5,2))", Decimal("1.50"))],
)
def test_sql_variant_goes_over_the_wire_with_its_base_type(connect: Drivers, constant: str, value: Any) -> None:
    cursor = connect.mssql().cursor()
    cursor.execute(f"SELECT CAST({constant} AS sql_variant)")
    assert cursor.fetchone()[0] == value
