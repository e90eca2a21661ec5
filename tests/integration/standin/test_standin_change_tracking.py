"""Change Tracking: versions, net changes, what each isolation level sees, and the refusals of SQL Server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pyodbc
import pytest

from etl_cli.sandbox.standin import StandIn, StandInProcess
from tests.integration.standin.drivers import Drivers, microsoft_driver

ON = "ALTER DATABASE [sourcedb] SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)"


@pytest.fixture(scope="module")
def server() -> Iterator[StandInProcess]:
    with StandInProcess() as server:
        server.execute(ON)
        yield server


@pytest.fixture
def connect(server: StandInProcess) -> Iterator[Drivers]:
    """Connections to the stand-in of this module, whose database is tracked."""
    with ExitStack() as stack:
        yield Drivers(server, stack)


@pytest.fixture
def tracked(sql: Callable[..., list[Any]], table: str) -> str:
    """A tracked table with rows 1 and 2, inserted before the tracking began."""
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL, n int NULL)")
    sql(f"INSERT INTO {table} VALUES (1, N'one', 1), (2, N'two', 2)")
    sql(f"ALTER TABLE {table} ENABLE CHANGE_TRACKING")
    return table


class Changes:
    """Asks for the changes of one table."""

    def __init__(self, sql: Callable[..., list[Any]], table: str) -> None:
        self.sql = sql
        self.table = table

    def version(self) -> int:
        return int(self.sql("SELECT CHANGE_TRACKING_CURRENT_VERSION()")[0][0])

    def min_valid(self) -> int:
        return int(self.sql(f"SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{self.table}'))")[0][0])

    def since(self, version: int | None) -> list[Any]:
        """Version (counted from the one given), operation and key of each change."""
        number = "NULL" if version is None else version
        found = self.sql(
            f"SELECT ct.SYS_CHANGE_VERSION, ct.SYS_CHANGE_OPERATION, ct.[id] FROM CHANGETABLE(CHANGES {self.table}, "
            f"{number}) AS ct ORDER BY ct.[id]"
        )
        return [(at - (version or 0), operation, key) for at, operation, key in found]


@pytest.fixture
def changes(sql: Callable[..., list[Any]], tracked: str) -> Changes:
    return Changes(sql, tracked)


Sql = Callable[..., list[Any]]


def test_the_version_grows_by_one_with_each_commit_that_changed_a_tracked_table(
    connect: Drivers, sql: Sql, changes: Changes
) -> None:
    table, start = changes.table, changes.version()
    sql(f"CREATE TABLE {table}_untracked (id int PRIMARY KEY); INSERT INTO {table}_untracked VALUES (1)")
    sql(f"UPDATE {table} SET n = 5 WHERE id = 99")
    assert changes.version() == start
    sql(f"INSERT INTO {table} VALUES (3, N'three', 3), (4, N'four', 4)")
    assert changes.version() == start + 1
    writer = connect.odbc(autocommit=False)
    writer.execute(f"UPDATE {table} SET n = 5 WHERE id = 1")
    writer.execute(f"DELETE FROM {table} WHERE id = 2")
    assert changes.version() == start + 1
    assert changes.since(start) == [(1, "I", 3), (1, "I", 4)]
    writer.commit()
    assert changes.version() == start + 2
    assert changes.since(start) == [(2, "U", 1), (2, "D", 2), (1, "I", 3), (1, "I", 4)]
    writer.execute(f"DELETE FROM {table}")
    writer.rollback()
    assert changes.version() == start + 2


def test_changes_are_net_and_relative_to_the_version_asked_for(sql: Sql, changes: Changes) -> None:
    table, start = changes.table, changes.version()
    sql(f"INSERT INTO {table} VALUES (3, N'a', 0), (4, N'b', 0), (5, N'c', 0)")
    sql(f"UPDATE {table} SET n = 1 WHERE id IN (1, 3)")
    sql(f"DELETE FROM {table} WHERE id IN (2, 4)")
    sql(f"INSERT INTO {table} VALUES (2, N'again', 0)")
    assert changes.since(start) == [(2, "U", 1), (4, "U", 2), (2, "I", 3), (3, "D", 4), (1, "I", 5)]
    assert changes.since(start + 1) == [(1, "U", 1), (3, "U", 2), (1, "U", 3), (2, "D", 4)]
    assert changes.since(start + 3) == [(1, "I", 2)]
    assert changes.since(start + 4) == []
    assert [row[1:] for row in changes.since(None)] == [row[1:] for row in changes.since(start)]


def test_a_row_inserted_and_deleted_in_one_transaction_is_told_as_deleted(connect: Drivers, changes: Changes) -> None:
    start, writer = changes.version(), connect.odbc(autocommit=False)
    writer.execute(f"INSERT INTO {changes.table} VALUES (7, N'x', 0)")
    writer.execute(f"DELETE FROM {changes.table} WHERE id = 7")
    writer.commit()
    assert changes.since(start) == [(1, "D", 7)]


def test_what_a_savepoint_takes_back_is_not_told(sql: Sql, changes: Changes) -> None:
    start = changes.version()
    sql(
        f"BEGIN TRAN; UPDATE {changes.table} SET n = 9 WHERE id = 1; SAVE TRAN s; DELETE FROM {changes.table}; "
        "ROLLBACK TRAN s; COMMIT"
    )
    assert changes.since(start) == [(1, "U", 1)]


def test_a_new_key_is_a_deletion_and_an_insertion(sql: Sql, changes: Changes) -> None:
    start = changes.version()
    sql(f"UPDATE {changes.table} SET id = 11 WHERE id = 1")
    assert changes.since(start) == [(1, "D", 1), (1, "I", 11)]
    sql(f"UPDATE {changes.table} SET id = 13 - id")  # 11 and 2 change places
    assert changes.since(start + 1) == [(1, "U", 2), (1, "U", 11)]


def test_changetable_has_the_columns_and_types_of_sql_server(connect: Drivers, sql: Sql, changes: Changes) -> None:
    start = changes.version()
    sql(f"INSERT INTO {changes.table} VALUES (3, N'x', 0)")
    sql(f"UPDATE {changes.table} SET n = 1 WHERE id = 3")
    cursor = connect.odbc().execute(f"SELECT * FROM CHANGETABLE(CHANGES {changes.table}, {start}) AS ct")
    assert [(item[0], item[1], item[3]) for item in cursor.description] == [
        ("SYS_CHANGE_VERSION", int, 19), ("SYS_CHANGE_CREATION_VERSION", int, 19), ("SYS_CHANGE_OPERATION", str, 1),
        ("SYS_CHANGE_COLUMNS", bytearray, 4100), ("SYS_CHANGE_CONTEXT", bytearray, 128), ("id", int, 10),
    ]  # fmt: skip
    assert [tuple(row) for row in cursor.fetchall()] == [(start + 2, start + 1, "I", None, None, 3)]
    renamed = f"SELECT k FROM CHANGETABLE(CHANGES {changes.table}, ?) ct (v, c, o, m, x, k)"
    assert sql(renamed, start) == [(3,)]


def test_changes_join_with_the_table_and_are_counted(sql: Sql, changes: Changes) -> None:
    table, start = changes.table, changes.version()
    sql(f"UPDATE {table} SET name = N'ONE' WHERE id = 1")
    sql(f"DELETE FROM {table} WHERE id = 2")
    sql(f"INSERT INTO {table} VALUES (3, N'later', 0)")
    source = (
        f"FROM CHANGETABLE(CHANGES {table}, {start}) AS ct LEFT JOIN {table} AS t ON t.[id] = ct.[id] "
        f"WHERE ct.SYS_CHANGE_VERSION <= {start + 2}"
    )
    assert sql(
        f"SELECT ct.SYS_CHANGE_OPERATION AS [__etl_operation], ct.[id] AS [id], t.[name] AS [name] {source} "
        "ORDER BY ct.[id]"
    ) == [("U", 1, "ONE"), ("D", 2, None)]
    assert sql(f"SELECT COUNT_BIG(*) {source}") == [(2,)]


def test_changes_join_with_a_loaded_table_by_a_key_of_two_columns(server: StandInProcess, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (a bigint NOT NULL, b varchar(9) NOT NULL, c int, PRIMARY KEY (a, b))")
    sql(f"ALTER TABLE {table} ENABLE CHANGE_TRACKING")
    start = Changes(sql, table).version()
    sql(f"INSERT INTO {table} VALUES (1, 'x', 5), (1, 'Y', 6), (2, 'x', 7)")
    sql(f"DELETE FROM {table} WHERE a = 2")
    assert sql(
        f"SELECT ct.SYS_CHANGE_OPERATION, ct.a, ct.b, t.c FROM CHANGETABLE(CHANGES {table}, {start}) AS ct "
        f"LEFT JOIN {table} AS t ON t.a = ct.a AND t.b = ct.b ORDER BY ct.a, ct.b"
    ) == [("I", 1, "x", 5), ("I", 1, "Y", 6), ("D", 2, "x", None)]
    sql(f"UPDATE {table} SET b = 'X' WHERE b = 'x'")  # the same key under the collation
    assert sql(f"SELECT SYS_CHANGE_OPERATION, a, b FROM CHANGETABLE(CHANGES {table}, {start + 2}) AS ct") == [
        ("U", 1, "X")
    ]


def test_a_snapshot_sees_the_version_and_the_rows_of_one_moment(connect: Drivers, sql: Sql, changes: Changes) -> None:
    table, start = changes.table, changes.version()
    sql(f"UPDATE {table} SET n = 10 WHERE id = 1")
    reader = connect.odbc()
    reader.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN")
    assert reader.execute("SELECT CHANGE_TRACKING_CURRENT_VERSION()").fetchval() == start + 1
    sql(f"UPDATE {table} SET n = 20 WHERE id IN (1, 2)")
    sql(f"TRUNCATE TABLE {table}")
    query = (
        f"SELECT ct.SYS_CHANGE_VERSION, ct.id, t.n FROM CHANGETABLE(CHANGES {table}, {start}) AS ct "
        f"LEFT JOIN {table} AS t ON t.id = ct.id"
    )
    assert [tuple(row) for row in reader.execute(query).fetchall()] == [(start + 1, 1, 10)]
    assert reader.execute("SELECT CHANGE_TRACKING_CURRENT_VERSION()").fetchval() == start + 1
    reader.execute("COMMIT")
    assert reader.execute(query).fetchall() == []


def test_expired_changes_move_the_lowest_valid_version(server: StandInProcess, sql: Sql, changes: Changes) -> None:
    start = changes.version()
    assert changes.min_valid() == start
    sql(f"UPDATE {changes.table} SET n = 10 WHERE id = 1")
    sql(f"UPDATE {changes.table} SET n = 10 WHERE id = 2")
    assert server.expire_changes(changes.table) == start + 2
    assert changes.min_valid() == start + 2
    assert changes.since(start) == []
    sql(f"UPDATE {changes.table} SET n = 11 WHERE id = 2")
    assert changes.since(start) == [(3, "U", 2)]
    assert changes.min_valid() == start + 2


def test_truncate_makes_every_earlier_version_invalid(sql: Sql, changes: Changes) -> None:
    sql(f"UPDATE {changes.table} SET n = 10 WHERE id = 1")
    before = changes.version()
    sql(f"TRUNCATE TABLE {changes.table}")
    assert changes.min_valid() > before
    assert changes.min_valid() <= changes.version()
    assert changes.since(before) == []
    sql(f"INSERT INTO {changes.table} VALUES (1, N'new', 1)")
    assert [row[1:] for row in changes.since(changes.version() - 1)] == [("I", 1)]


def test_columns_that_were_set_are_told_where_they_are_tracked(sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, a int, b int, c AS (a + 1))")
    sql(f"INSERT INTO {table} VALUES (1, 1, 1), (2, 2, 2)")
    sql(f"ALTER TABLE {table} ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = ON)")
    start = Changes(sql, table).version()
    sql(f"UPDATE {table} SET b = 5 WHERE id = 1")
    sql(f"UPDATE {table} SET a = 5, b = 6 WHERE id = 2")
    query = (
        "SELECT id, CHANGE_TRACKING_IS_COLUMN_IN_MASK(2, SYS_CHANGE_COLUMNS), "
        "CHANGE_TRACKING_IS_COLUMN_IN_MASK(3, SYS_CHANGE_COLUMNS), SYS_CHANGE_COLUMNS "
        f"FROM CHANGETABLE(CHANGES {table}, {start}) AS ct ORDER BY id"
    )
    assert sql(query) == [(1, 0, 1, b"\0\0\0\0\3\0\0\0"), (2, 1, 1, None)]


def test_the_catalogue_tells_what_is_tracked(sql: Sql, changes: Changes) -> None:
    assert sql("SELECT * FROM sys.change_tracking_databases WHERE database_id = DB_ID()")[0][:5] == (
        sql("SELECT DB_ID()")[0][0], True, 2, 3, "DAYS",
    )  # fmt: skip
    start = changes.version()
    where = f"FROM sys.change_tracking_tables WHERE object_id = OBJECT_ID(N'{changes.table}')"
    columns = "is_track_columns_updated_on, min_valid_version, begin_version, cleanup_version"
    assert sql(f"SELECT {columns} {where}") == [(False, start, start, 0)]
    sql(f"ALTER TABLE {changes.table} DISABLE CHANGE_TRACKING")
    assert sql(f"SELECT {columns} {where}") == []
    assert sql(f"SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{changes.table}'))") == [(None,)]
    assert sql("SELECT CHANGE_TRACKING_MIN_VALID_VERSION(NULL)") == [(None,)]


def test_a_dropped_table_leaves_no_journal(sql: Sql, changes: Changes) -> None:
    before = sql("SELECT COUNT(*) FROM sys.change_tracking_tables")[0][0]
    sql(f"DROP TABLE {changes.table}")
    assert sql("SELECT COUNT(*) FROM sys.change_tracking_tables") == [(before - 1,)]


def test_tracking_that_ends_and_begins_anew_has_forgotten(sql: Sql, changes: Changes) -> None:
    sql(f"UPDATE {changes.table} SET n = 10 WHERE id = 1")
    now = changes.version()
    sql(f"ALTER TABLE {changes.table} DISABLE CHANGE_TRACKING; ALTER TABLE {changes.table} ENABLE CHANGE_TRACKING")
    assert (changes.min_valid(), changes.since(None)) == (now, [])


def test_refusals_have_sql_servers_numbers(
    connect: Drivers, sql: Sql, changes: Changes, error_number: Callable[..., int]
) -> None:
    connection, table = connect.odbc(), changes.table
    sql(f"CREATE TABLE {table}_heap (a int); CREATE TABLE {table}_plain (a int PRIMARY KEY)")
    sql(f"CREATE TABLE {table}_rv (rv rowversion NOT NULL PRIMARY KEY)")
    sql(f"CREATE TABLE {table}_named (a int CONSTRAINT pk_{table[4:]}_named PRIMARY KEY)")
    sql(f"ALTER TABLE {table}_named ENABLE CHANGE_TRACKING")
    sql(f"CREATE VIEW {table}_view AS SELECT id FROM {table}")
    expected = {
        f"SELECT * FROM CHANGETABLE(CHANGES {table}_plain, 0) AS ct": 22105,
        f"SELECT * FROM CHANGETABLE(CHANGES {table}_view, 0) AS ct": 22107,
        f"SELECT * FROM CHANGETABLE(CHANGES {table}, 0)": 22104,
        f"SELECT * FROM CHANGETABLE(CHANGES {table}_missing, 0) AS ct": 208,
        f"SELECT * FROM CHANGETABLE(CHANGES {table}, 1 + 1) AS ct": 102,
        f"ALTER TABLE {table}_heap ENABLE CHANGE_TRACKING": 4997,
        f"ALTER TABLE {table}_rv ENABLE CHANGE_TRACKING": 4999,
        f"ALTER TABLE {table} ENABLE CHANGE_TRACKING": 4996,
        f"ALTER TABLE {table}_plain DISABLE CHANGE_TRACKING": 4998,
        f"ALTER TABLE {table}_named DROP CONSTRAINT pk_{table[4:]}_named": 3735,
        ON: 5088,
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF": 22115,
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING (CHANGE_RETENTION = 0 DAYS)": 5092,
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING (CHANGE_RETENTION = 2 WEEKS)": 155,
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING (AUTO_CLEANUP = ON, AUTO_CLEANUP = OFF)": 5091,
        "ALTER DATABASE master SET CHANGE_TRACKING = ON": 5090,
    }
    assert {statement: error_number(connection, statement) for statement in expected} == expected


def test_a_database_without_tracking_says_so(
    drivers_of: Callable[[StandInProcess], Drivers], error_number: Callable[..., int]
) -> None:
    with StandInProcess() as server:
        server.execute("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)")
        connection = drivers_of(server).odbc()
        assert connection.execute("SELECT CHANGE_TRACKING_CURRENT_VERSION()").fetchval() is None
        assert connection.execute("SELECT * FROM sys.change_tracking_databases").fetchall() == []
        assert error_number(connection, "SELECT * FROM CHANGETABLE(CHANGES dbo.t, 0) AS ct") == 22105
        assert error_number(connection, "ALTER TABLE dbo.t ENABLE CHANGE_TRACKING") == 1718
        assert error_number(connection, "ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF") == 5089
        connection.execute("ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON")
        connection.execute("ALTER DATABASE CURRENT SET CHANGE_TRACKING (CHANGE_RETENTION = 90 MINUTES)")
        assert connection.execute("SELECT CHANGE_TRACKING_CURRENT_VERSION()").fetchval() == 0
        found = connection.execute(
            "SELECT is_auto_cleanup_on, retention_period, retention_period_units, retention_period_units_desc "
            "FROM sys.change_tracking_databases"
        ).fetchone()
        assert tuple(found) == (True, 90, 1, "MINUTES")
        connection.execute("ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF")
        assert connection.execute("SELECT * FROM sys.change_tracking_databases").fetchall() == []


def test_reading_changes_wants_the_right_to(
    connect: Drivers, sql: Sql, changes: Changes, error_number: Callable[..., int]
) -> None:
    login = f"reader_{changes.table[4:]}"
    sql(f"CREATE LOGIN {login} WITH PASSWORD = 'Reader.2022'; CREATE USER {login} FOR LOGIN {login}")
    sql(f"GRANT SELECT ON {changes.table} TO {login}")
    reader = connect.odbc(UID=login, PWD="Reader.2022")
    query = f"SELECT * FROM CHANGETABLE(CHANGES {changes.table}, 0) AS ct"
    assert error_number(reader, query) == 229
    minimum = f"SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{changes.table}'))"
    assert reader.execute(minimum).fetchval() is None
    sql(f"GRANT VIEW CHANGE TRACKING ON {changes.table} TO {login}")
    assert reader.execute(query).fetchall() == []
    assert reader.execute(minimum).fetchval() is not None


def test_a_held_transaction_commits_late(server: StandInProcess, connect: Drivers, sql: Sql, table: str) -> None:
    """MIN_ACTIVE_ROWVERSION stands still at the first rowversion of the open transaction."""
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, rv rowversion)")
    sql(f"INSERT INTO {table} (id) VALUES (1)")
    first = int.from_bytes(sql("SELECT @@DBTS")[0][0], "big") + 1
    held = server.hold(f"INSERT INTO {table} (id) VALUES (2); UPDATE {table} SET id = 3 WHERE id = 1")
    sql(f"INSERT INTO {table} (id) VALUES (4)")
    assert sql("SELECT CONVERT(varchar(18), MIN_ACTIVE_ROWVERSION(), 1)") == [(f"0x{first:016X}",)]
    below = f"SELECT id FROM {table} WHERE [rv] < CONVERT(binary(8), N'0x{first:016X}', 1) ORDER BY id"
    above = f"SELECT id FROM {table} WHERE [rv] > CONVERT(binary(8), N'0x{first - 1:016X}', 1) ORDER BY id"
    assert (sql(below), sql(above)) == ([(1,)], [(4,)])
    server.release(held)
    assert (sql(below), sql(above)) == ([], [(2,), (3,), (4,)])
    assert sql("SELECT MIN_ACTIVE_ROWVERSION()")[0][0] > sql("SELECT @@DBTS")[0][0]
    server.release(server.hold(f"DELETE FROM {table}"), commit=False)
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(3,)]


def test_a_failed_batch_holds_nothing(server: StandInProcess, sql: Sql, changes: Changes) -> None:
    with pytest.raises(Exception, match="Invalid object"):
        server.hold(f"DELETE FROM {changes.table}; DELETE FROM dbo.no_such_table")
    assert server.call("open_transactions") == 0
    assert sql(f"SELECT COUNT(*) FROM {changes.table}") == [(2,)]


def test_loaded_columns_are_tracked(drivers_of: Callable[[StandInProcess], Drivers]) -> None:
    with StandInProcess(load=f"{__file__}:load_tracked") as server:
        found = drivers_of(server).odbc().execute(
            "SELECT id, SYS_CHANGE_OPERATION FROM CHANGETABLE(CHANGES dbo.t, 0) AS ct ORDER BY id"
        )  # fmt: skip
        assert [tuple(row) for row in found.fetchall()] == [(0, "I"), (1, "I"), (2, "I")]


def write_at_random(connection: pyodbc.Connection, table: str, seed: int, stop: threading.Event) -> None:
    """Transactions of a few statements each; some are rolled back, and some fail by a key or as deadlock victims."""
    rng = random.Random(seed)
    while not stop.is_set():
        key, value = rng.randrange(40), rng.randrange(10**6)
        statements = [
            f"DELETE FROM {table} WHERE id = {key}", f"UPDATE {table} SET n = {value} WHERE id % 7 = {key % 7}",
            f"INSERT INTO {table} VALUES ({key}, N'x', {value})",
            f"UPDATE {table} SET id = {value % 40} WHERE id = {key}",
        ]  # fmt: skip
        try:
            for _ in range(rng.randrange(1, 4)):
                connection.execute(rng.choice(statements))
            if rng.random() < 0.8:
                connection.commit()
        except pyodbc.Error:
            pass
        connection.rollback()


def test_a_mirror_kept_by_changes_is_the_table_at_every_version(connect: Drivers, tracked: str) -> None:
    """Under SNAPSHOT, while others write: the changes since a version turn its rows into the present ones."""
    reader, stop = connect.odbc(), threading.Event()
    reader.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
    writers = [connect.odbc(autocommit=False) for _ in range(2)]
    mirror: dict[int, int] = {}
    since: int | None = None
    with ThreadPoolExecutor() as pool:
        working = [pool.submit(write_at_random, writer, tracked, seed, stop) for seed, writer in enumerate(writers)]
        try:
            for _ in range(150):
                reader.execute("BEGIN TRAN")
                version = reader.execute("SELECT CHANGE_TRACKING_CURRENT_VERSION()").fetchval()
                rows = dict(map(tuple, reader.execute(f"SELECT id, n FROM {tracked}").fetchall()))
                changes = reader.execute(
                    "SELECT ct.SYS_CHANGE_OPERATION, ct.id, t.n "
                    f"FROM CHANGETABLE(CHANGES {tracked}, {since or 0}) AS ct LEFT JOIN {tracked} AS t ON t.id = ct.id "
                    f"WHERE ct.SYS_CHANGE_VERSION <= {version}"
                ).fetchall()
                reader.execute("COMMIT")
                for operation, key, value in changes if since is not None else ():
                    assert operation == "D" or (key in mirror) == (operation == "U")
                    if operation == "D":
                        mirror.pop(key, None)
                    else:
                        mirror[key] = value
                mirror, since = (rows if since is None else mirror), version
                assert mirror == rows
        finally:
            stop.set()
        for future in working:
            future.result(timeout=20)


def test_few_changes_of_a_large_table_are_joined_by_its_key() -> None:
    """Each way of joining finds the same rows: body and later changes, by keys of one and of two columns."""
    with StandIn(port=0) as server:
        server.database.execute(
            "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON; CREATE TABLE dbo.t (a int NOT NULL, b varchar(9) NOT "
            "NULL, n int, PRIMARY KEY (a, b)); CREATE TABLE dbo.o (id bigint NOT NULL PRIMARY KEY, n int)"
        )
        numbers = list(range(5000))
        server.database.load_columns("dbo.t", {"a": numbers, "b": [f"k{n}" for n in numbers], "n": numbers})
        server.database.load_columns("dbo.o", {"id": numbers, "n": numbers})
        for table, key in (("t", "a"), ("o", "id")):
            server.database.execute(
                f"ALTER TABLE dbo.{table} ENABLE CHANGE_TRACKING; UPDATE dbo.{table} SET n = -1 WHERE {key} IN (7, 8); "
                f"DELETE FROM dbo.{table} WHERE {key} IN (8, 9)"
            )
        text = server.connection_string(microsoft_driver(), Encrypt="no")
        with closing(pyodbc.connect(text, autocommit=True, timeout=10)) as connection:
            two = connection.execute(
                "SELECT ct.a, t.n FROM CHANGETABLE(CHANGES dbo.t, 0) AS ct LEFT JOIN dbo.t AS t ON t.b = ct.b AND "
                "ct.a = t.a ORDER BY ct.a"
            ).fetchall()
            one = connection.execute(
                "SELECT ct.id, t.n, u.n FROM CHANGETABLE(CHANGES dbo.o, 0) AS ct LEFT JOIN dbo.o AS t ON t.id = ct.id "
                "LEFT JOIN dbo.o AS u ON u.id = ct.id + 10 ORDER BY ct.id"
            ).fetchall()
            inner = connection.execute(
                "SELECT t.n FROM CHANGETABLE(CHANGES dbo.o, 0) AS ct JOIN dbo.o AS t ON t.id = ct.id"
            ).fetchall()
    assert [tuple(row) for row in two] == [(7, -1), (8, None), (9, None)]
    assert [tuple(row) for row in one] == [(7, -1, 17), (8, None, 18), (9, None, 19)]
    assert [tuple(row) for row in inner] == [(-1,)]


def load_tracked(database: Any) -> None:
    database.execute("ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON")
    database.execute("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY); ALTER TABLE dbo.t ENABLE CHANGE_TRACKING")
    database.load_columns("dbo.t", {"id": [0, 1, 2]})


def test_both_drivers_read_changes(connect: Drivers, sql: Sql, changes: Changes) -> None:
    start = changes.version()
    sql(f"UPDATE {changes.table} SET n = 10 WHERE id = 1")
    query = f"SELECT SYS_CHANGE_OPERATION AS o, id FROM CHANGETABLE(CHANGES {changes.table}, {start}) AS ct"
    cursor = connect.mssql().cursor()
    cursor.execute(query)
    assert cursor.arrow().to_pylist() == [{"o": "U", "id": 1}]
    assert isinstance(connect.odbc(), pyodbc.Connection)
