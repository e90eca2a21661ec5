"""Parameters: every way in which the drivers send them, and what a value becomes on its way in."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyodbc
import pytest

from tests.integration.standin.drivers import Drivers

Sql = Callable[..., list[Any]]
ROW = (
    7, 2**40, Decimal("-12.3400"), 0.1, "ж€😀", b"\0\xff", dt.date(1999, 12, 31), dt.time(23, 59, 59),
    dt.datetime(2024, 2, 29, 12, 34, 56, 123456), uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), True,
)  # fmt: skip
COLUMNS = (
    "a int, b bigint, c decimal(10,4), d float, e nvarchar(20), f varbinary(10), g date, h time(7), i datetime2(7), "
    "j uniqueidentifier, k bit"
)
MARKS = ", ".join("?" * len(ROW))


@pytest.fixture
def rows_table(sql: Sql, table: str) -> str:
    sql(f"CREATE TABLE {table} (id int IDENTITY(1,1) PRIMARY KEY, {COLUMNS})")
    return table


def _insert(table: str) -> str:
    return f"INSERT INTO {table} (a, b, c, d, e, f, g, h, i, j, k) VALUES ({MARKS})"


def _stored(sql: Sql, table: str) -> list[tuple[Any, ...]]:
    rows = sql(f"SELECT a, b, c, d, e, f, g, h, i, j, k FROM {table} ORDER BY id")
    return [(*row[:9], row[9] and uuid.UUID(row[9]), row[10]) for row in rows]


def test_pyodbc_parameters_arrive_as_they_are(connect: Drivers, sql: Sql, rows_table: str) -> None:
    connect.odbc().execute(_insert(rows_table), ROW)
    assert _stored(sql, rows_table) == [ROW]


def test_null_parameters_arrive_as_null(connect: Drivers, sql: Sql, rows_table: str) -> None:
    connection = connect.odbc()
    values = ", ".join(
        "CONVERT(varbinary(10), ?)" if column.split()[1].startswith("varbinary") else "?"
        for column in COLUMNS.replace("(10,4)", "").split(", ")
    )
    connection.execute(f"INSERT INTO {rows_table} (a, b, c, d, e, f, g, h, i, j, k) VALUES ({values})", [None] * 11)
    assert _stored(sql, rows_table) == [(None,) * 11]


def test_mssql_python_parameters_arrive_as_they_are(connect: Drivers, sql: Sql, rows_table: str) -> None:
    connect.mssql().cursor().execute(_insert(rows_table), ROW)
    assert _stored(sql, rows_table) == [ROW]


def test_freetds_parameters_arrive_as_they_are(connect: Drivers, sql: Sql, table: str) -> None:
    sql(
        f"CREATE TABLE {table} (a int, b bigint, c decimal(10,4), d float, e nvarchar(20), f "
        "varbinary(10), i datetime2(3))"
    )
    values = (7, 2**40, Decimal("-12.3400"), 0.1, "ж€", b"\0\xff", dt.datetime(2024, 2, 29, 12, 34, 56, 123000))
    connect.freetds().execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    assert sql(f"SELECT * FROM {table}") == [values]


@pytest.mark.parametrize("fast", [False, True])
def test_executemany_of_pyodbc_inserts_every_row(connect: Drivers, sql: Sql, rows_table: str, fast: bool) -> None:
    cursor = connect.odbc(autocommit=False).cursor()
    cursor.fast_executemany = fast
    rows = [(number, *ROW[1:]) for number in range(100)]
    cursor.executemany(_insert(rows_table), rows)
    cursor.connection.commit()
    assert _stored(sql, rows_table) == rows


def test_executemany_of_mssql_python_inserts_every_row(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a int, e nvarchar(20))")
    connection = connect.mssql(autocommit=False)
    connection.cursor().executemany(f"INSERT INTO {table} VALUES (?, ?)", [(n, f"n{n}") for n in range(50)])
    connection.commit()
    assert sql(f"SELECT COUNT(*), MIN(e), MAX(a) FROM {table}") == [(50, "n0", 49)]


def test_a_duplicate_in_fast_executemany_is_told(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a int PRIMARY KEY)")
    cursor = connect.odbc(autocommit=False).cursor()
    cursor.fast_executemany = True
    with pytest.raises(pyodbc.IntegrityError, match="Violation of PRIMARY KEY"):
        cursor.executemany(f"INSERT INTO {table} VALUES (?)", [(1,), (2,), (1,)])
    cursor.connection.rollback()
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_statement_prepared_once_runs_often(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a int, e nvarchar(50))")
    cursor = connect.odbc().cursor()
    for number in range(20):
        cursor.execute(f"INSERT INTO {table} VALUES (?, ?)", number, "x" * number)
    assert [
        cursor.execute(f"SELECT COUNT(*) FROM {table} WHERE a < ?", number).fetchval() for number in range(5)
    ] == list(range(5))


@pytest.mark.parametrize("size", [10, 4000, 4001, 100_000])
def test_large_parameters_arrive_whole(connect: Drivers, sql: Sql, table: str, size: int) -> None:
    sql(f"CREATE TABLE {table} (a nvarchar(max), b varbinary(max))")
    connect.odbc().execute(f"INSERT INTO {table} VALUES (?, ?)", "ж" * size, b"\xff" * size)
    assert sql(f"SELECT a, b FROM {table}") == [("ж" * size, b"\xff" * size)]


def test_sp_executesql_binds_by_name_and_type(sql: Sql) -> None:
    assert sql(
        "EXEC sp_executesql N'SELECT @a + 1, @b', N'@a int, @b nvarchar(10)', @b = N'x', @a = 41"
    ) == [(42, "x")]  # fmt: skip


def test_parameters_keep_seven_digits_when_they_are_text_converted_by_the_server(one: Callable[..., Any]) -> None:
    text = "2024-02-29 12:34:56.1234567"
    assert one("SELECT CONVERT(varchar(40), CONVERT(datetime2(7), ?, 121), 121)", text) == text


def test_a_missing_declaration_is_137(connect: Drivers, error_number: Callable[..., int]) -> None:
    assert error_number(connect.odbc(), "SELECT @nothing") == 137
