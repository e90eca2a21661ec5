"""The catalogue tells what DDL made, in SQL Server's columns and types; and DDL does what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyodbc
import pytest

from tests.integration.standin.drivers import Drivers

Sql = Callable[..., list[Any]]


@pytest.fixture
def made(sql: Sql, table: str) -> str:
    """A table with a bit of everything; returns its own name."""
    name = table.removeprefix("dbo.")
    sql(
        f"CREATE TABLE {table} (id bigint NOT NULL IDENTITY(10,2), shard int NOT NULL, name nvarchar(50) "
        "NOT NULL DEFAULT N'x', "
        "price decimal(18,4) NULL, note varchar(max) COLLATE Latin1_General_BIN2 NULL, at datetimeoffset(3) NULL, "
        f"total AS (price * 2) PERSISTED, rv rowversion, CONSTRAINT pk_{name} PRIMARY KEY CLUSTERED (id, shard), "
        f"CONSTRAINT uq_{name} UNIQUE (name DESC))"
    )
    sql(f"CREATE INDEX ix_{name} ON {table} (price DESC, at) INCLUDE (name)")
    sql(f"INSERT INTO {table} (shard, name) VALUES (1, N'a'), (1, N'b')")
    return name


def test_columns_are_told_with_their_types(sql: Sql, made: str) -> None:
    assert sql(
        "SELECT c.name, t.name, c.max_length, c.precision, c.scale, c.is_nullable, c.is_identity, c.is_computed, "
        "c.collation_name FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id "
        f"WHERE c.object_id = OBJECT_ID(N'dbo.{made}') ORDER BY c.column_id"
    ) == [
        ("id", "bigint", 8, 19, 0, False, True, False, None), ("shard", "int", 4, 10, 0, False, False, False, None),
        ("name", "nvarchar", 100, 0, 0, False, False, False, "SQL_Latin1_General_CP1_CI_AS"),
        ("price", "decimal", 9, 18, 4, True, False, False, None),
        ("note", "varchar", -1, 0, 0, True, False, False, "Latin1_General_BIN2"),
        ("at", "datetimeoffset", 9, 30, 3, True, False, False, None),
        ("total", "numeric", 13, 20, 4, True, False, True, None), ("rv",
        "timestamp", 8, 0, 0, False, False, False, None),
    ]  # fmt: skip


def test_keys_and_indexes_are_told_in_their_order(sql: Sql, made: str) -> None:
    assert sql(
        "SELECT i.name, i.index_id, i.type_desc, i.is_unique, i.is_primary_key, i.is_unique_constraint, "
        "ic.key_ordinal, "
        "c.name, ic.is_descending_key, ic.is_included_column FROM sys.indexes i "
        "JOIN sys.index_columns ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id "
        "JOIN sys.columns c ON c.object_id = ic.object_id AND c.column_id = ic.column_id "
        f"WHERE i.object_id = OBJECT_ID(N'dbo.{made}') ORDER BY i.index_id, ic.index_column_id"
    ) == [
        (f"pk_{made}", 1, "CLUSTERED", True, True, False, 1, "id", False, False),
        (f"pk_{made}", 1, "CLUSTERED", True, True, False, 2, "shard", False, False),
        (f"uq_{made}", 2, "NONCLUSTERED", True, False, True, 1, "name", True, False),
        (f"ix_{made}", 3, "NONCLUSTERED", False, False, False, 1, "price", True, False),
        (f"ix_{made}", 3, "NONCLUSTERED", False, False, False, 2, "at", False, False),
        (f"ix_{made}", 3, "NONCLUSTERED", False, False, False, 0, "name", False, True),
    ]
    assert sql(
        f"SELECT k.name, k.type, i.name FROM sys.key_constraints k JOIN sys.indexes i ON i.object_id = "
        "k.parent_object_id "
        f"AND i.index_id = k.unique_index_id WHERE k.parent_object_id = OBJECT_ID(N'dbo.{made}') ORDER BY k.type"
    ) == [(f"pk_{made}", "PK", f"pk_{made}"), (f"uq_{made}", "UQ", f"uq_{made}")]


def test_information_schema_tells_the_same(sql: Sql, made: str) -> None:
    assert sql(
        "SELECT u.COLUMN_NAME, u.ORDINAL_POSITION FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS c "
        "JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE u ON u.CONSTRAINT_NAME = c.CONSTRAINT_NAME "
        f"WHERE c.TABLE_NAME = '{made}' AND c.CONSTRAINT_TYPE = 'PRIMARY KEY' ORDER BY u.ORDINAL_POSITION"
    ) == [("id", 1), ("shard", 2)]
    rows = sql(
        "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, "
        f"DATETIME_PRECISION FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = '{made}' ORDER BY ORDINAL_POSITION"
    )
    assert rows[2:6] == [
        ("name", "nvarchar", "NO", 50, None, None, None), ("price", "decimal", "YES", None, 18, 4, None),
        ("note", "varchar", "YES", -1, None, None, None), ("at", "datetimeoffset", "YES", None, None, None, 3),
    ]  # fmt: skip


def test_computed_identity_and_default_are_told(sql: Sql, made: str) -> None:
    where = f"WHERE object_id = OBJECT_ID(N'dbo.{made}')"
    assert sql(f"SELECT name, definition, is_persisted FROM sys.computed_columns {where}") == [
        ("total", "(price * 2)", True)
    ]
    assert sql(
        f"SELECT name, CAST(seed_value AS int), CAST(increment_value AS int), CAST(last_value AS int) "
        f"FROM sys.identity_columns {where}"
    ) == [("id", 10, 2, 12)]
    assert sql(
        "SELECT c.name, d.definition FROM sys.default_constraints d JOIN sys.columns c ON "
        "c.default_object_id = d.object_id "
        f"WHERE d.parent_object_id = OBJECT_ID(N'dbo.{made}')"
    ) == [("name", "(N'x')")]


def test_row_counts_are_told(sql: Sql, made: str) -> None:
    assert sql(
        f"SELECT index_id, rows FROM sys.partitions WHERE object_id = OBJECT_ID(N'dbo.{made}') ORDER BY index_id"
    ) == [(1, 2), (2, 2), (3, 2)]
    [(count, used)] = sql(
        "SELECT SUM(row_count), SUM(used_page_count) FROM sys.dm_db_partition_stats "
        f"WHERE object_id = OBJECT_ID(N'dbo.{made}') AND index_id IN (0, 1)"
    )
    assert (count, used) == (2, 1)


def test_comments_are_extended_properties(sql: Sql, made: str) -> None:
    add = "EXEC sys.sp_addextendedproperty N'MS_Description', N'{}', N'SCHEMA', N'dbo', N'TABLE', N'{}'"
    sql(add.format("the table", made))
    sql(add.format("the id", made) + ", N'COLUMN', N'id'")
    sql(
        "EXEC sp_addextendedproperty @name = N'MS_Description', @value = N'the name', @level0type = N'SCHEMA', "
        f"@level0name = dbo, @level1type = N'TABLE', @level1name = {made}, @level2type = N'COLUMN', @level2name = name"
    )
    query = (
        "SELECT minor_id, CAST(value AS nvarchar(200)) FROM sys.extended_properties "
        f"WHERE class = 1 AND major_id = OBJECT_ID(N'dbo.{made}') AND name = N'MS_Description' ORDER BY minor_id"
    )
    assert sql(query) == [(0, "the table"), (1, "the id"), (3, "the name")]
    sql(f"DROP TABLE dbo.{made}")
    assert sql(query) == []


def test_an_extended_property_may_be_added_by_a_remote_procedure_call(connect: Drivers, sql: Sql, made: str) -> None:
    connect.odbc().execute(
        "{CALL sp_addextendedproperty (?, ?, ?, ?, ?, ?)}", "MS_Description", "by call", "SCHEMA", "dbo", "TABLE", made
    )
    assert sql(
        f"SELECT CAST(value AS nvarchar(50)) FROM sys.extended_properties WHERE major_id = OBJECT_ID(N'dbo.{made}')"
    ) == [("by call",)]


def test_databases_tell_their_options(connect: Drivers, sql: Sql) -> None:
    sql("CREATE DATABASE optional")
    query = (
        "SELECT snapshot_isolation_state, snapshot_isolation_state_desc, is_read_committed_snapshot_on, "
        "collation_name, "
        "compatibility_level FROM sys.databases WHERE name = 'optional'"
    )
    assert sql(query) == [(1, "ON", False, "SQL_Latin1_General_CP1_CI_AS", 160)]
    sql("ALTER DATABASE optional SET ALLOW_SNAPSHOT_ISOLATION OFF")
    sql("ALTER DATABASE optional SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE")
    assert sql(query)[0][:3] == (0, "OFF", True)
    connection = connect.odbc()
    connection.execute("USE optional")
    assert connection.execute("SELECT DB_NAME(), COUNT(*) FROM sys.tables").fetchone()[0] == "optional"
    assert connect.odbc(DATABASE="optional").execute("SELECT DB_NAME()").fetchval() == "optional"


def test_views_are_read_and_told(sql: Sql, made: str) -> None:
    sql(f"CREATE VIEW dbo.v_{made} AS SELECT id, name AS title FROM dbo.{made} WHERE name = N'a'")
    assert sql(f"SELECT title FROM dbo.v_{made}") == [("a",)]
    assert sql(f"SELECT name, column_id FROM sys.columns WHERE object_id = OBJECT_ID(N'dbo.v_{made}', N'V')") == [
        ("id", 1),
        ("title", 2),
    ]
    assert sql(f"SELECT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'v_{made}'") == [("VIEW",)]


def test_names_are_found_in_any_case_and_quoting(sql: Sql, made: str) -> None:
    for name in (made.upper(), f"[{made}]", f'"{made}"', f"DBO.{made}", f"sourcedb.dbo.{made}", f"sourcedb..{made}"):
        assert sql(f"SELECT COUNT(*) FROM {name}") == [(2,)]
    assert sql(f"SELECT T.NAME, [t].[Id] FROM {made} AS T WHERE t.id = 10") == [("a", 10)]


def test_odd_names_are_kept(sql: Sql, table: str) -> None:
    name = f"odd ]]name's {table}"
    sql(f"CREATE TABLE dbo.[{name}] ([select] int, [a]]b] int, [Ünï] int)")
    assert sql(f"SELECT [select], [A]]B], [ÜNÏ] FROM dbo.[{name}]") == []
    assert sql("SELECT name FROM sys.tables WHERE name LIKE N'odd %' ") == [(name.replace("]]", "]"),)]


def test_alter_table_adds_changes_and_drops_columns(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, v varchar(5) NOT NULL)")
    sql(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    sql(f"ALTER TABLE {table} ADD n int NULL, d nvarchar(5) NOT NULL DEFAULT N'x'")
    assert sql(f"SELECT * FROM {table}") == [(1, "a", None, "x"), (2, "b", None, "x")]
    sql(f"ALTER TABLE {table} ALTER COLUMN v nvarchar(50) NULL")
    sql(f"INSERT INTO {table} (id, v) VALUES (3, NULL)")
    sql(f"ALTER TABLE {table} DROP COLUMN n")
    assert sql(f"SELECT * FROM {table} ORDER BY id DESC") == [(3, None, "x"), (2, "b", "x"), (1, "a", "x")]
    assert sql(f"SELECT column_id FROM sys.columns WHERE object_id = OBJECT_ID('{table}') ORDER BY 1") == [
        (1,),
        (2,),
        (4,),
    ]


def test_if_object_id_drops_only_what_is_there(sql: Sql, table: str) -> None:
    statement = f"IF OBJECT_ID(N'{table}', N'U') IS NOT NULL DROP TABLE {table}"
    sql(statement)
    sql(f"CREATE TABLE {table} (a int)")
    sql(statement)
    sql(f"DROP TABLE IF EXISTS {table}")
    assert sql(f"SELECT OBJECT_ID(N'{table}')") == [(None,)]


def test_truncate_empties_and_starts_identity_anew(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int IDENTITY(1,1) PRIMARY KEY, v int); INSERT INTO {table} (v) VALUES (1), (2)")
    sql(f"TRUNCATE TABLE {table}; INSERT INTO {table} (v) VALUES (3)")
    assert sql(f"SELECT id, v FROM {table}") == [(1, 3)]


def test_identity_insert_takes_explicit_values(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int IDENTITY(1,1) PRIMARY KEY, v int)")
    sql(f"SET IDENTITY_INSERT {table} ON; INSERT INTO {table} (id, v) VALUES (50, 1); SET IDENTITY_INSERT {table} OFF")
    sql(f"INSERT INTO {table} (v) VALUES (2)")
    assert sql(f"SELECT id FROM {table} ORDER BY id") == [(50,), (51,)]


def test_insert_takes_defaults(sql: Sql, table: str) -> None:
    sql(
        f"CREATE TABLE {table} (a int NOT NULL DEFAULT 5, b datetime2(3) DEFAULT SYSUTCDATETIME(), c "
        "varchar(5) DEFAULT 'x')"
    )
    sql(f"INSERT INTO {table} DEFAULT VALUES; INSERT INTO {table} (a, c) VALUES (DEFAULT, NULL)")
    assert sql(f"SELECT a, CASE WHEN b IS NULL THEN 0 ELSE 1 END, c FROM {table}") == [(5, 1, "x"), (5, 1, None)]


def test_the_drivers_own_catalogue_calls_fail_by_name(connect: Drivers) -> None:
    with pytest.raises(pyodbc.Error, match="could not be found on the server"):
        connect.odbc().cursor().tables()
