"""T-SQL meaning: types, rounding, comparison, three-valued logic; each line is what SQL Server answers."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

D = Decimal
Sql = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("5 / 2", 2), ("-5 / 2", -2), ("-5 % 3", -2), ("5.0 / 2", D("2.500000")), ("2.0 / 3.0", D("0.666666")),
        ("1 / 3.0", D("0.333333")), ("1.10 * 2.5", D("2.750")), ("CAST(1 AS decimal(38,10)) / 3", D("0.3333333333")),
        ("1e0 / 4", 0.25), ("CAST(7 AS money) / 2", D("3.5000")), ("CAST(1 AS money) / 3", D("0.3333")),
        ("2147483648 + 1", D(2147483649)), ("-(-5)", 5), ("~5", -6), ("6 & 3", 2), ("6 | 3", 7), ("6 ^ 3", 5),
        ("'a' + 'b'", "ab"), ("N'a' + 'b'", "ab"), ("'5' + 1", 6), ("0x01 + 0x02", b"\1\2"),
        ("1 + NULL", None), ("'a' + NULL", None), ("CAST(5 AS bigint) * 1000000000000", D(5 * 10**12)),
        ("CAST(1.005 AS decimal(5,2))", D("1.01")), ("CAST(-1.005 AS decimal(5,2))", D("-1.01")),
        ("CAST(2.9 AS int)", 2), ("CAST(-2.9 AS int)", -2), ("CAST(CAST(2.5 AS money) AS int)", 3),
        ("CAST(2.9e0 AS int)", 2), ("CAST('  42 ' AS int)", 42), ("CAST('' AS int)", 0), ("CAST(5 AS bit)", True),
        ("CAST('true' AS bit)", True), ("CAST(0x0000002A AS int)", 42), ("CAST(42 AS varbinary(4))", b"\0\0\0*"),
        ("CAST('abc' AS varchar(2))", "ab"), ("CAST(12345 AS varchar(3))", "*"), ("CAST(1 AS char(3))", "1  "),
        ("CONVERT(varchar(30), 0xAB01, 1)", "0xAB01"), ("CONVERT(varchar(30), 0xAB01, 2)", "AB01"),
        ("CONVERT(varbinary(4), '0xAB01', 1)", b"\xab\1"), ("CONVERT(varbinary(4), 'AB01', 2)", b"\xab\1"),
        ("CAST(CAST('0102abcd-1111-2222-3333-445566778899' AS uniqueidentifier) AS binary(16))",
         bytes.fromhex("cdab0201111122223333445566778899")),
        ("CONVERT(char(36), CAST(0x00112233445566778899AABBCCDDEEFF AS uniqueidentifier))",
         "33221100-5544-7766-8899-AABBCCDDEEFF"),
        ("CONVERT(varchar(40), CAST('2024-02-29 01:02:03.004' AS datetime), 121)", "2024-02-29 01:02:03.003"),
        ("CONVERT(varchar(40), CAST('2024-02-29 01:02:03.004' AS datetime))", "Feb 29 2024  1:02AM"),
        ("CONVERT(varchar(40), CAST('2024-02-29 13:02:03.1234567' AS datetime2(7)), 126)",
         "2024-02-29T13:02:03.1234567"),
        ("CONVERT(varchar(40), CAST('2024-02-29 13:02:03' AS datetime2(7)), 126)", "2024-02-29T13:02:03"),
        ("CONVERT(varchar(40), CAST('2024-02-29 13:02:03 +02:00' AS datetimeoffset(3)), 127)",
         "2024-02-29T11:02:03Z"),
        ("CONVERT(varchar(40), CAST('2024-02-29 13:02:03 +02:00' AS datetimeoffset(3)), 121)",
         "2024-02-29 13:02:03.000 +02:00"),
        ("CONVERT(varchar(10), CAST('2024-02-29' AS date), 112)", "20240229"),
        ("CAST(CAST('2024-02-29 13:02:03.1234567' AS datetime2(7)) AS varchar(40))", "2024-02-29 13:02:03.1234567"),
        ("CONVERT(varchar(40), CAST(CAST('2024-02-29 23:59:59.9996' AS datetime2(7)) AS datetime2(3)), 121)",
         "2024-03-01 00:00:00.000"),
        ("CONVERT(varchar(30), CAST(1234567.891 AS money))", "1234567.89"),
        ("CONVERT(varchar(30), CAST(1234567.891 AS money), 1)", "1,234,567.89"),
        ("CONVERT(varchar(30), CAST(1234567.891 AS money), 2)", "1234567.8910"),
        ("CAST(CAST(0.1 AS float) AS varchar(30))", "0.1"), ("CAST(CAST(1234567 AS float) AS varchar(30))",
        "1.23457e+006"),
        ("CONVERT(varchar(40), CAST(0.1 AS float), 3)", "0.10000000000000001"),
        ("LEN('ab  ')", 2), ("DATALENGTH('ab  ')", 4), ("DATALENGTH(N'ab')", 4), ("LEN(N'😀')", 2),
        ("LEN(N'😀' COLLATE Latin1_General_100_CI_AS_SC)", 1), ("UPPER('straße')", "STRAßE"), ("LOWER('ÄB')", "äb"),
        ("SUBSTRING('abcdef', 2, 3)", "bcd"), ("SUBSTRING('abc', 0, 2)", "a"), ("SUBSTRING(0x010203, 2, 1)", b"\2"),
        ("LEFT('abc', 2)", "ab"), ("RIGHT('abc', 2)", "bc"), ("LTRIM('  a ')", "a "), ("RTRIM(' a  ')", " a"),
        ("CONCAT('a', NULL, 1, N'ж')", "a1ж"), ("COALESCE(NULL, NULL, 3)", 3), ("ISNULL(NULL, 'x')", "x"),
        ("ISNULL(CAST(NULL AS varchar(2)), 'xyz')", "xy"), ("NULLIF(1, 1)", None), ("NULLIF(1, 2)", 1),
        ("ABS(-2.5)", D("2.5")), ("FLOOR(-2.5)", D(-3)), ("CEILING(-2.5)", D(-2)), ("ROUND(2.345, 2)", D("2.350")),
        ("REPLICATE('ab', 3)", "ababab"), ("QUOTENAME('a]b')", "[a]]b]"), ("UNICODE(N'ж')", 1078),
        ("CASE WHEN NULL = NULL THEN 1 ELSE 2 END", 2), ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"),
        ("IIF(1 = 1, 'y', 'n')", "y"), ("YEAR('2024-02-29')", 2024), ("MONTH('2024-02-29')", 2),
        ("DATEPART(tzoffset, CAST('2024-02-29T12:00:00+05:30' AS datetimeoffset(0)))", 330),
        ("DATEPART(tz, CAST('2024-02-29T12:00:00-08:00' AS datetimeoffset(7)))", -480),
        ("DATEPART(tzoffset, CAST(NULL AS datetimeoffset(7)))", None),
        ("HASHBYTES('MD5', 'abc')", bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")),
        ("HASHBYTES('MD5', N'abc')", bytes.fromhex("ce1473cf80c6b3fda8e3dfc006adc315")),
        ("TRY_CONVERT(int, 'x')", None), ("TRY_CAST('7' AS int)", 7), ("CHARINDEX('C', 'abc')", 3),
        ("CAST('abc' AS xml)", "abc"),
        ("CONVERT(decimal(38,10), N'-1234567890123456789012345678.1234567891')",
         D("-1234567890123456789012345678.1234567891")),
        ("CONVERT(decimal(38,37), N'1.2345678901234567890123456789012345678')",
         D("1.2345678901234567890123456789012345678")),
        ("CONVERT(binary(8), CONVERT(float, N'1.5'))", bytes.fromhex("3ff8000000000000")),
        ("CONVERT(binary(4), CONVERT(real, N'-1.5'))", bytes.fromhex("bfc00000")),
        ("CONVERT(varbinary(8), CONVERT(real, N'-1.5'))", bytes.fromhex("bfc00000")),
        ("DATEADD(month, 1, CONVERT(date, '2024-01-31'))", datetime.date(2024, 2, 29)),
        ("DATEADD(yy, -1, CONVERT(datetime2(3), '2024-02-29 01:02:03.004'))",
         datetime.datetime(2023, 2, 28, 1, 2, 3, 4000)),
        ("DATEADD(quarter, 1, CONVERT(datetime2(0), '2024-11-30'))", datetime.datetime(2025, 2, 28)),
        ("DATEADD(week, -1, CONVERT(date, '2024-03-01'))", datetime.date(2024, 2, 23)),
        ("DATEADD(day, 1, '2024-01-31')", datetime.datetime(2024, 2, 1)),
        ("DATEADD(hour, 25, CONVERT(time, '23:30'))", datetime.time(0, 30)),
        ("DATEADD(ms, 2, CONVERT(datetime, '2024-01-31'))", datetime.datetime(2024, 1, 31, 0, 0, 0, 3000)),
        ("DATEADD(mcs, 7, CONVERT(datetime2, '2024-01-31'))", datetime.datetime(2024, 1, 31, 0, 0, 0, 7)),
        ("DATEADD(day, NULL, CONVERT(date, '2024-01-31'))", None),
        ("DATEDIFF(day, '2024-01-01 23:59', '2024-01-02')", 1), ("DATEDIFF(year, '2023-12-31', '2024-01-01')", 1),
        ("DATEDIFF(week, '2024-01-06', '2024-01-07')", 1), ("DATEDIFF(week, '2024-01-07', '2024-01-13')", 0),
        ("DATEDIFF(month, '2024-03-01', '2024-01-31')", -2), ("DATEDIFF(second, '2024-01-01', '2024-01-02')", 86400),
        ("DATEDIFF_BIG(ns, '2024-01-06', '2024-01-08')", 172_800_000_000_000),
        ("DATEDIFF(minute, CONVERT(datetimeoffset, '2024-01-01 02:00 +02:00'), CONVERT(datetimeoffset, "
         "'2024-01-01 00:01 +00:00'))", 1),
        ("CONVERT(varchar(34), SWITCHOFFSET(CONVERT(datetimeoffset(3), '2024-01-01 01:02:03.123 +02:00'), '-05:30'), "
         "121)", "2023-12-31 17:32:03.123 -05:30"),
        ("CONVERT(varchar(34), TODATETIMEOFFSET(CONVERT(datetime2(3), '2024-01-01 01:02:03.123'), 120), 121)",
         "2024-01-01 01:02:03.123 +02:00"),
        ("REPLACE('aA' COLLATE Latin1_General_BIN2, 'a', 'bbb')", "bbbA"),
    ],
)  # fmt: skip
def test_an_expression_has_the_value_that_sql_server_gives(
    one: Callable[..., Any], expression: str, value: Any
) -> None:
    found = one(f"SELECT {expression}")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("'A' = 'a'", True), ("'a' = 'a  '", True), ("'é' = 'e'", False), ("'ß' = 'ss'", True),
        ("'a' COLLATE Latin1_General_BIN2 = 'A'", False), ("'a' COLLATE Latin1_General_BIN2 = 'a '", True),
        ("'a' COLLATE Latin1_General_CS_AS = 'A'", False), ("'é' COLLATE Latin1_General_CI_AI = 'E'", True),
        ("0x01 = 0x0100", True), ("0x01 < 0x02", True), ("'10' < '9'", True), ("'10' < 9", False), ("1 = 1.0", True),
        ("'abc' LIKE 'A%'", True), ("'abc' LIKE 'a_c'", True), ("'a%c' LIKE 'a[%]c'", True),
        ("'abc' LIKE 'a[a-c]c'", True), ("'abc' LIKE 'a[^b]c'", False), ("'a_c' LIKE 'a!_c' ESCAPE '!'", True),
        ("'abc' LIKE 'abc '", False), ("'abc ' LIKE 'abc'", True), ("N'abc ' LIKE N'abc'", False),
        ("'a.c' LIKE 'a.c'", True), ("'abc' LIKE 'a.c'", False),
        ("2 BETWEEN 1 AND 3", True), ("2 NOT BETWEEN 1 AND 3", False), ("2 IN (1, 2)", True),
        ("3 NOT IN (1, NULL)", None), ("NULL = NULL", None), ("NOT (NULL = 1)", None), ("NULL IS NULL", True),
        ("1 = 0 AND NULL = 1", False), ("1 = 1 OR NULL = 1", True), ("1 = 1 AND NULL = 1", None),
        ("CAST('2024-01-01' AS date) = CAST('2024-01-01 00:00' AS datetime)", True),
        ("CAST('2024-01-01 12:00 +02:00' AS datetimeoffset) = CAST('2024-01-01 10:00 +00:00' AS datetimeoffset)", True),
        ("EXISTS (SELECT 1 WHERE 1 = 0)", False), ("2 IN (SELECT 1 UNION ALL SELECT 2)", True),
    ],
)  # fmt: skip
def test_a_condition_is_true_false_or_unknown(one: Callable[..., Any], condition: str, truth: bool | None) -> None:
    found = one(f"SELECT CASE WHEN {condition} THEN 1 WHEN NOT ({condition}) THEN 0 END")
    assert found == (None if truth is None else int(truth))


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("DATEADD(hour, 1, CONVERT(date, '2024-01-31'))", 9810), ("DATEADD(day, 1, CONVERT(time, '01:00'))", 9810),
        ("DATEADD(fortnight, 1, '2024-01-31')", 155), ("DATEADD(year, 9000, CONVERT(date, '2024-01-31'))", 517),
        ("DATEDIFF(ns, '2024-01-06', '2024-01-08')", 535), ("SWITCHOFFSET('2024-01-01', 'x')", 9812),
        ("SWITCHOFFSET('2024-01-01', 841)", 9812),
    ],
)  # fmt: skip
def test_what_dates_refuse_has_sql_servers_numbers(
    connect: Any, error_number: Callable[..., int], expression: str, number: int
) -> None:
    assert error_number(connect.odbc(), f"SELECT {expression}") == number


def test_guids_sort_by_their_last_bytes_first(sql: Sql, table: str) -> None:
    guids = [
        "FFFFFFFF-FFFF-FFFF-FFFF-000000000001", "00000000-0000-0000-0001-000000000002",
        "00000000-0000-0001-0000-000000000002", "00000000-0001-0000-0000-000000000002",
        "00000001-0000-0000-0000-000000000002", "00000000-0000-0000-0000-010000000000",
    ]  # fmt: skip
    sql(f"CREATE TABLE {table} (g uniqueidentifier PRIMARY KEY)")
    sql(f"INSERT INTO {table} VALUES " + ", ".join(f"('{g}')" for g in reversed(guids)))
    ordered = [row[0] for row in sql(f"SELECT g FROM {table} ORDER BY g")]
    assert ordered == [guids[0], guids[4], guids[3], guids[2], guids[1], guids[5]]
    assert sql(f"SELECT COUNT(*) FROM {table} WHERE g > '{guids[4]}'") == [(4,)]


def test_nulls_sort_first_and_ties_by_the_next_key(sql: Sql) -> None:
    source = "(VALUES (1, N'b'), (NULL, N'c'), (1, N'A'), (2, NULL)) AS v(a, b)"
    assert sql(f"SELECT a, b FROM {source} ORDER BY a, b") == [(None, "c"), (1, "A"), (1, "b"), (2, None)]
    assert sql(f"SELECT a, b FROM {source} ORDER BY a DESC, b") == [(2, None), (1, "A"), (1, "b"), (None, "c")]


def test_totals_have_the_types_of_sql_server(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (i int, d decimal(10,2), m money, f float, s nvarchar(5))")
    sql(f"INSERT INTO {table} VALUES (1, 1.00, 1, 1, 'a'), (2, 2.01, 2, 2, 'B'), (NULL, NULL, NULL, NULL, NULL)")
    assert sql(
        f"SELECT COUNT(*), COUNT(i), SUM(i), AVG(i), MIN(s), MAX(s), SUM(d), AVG(d), AVG(m), AVG(f) FROM {table}"
    ) == [(3, 2, 3, 1, "a", "B", D("3.01"), D("1.505000"), D("1.5000"), 1.5)]
    assert sql(f"SELECT COUNT(*), SUM(i), MIN(i) FROM {table} WHERE i > 5") == [(0, None, None)]


def test_groups_follow_the_collation(sql: Sql) -> None:
    source = "(VALUES (N'a', 1), (N'A ', 2), (N'b', 4)) AS v(k, n)"
    assert sql(f"SELECT MIN(k), SUM(n) FROM {source} GROUP BY k HAVING COUNT(*) > 1") == [("a", 3)]
    assert len(sql(f"SELECT DISTINCT k FROM {source}")) == 2


def test_joins_of_each_kind(sql: Sql) -> None:
    left, right = "(VALUES (1, 'a'), (2, 'b')) AS l(k, x)", "(VALUES (2, 'c'), (3, 'd')) AS r(k, y)"
    assert sql(f"SELECT l.k, y FROM {left} JOIN {right} ON l.k = r.k") == [(2, "c")]
    assert sql(f"SELECT l.k, y FROM {left} LEFT JOIN {right} ON l.k = r.k ORDER BY l.k") == [(1, None), (2, "c")]
    assert sql(f"SELECT l.k, r.k FROM {left} FULL JOIN {right} ON l.k = r.k ORDER BY r.k") == [
        (1, None),
        (2, 2),
        (None, 3),
    ]
    assert sql(f"SELECT r.k, x FROM {left} RIGHT JOIN {right} ON l.k = r.k ORDER BY r.k") == [(2, "b"), (3, None)]
    assert len(sql(f"SELECT * FROM {left} CROSS JOIN {right}")) == 4
    assert sql(f"SELECT l.k, r.k FROM {left}, {right} WHERE l.k > r.k - 1 AND x = 'b'") == [(2, 2)]


def test_top_offset_and_fetch_cut_the_ordered_rows(sql: Sql) -> None:
    source = "(VALUES (1), (2), (3), (4)) AS v(a)"
    assert sql(f"SELECT TOP (2) a FROM {source} ORDER BY a DESC") == [(4,), (3,)]
    assert sql(f"SELECT a FROM {source} ORDER BY a OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY") == [(2,), (3,)]


def test_several_statements_of_a_batch_answer_one_after_the_other(connect: Any) -> None:
    cursor = connect.odbc().execute(
        "SET NOCOUNT ON; DECLARE @a int = 2; SELECT @a; SELECT 'x' IF @@TRANCOUNT = 0 SELECT 3"
    )
    found = [cursor.fetchval()]
    while cursor.nextset():
        found.append(cursor.fetchval())
    assert found == [2, "x", 3]


@pytest.mark.parametrize(
    "statement",
    [
        "MERGE t USING s ON 1 = 1 WHEN MATCHED THEN DELETE", "SELECT ROW_NUMBER() OVER (ORDER BY name) FROM sys.types",
        "SELECT * FROM sys.types FOR JSON AUTO", "WITH c AS (SELECT 1 AS a) SELECT * FROM c",
        "SELECT STRING_AGG(name, ',') FROM sys.types",
        "SELECT * FROM OPENJSON('[]')", "SELECT FORMAT(1, 'N')", "SET ROWCOUNT 5", "SET ANSI_NULLS OFF",
        "SELECT 1 UNION SELECT 1", "CREATE TABLE #t (a int)", "SELECT TOP 5 PERCENT name FROM sys.types",
        "SELECT name FROM sys.types WITH (READPAST)", "CREATE PROCEDURE p AS SELECT 1", "SELECT 1 EXCEPT SELECT 2",
        "SELECT CONVERT(varchar(30), CAST('2024-01-01' AS date), 107)", "SELECT REPLACE('aA', 'a', 'b')",
        "SELECT CAST('01/02/2024' AS date)", "DBCC CHECKDB",
        "SELECT name FROM sys.tables t WHERE EXISTS (SELECT 1 FROM sys.columns c WHERE c.object_id = t.object_id)",
        "SELECT name FROM sys.tables WHERE name COLLATE Latin1_General_CI_AI LIKE 'a%'", "SET LANGUAGE german",
        "SELECT * FROM otherdb.dbo.t",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(
    connect: Any, error_number: Callable[..., int], statement: str
) -> None:
    assert error_number(connect.odbc(), statement) == 50000


def test_a_batch_with_a_piece_that_is_not_understood_does_nothing(
    connect: Any, sql: Sql, table: str, error_number: Callable[..., int]
) -> None:
    sql(f"CREATE TABLE {table} (a int)")
    assert error_number(connect.odbc(), f"INSERT INTO {table} VALUES (1); MERGE x") == 50000
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(0,)]
