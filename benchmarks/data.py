"""The tables that are copied: six plain columns, nineteen with large objects, and texts of 21 kB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

LOGIN = ("sa", "YourStrong@Passw0rd")
SINK = "host=127.0.0.1 port={port} user=etl_user password=etl_password dbname=sinkdb"

DEFINITIONS: dict[str, list[tuple[str, str, str]]] = {
    "narrow": [
        ("id", "bigint NOT NULL PRIMARY KEY", "bigint NOT NULL"),
        ("qty", "int NOT NULL", "integer NOT NULL"),
        ("code", "varchar(16) NOT NULL", "text NOT NULL"),
        ("amount", "decimal(18,4) NOT NULL", "numeric(18,4) NOT NULL"),
        ("at", "datetime2(6) NOT NULL", "timestamp(6) NOT NULL"),
        ("note", "nvarchar(100) NULL", "text"),
    ],
    "wide": [
        ("id", "bigint NOT NULL PRIMARY KEY", "bigint NOT NULL"),
        ("a_bit", "bit NOT NULL", "boolean NOT NULL"),
        ("a_tinyint", "tinyint NOT NULL", "smallint NOT NULL"),
        ("a_smallint", "smallint NOT NULL", "smallint NOT NULL"),
        ("an_int", "int NOT NULL", "integer NOT NULL"),
        ("a_decimal", "decimal(18,4) NOT NULL", "numeric(18,4) NOT NULL"),
        ("a_money", "money NOT NULL", "numeric(19,4) NOT NULL"),
        ("a_float", "float NOT NULL", "double precision NOT NULL"),
        ("a_real", "real NOT NULL", "real NOT NULL"),
        ("a_date", "date NOT NULL", "date NOT NULL"),
        ("a_time", "time(7) NOT NULL", "time(6) NOT NULL"),
        ("a_datetime", "datetime NOT NULL", "timestamp(3) NOT NULL"),
        ("a_datetime2", "datetime2(6) NOT NULL", "timestamp(6) NOT NULL"),
        ("an_offset", "datetimeoffset(6) NOT NULL", "timestamptz NOT NULL"),
        ("a_guid", "uniqueidentifier NOT NULL", "uuid NOT NULL"),
        ("a_varchar", "varchar(60) NOT NULL", "text NOT NULL"),
        ("an_nvarchar", "nvarchar(60) NULL", "text"),
        ("a_text", "nvarchar(max) NULL", "text"),
        ("a_blob", "varbinary(max) NULL", "bytea"),
    ],
    "texts": [
        ("id", "bigint NOT NULL PRIMARY KEY", "bigint NOT NULL"),
        ("body", "nvarchar(max) NOT NULL", "text NOT NULL"),
    ],
}
"""Table -> (column, SQL Server declaration, Postgres declaration)."""

COLUMNS = {table: [column for column, _, _ in columns] for table, columns in DEFINITIONS.items()}


def create_source_table(table: str) -> str:
    """CREATE TABLE for the source."""
    return f"CREATE TABLE dbo.{table} (" + ", ".join(f"{c} {kind}" for c, kind, _ in DEFINITIONS[table]) + ")"


def create_sink_table(name: str, table: str, sink_port: int) -> None:
    """Make the sink's table anew, without a key."""
    columns = ", ".join(f"{column} {kind}" for column, _, kind in DEFINITIONS[table])
    with psycopg.connect(SINK.format(port=sink_port), autocommit=True) as sink:
        sink.execute(f"DROP TABLE IF EXISTS {name}")
        sink.execute(f"CREATE TABLE {name} ({columns}, shard text NOT NULL)")


def insert_statements(table: str, rows: int) -> Iterator[str]:
    """T-SQL that fills a table on any server, 100,000 rows at a time, from a table of ten digits."""
    yield "IF OBJECT_ID(N'dbo.bench_digits', N'U') IS NOT NULL DROP TABLE dbo.bench_digits"
    yield "CREATE TABLE dbo.bench_digits (d int NOT NULL)"
    yield "INSERT INTO dbo.bench_digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)"
    digits = "a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d"
    tables = ", ".join(f"dbo.bench_digits {alias}" for alias in "abcef")
    for start in range(0, rows, 100_000):
        numbers = f"(SELECT {start} + {digits} AS n FROM {tables}) q"
        yield f"INSERT INTO dbo.{table} SELECT {_VALUES[table]} FROM {numbers} WHERE n < {rows}"


_VALUES: dict[str, Any] = {
    "narrow": (
        "n, n % 1000, 'C' + CAST(n % 100000 AS varchar(10)), CAST(n AS decimal(18,4)) / 7,"
        " DATEADD(second, n, CAST('2020-01-01' AS datetime2(6))), N'note ' + CAST(n AS nvarchar(10)) + N' - grün'"
    ),
    "wide": (
        "n, n % 2, n % 256, n % 30000, n, CAST(n AS decimal(18,4)) / 7, CAST(n AS money), CAST(n AS float) / 3,"
        " CAST(n AS real), DATEADD(day, n % 20000, CAST('1990-01-01' AS date)),"
        " CAST(DATEADD(second, n % 86400, CAST('2020-01-01' AS datetime)) AS time(6)),"
        " DATEADD(second, n, CAST('2020-01-01' AS datetime)), DATEADD(second, n, CAST('2020-01-01' AS datetime2(6))),"
        " CAST(DATEADD(second, n, CAST('2020-01-01' AS datetime2(6))) AS datetimeoffset(6)), NEWID(),"
        " 'value ' + CAST(n AS varchar(10)), N'größe ' + CAST(n AS nvarchar(10)),"
        " REPLICATE(CAST(N'text ü ' AS nvarchar(max)), 20), CAST(REPLICATE('0123456789', 20) AS varbinary(max))"
    ),
    "texts": "n, REPLICATE(CAST(N'lorem ipsum ' AS nvarchar(max)), 1750)",
}
