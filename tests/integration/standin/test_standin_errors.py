"""Errors carry SQL Server's numbers and, through the driver, its SQLSTATE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.standin.drivers import Drivers

Sql = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("SELECT * FROM dbo.nowhere", 208), ("SELECT nothing FROM sys.types", 207), ("SELECT 1 +", 102),
        ("SELEC 1", 2812),
        ("SELECT FROM", 102), ("SELECT 'open", 105), ("SELECT CAST('x' AS int)", 245),
        ("SELECT CAST('x' AS decimal(5,2))", 8114), ("SELECT CAST('x' AS date)", 241),
        ("SELECT DATEPART(tzoffset, CAST('2024-02-29' AS date))", 9810),
        ("SELECT CAST(300 AS tinyint)", 220),
        ("SELECT CAST(3000000000 AS int)", 8115), ("SELECT CAST(1000 AS decimal(2,0))", 8115), ("SELECT 1 / 0", 8134),
        ("SELECT 2147483647 + 1", 8115), ("EXEC nothing_of_that_name", 2812), ("nothing_of_that_name", 2812),
        ("SELECT CAST('x' AS uniqueidentifier)", 8169), ("COMMIT", 3902), ("ROLLBACK", 3903), ("USE nowhere", 911),
        ("SELECT t.name FROM sys.types", 4104), ("SELECT name FROM sys.types a, sys.types b", 209),
        ("SELECT name, COUNT(*) FROM sys.types", 8120), ("SELECT CAST(1 AS xml)", 529),
        ("DROP TABLE dbo.nowhere", 3701),
        ("CREATE TABLE dbo.x (a nothing)", 2715), ("SELECT SUM(name) FROM sys.types", 8117),
        ("SELECT (SELECT name FROM sys.types)", 512), ("RAISERROR('own', 16, 1)", 50000),
    ],
)  # fmt: skip
def test_a_failing_statement_has_the_number_of_sql_server(
    connect: Drivers, error_number: Callable[..., int], statement: str, number: int
) -> None:
    assert error_number(connect.odbc(), statement) == number


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("INSERT INTO {t} (a, b, c) VALUES (1, 'x', 1)", 2627), ("INSERT INTO {t} (a, b, c) VALUES (2, 'X', 5)", 2601),
        ("INSERT INTO {t} (a, b, c) VALUES (3, NULL, 3)", 515),
        ("INSERT INTO {t} (a, b, c) VALUES (3, 'too long', 3)", 2628),
        ("UPDATE {t} SET a = 1 WHERE a = 4", 2627), ("UPDATE {t} SET b = NULL", 515),
        ("INSERT INTO {t} (a, b, c) VALUES (3, 'y', 300)", 220), ("INSERT INTO {t} (id, a) VALUES (1, 1)", 544),
        ("INSERT INTO {t} (a, rv) VALUES (1, 0x01)", 273), ("UPDATE {t} SET double = 1", 271),
        ("INSERT INTO {t} (nothing) VALUES (1)", 207), ("CREATE TABLE {t} (a int)", 2714),
        ("ALTER TABLE {t} DROP COLUMN a", 5074), ("CREATE UNIQUE INDEX u ON {t} (d)", 1505),
    ],
)  # fmt: skip
def test_a_refused_row_has_the_number_of_sql_server_and_changes_nothing(
    connect: Drivers, sql: Sql, table: str, error_number: Callable[..., int], statement: str, number: int
) -> None:
    sql(
        f"CREATE TABLE {table} (id int IDENTITY(1,1), a int NOT NULL PRIMARY KEY, b nvarchar(5) NOT NULL, c tinyint, "
        "d int NULL, rv rowversion, double AS (a * 2))"
    )
    sql(f"CREATE UNIQUE INDEX ix ON {table} (b)")
    sql(f"INSERT INTO {table} (a, b, c) VALUES (1, N'x', 1), (4, N'z', 1)")
    before = sql(f"SELECT * FROM {table}")
    assert error_number(connect.odbc(), statement.format(t=table)) == number
    assert sql(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {t} (b) VALUES ('x')",
        "INSERT INTO {t} (s) VALUES (CAST(1 AS money))",
        "INSERT INTO {t} (n) VALUES (CAST('2024-01-01' AS datetime2))",
        "UPDATE {t} SET s = v",
    ],
)
def test_a_conversion_that_wants_convert_is_257(
    connect: Drivers, sql: Sql, table: str, error_number: Callable[..., int], statement: str
) -> None:
    sql(f"CREATE TABLE {table} (b varbinary(5), s nvarchar(20), n int, v sql_variant, d date)")
    assert error_number(connect.odbc(), statement.format(t=table)) == 257
    sql(f"INSERT INTO {table} (b, s, n, v, d) SELECT NULL, NULL, NULL, NULL, NULL")


def test_a_login_without_the_right_is_229(
    connect: Drivers, sql: Sql, table: str, error_number: Callable[..., int]
) -> None:
    name = table.replace("dbo.", "reader_")
    sql(f"CREATE TABLE {table} (a int); CREATE TABLE {table}_open (a int)")
    sql(f"CREATE LOGIN {name} WITH PASSWORD = 'Pass.word1'; CREATE USER {name} FOR LOGIN {name}")
    sql(f"GRANT SELECT ON {table}_open TO {name}")
    reader = connect.odbc(UID=name, PWD="Pass.word1")
    assert reader.execute(f"SELECT COUNT(*) FROM {table}_open").fetchval() == 0
    assert error_number(reader, f"SELECT * FROM {table}") == 229
    assert error_number(reader, f"INSERT INTO {table}_open VALUES (1)") == 229
    assert [row[0] for row in reader.execute("SELECT name FROM sys.tables")] == [f"{table}_open".removeprefix("dbo.")]
    assert reader.execute(f"SELECT HAS_PERMS_BY_NAME('{table}_open', 'OBJECT', 'SELECT')").fetchval() == 1
    assert reader.execute(f"SELECT HAS_PERMS_BY_NAME('{table}', 'OBJECT', 'SELECT')").fetchval() == 0
    sql(f"DENY SELECT ON {table}_open TO {name}")
    assert error_number(reader, f"SELECT * FROM {table}_open") == 229


def test_the_line_of_an_error_is_told(connect: Drivers) -> None:
    cursor = connect.freetds().cursor()
    with pytest.raises(Exception, match="Incorrect syntax near 'nonsense'"):
        cursor.execute("SELECT 1\nFROM sys.types nonsense nonsense")


def test_statements_after_a_statement_error_still_run(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a int PRIMARY KEY)")
    with pytest.raises(Exception, match="duplicate key"):
        connect.odbc().execute(f"INSERT INTO {table} VALUES (1), (1); INSERT INTO {table} VALUES (2)")
    assert sql(f"SELECT a FROM {table}") == [(2,)]


def test_a_conversion_error_ends_the_batch_and_the_transaction(
    connect: Drivers, sql: Sql, table: str, error_number: Callable[..., int]
) -> None:
    sql(f"CREATE TABLE {table} (a int)")
    connection = connect.odbc()
    batch = (
        f"BEGIN TRAN; INSERT INTO {table} VALUES (1); INSERT INTO {table} VALUES ('x'); INSERT INTO {table} VALUES (2)"
    )
    assert error_number(connection, batch) == 245
    assert connection.execute("SELECT @@TRANCOUNT").fetchval() == 0
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_an_error_of_mssql_python_carries_the_text(connect: Drivers) -> None:
    cursor = connect.mssql().cursor()
    with pytest.raises(Exception, match=r"Invalid object name 'dbo\.nowhere'"):
        cursor.execute("SELECT * FROM dbo.nowhere")
