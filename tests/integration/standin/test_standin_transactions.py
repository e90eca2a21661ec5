"""Readers against writers: what each isolation level sees, who waits for whom, and what a late commit does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyodbc
import pytest

from etl_cli.sandbox.standin import StandInProcess
from tests.integration.standin.drivers import Drivers, number_of

Sql = Callable[..., list[Any]]


@pytest.fixture
def rows(sql: Sql, table: str) -> str:
    """A table with rows 1 and 2."""
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, v nvarchar(20) NOT NULL, rv rowversion)")
    sql(f"INSERT INTO {table} (id, v) VALUES (1, N'one'), (2, N'two')")
    return table


def values(connection: pyodbc.Connection, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(f"SELECT id, v FROM {table} ORDER BY id").fetchall()]


def at_level(connect: Drivers, level: str) -> pyodbc.Connection:
    connection = connect.odbc(autocommit=True)
    connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    connection.autocommit = False
    return connection


def test_a_transaction_sees_its_own_changes_and_others_do_not(connect: Drivers, rows: str) -> None:
    writer, reader = connect.odbc(autocommit=False), connect.odbc()
    writer.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'three')")
    writer.execute(f"UPDATE {rows} SET v = N'ONE' WHERE id = 1")
    writer.execute(f"DELETE FROM {rows} WHERE id = 2")
    assert values(writer, rows) == [(1, "ONE"), (3, "three")]
    assert values(reader, rows) == [(1, "one"), (2, "two")]
    writer.commit()
    assert values(reader, rows) == [(1, "ONE"), (3, "three")]


def test_a_rollback_leaves_nothing(connect: Drivers, rows: str) -> None:
    writer = connect.odbc(autocommit=False)
    writer.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'three'); CREATE TABLE {rows}_new (a int)")
    writer.rollback()
    assert values(writer, rows) == [(1, "one"), (2, "two")]
    with pytest.raises(pyodbc.Error, match="Invalid object name"):
        writer.execute(f"SELECT * FROM {rows}_new")


def test_read_committed_sees_each_commit_and_snapshot_only_its_start(connect: Drivers, sql: Sql, rows: str) -> None:
    committed, snapshot = at_level(connect, "READ COMMITTED"), at_level(connect, "SNAPSHOT")
    assert values(committed, rows) == values(snapshot, rows)
    sql(f"INSERT INTO {rows} (id, v) VALUES (3, N'three')")
    sql(f"UPDATE {rows} SET v = N'ONE' WHERE id = 1")
    assert values(committed, rows) == [(1, "ONE"), (2, "two"), (3, "three")]
    assert values(snapshot, rows) == [(1, "one"), (2, "two")]
    assert snapshot.execute(f"SELECT COUNT_BIG(*) FROM {rows}").fetchval() == 2
    snapshot.commit()
    assert values(snapshot, rows) == [(1, "ONE"), (2, "two"), (3, "three")]


def test_a_snapshot_starts_with_its_first_read(connect: Drivers, sql: Sql, rows: str) -> None:
    snapshot = at_level(connect, "SNAPSHOT")
    snapshot.execute("SELECT 1 WHERE 1 = 1").fetchall()
    assert values(snapshot, rows)[0] == (1, "one")
    sql(f"UPDATE {rows} SET v = N'later' WHERE id = 1")
    assert values(snapshot, rows)[0] == (1, "one")


def test_a_snapshot_holds_for_all_tables(connect: Drivers, sql: Sql, rows: str) -> None:
    sql(f"CREATE TABLE {rows}_b (a int)")
    snapshot = at_level(connect, "SNAPSHOT")
    values(snapshot, rows)
    sql(f"INSERT INTO {rows}_b VALUES (1)")
    assert snapshot.execute(f"SELECT COUNT(*) FROM {rows}_b").fetchval() == 0


def test_an_earlier_insert_may_commit_last(connect: Drivers, rows: str) -> None:
    early, late, reader = connect.odbc(autocommit=False), connect.odbc(autocommit=False), connect.odbc()
    early.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'early')")
    late.execute(f"INSERT INTO {rows} (id, v) VALUES (4, N'late')")
    late.commit()
    assert [row[0] for row in values(reader, rows)] == [1, 2, 4]
    early.commit()
    assert [row[0] for row in values(reader, rows)] == [1, 2, 3, 4]
    versions = dict(reader.execute(f"SELECT id, rv FROM {rows} WHERE id > 2").fetchall())
    assert versions[3] < versions[4]


def test_min_active_rowversion_is_the_lowest_of_an_open_transaction(connect: Drivers, rows: str) -> None:
    writer, reader = connect.odbc(autocommit=False), connect.odbc()

    def lowest() -> int:
        return int.from_bytes(reader.execute("SELECT MIN_ACTIVE_ROWVERSION()").fetchval(), "big")

    def last() -> int:
        return int.from_bytes(reader.execute("SELECT @@DBTS").fetchval(), "big")

    assert lowest() == last() + 1
    before = last()
    writer.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'x'), (4, N'y')")
    reader.execute(f"UPDATE {rows} SET v = N'z' WHERE id = 1")
    assert lowest() == before + 1
    assert last() == before + 3
    writer.commit()
    assert lowest() == last() + 1


def test_the_second_writer_of_a_row_gives_up_at_lock_timeout(connect: Drivers, rows: str) -> None:
    first, second = connect.odbc(autocommit=False), connect.odbc(autocommit=False)
    first.execute(f"UPDATE {rows} SET v = N'first' WHERE id = 1")
    second.execute("SET LOCK_TIMEOUT 100")
    with pytest.raises(pyodbc.Error) as caught:
        second.execute(f"UPDATE {rows} SET v = N'second' WHERE id = 1")
    assert number_of(caught.value) == 1222
    second.execute(f"UPDATE {rows} SET v = N'second' WHERE id = 2")


def test_the_second_writer_of_a_row_waits_and_sees_the_first_ones_change(connect: Drivers, rows: str) -> None:
    first, second = connect.odbc(autocommit=False), connect.odbc()
    first.execute(f"UPDATE {rows} SET v = v + N'+1' WHERE id = 1")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.execute, f"UPDATE {rows} SET v = v + N'+2' WHERE id = 1")
        time.sleep(0.2)
        assert not waiting.done()
        first.commit()
        waiting.result(timeout=10)
    assert values(second, rows)[0] == (1, "one+1+2")


def test_the_second_insert_of_a_key_waits_and_is_a_duplicate(connect: Drivers, rows: str) -> None:
    first, second = connect.odbc(autocommit=False), connect.odbc()
    first.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'first')")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.execute, f"INSERT INTO {rows} (id, v) VALUES (3, N'second')")
        time.sleep(0.1)
        assert not waiting.done()
        first.commit()
        with pytest.raises(pyodbc.IntegrityError):
            waiting.result(timeout=10)


def test_two_that_wait_for_each_other_are_a_deadlock(connect: Drivers, rows: str) -> None:
    first, second = connect.odbc(autocommit=False), connect.odbc(autocommit=False)
    first.execute(f"UPDATE {rows} SET v = N'a' WHERE id = 1")
    second.execute(f"UPDATE {rows} SET v = N'b' WHERE id = 2")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(first.execute, f"UPDATE {rows} SET v = N'a' WHERE id = 2")
        time.sleep(0.2)
        with pytest.raises(pyodbc.Error) as caught:
            second.execute(f"UPDATE {rows} SET v = N'b' WHERE id = 1")
        waiting.result(timeout=10)
    assert number_of(caught.value) == 1205
    assert caught.value.args[0] == "40001"
    first.commit()
    assert values(first, rows) == [(1, "a"), (2, "a")]


def test_a_snapshot_that_would_overwrite_a_later_change_is_3960(connect: Drivers, sql: Sql, rows: str) -> None:
    snapshot = at_level(connect, "SNAPSHOT")
    values(snapshot, rows)
    sql(f"UPDATE {rows} SET v = N'later' WHERE id = 1")
    snapshot.execute(f"UPDATE {rows} SET v = N'mine' WHERE id = 2")
    with pytest.raises(pyodbc.Error) as caught:
        snapshot.execute(f"UPDATE {rows} SET v = N'mine' WHERE id = 1")
    assert number_of(caught.value) == 3960
    assert values(connect.odbc(), rows) == [(1, "later"), (2, "two")]


def test_a_snapshot_of_a_table_that_was_altered_meanwhile_is_3961(connect: Drivers, sql: Sql, rows: str) -> None:
    snapshot = at_level(connect, "SNAPSHOT")
    values(snapshot, rows)
    sql(f"ALTER TABLE {rows} ADD extra int NULL")
    with pytest.raises(pyodbc.Error) as caught:
        values(snapshot, rows)
    assert number_of(caught.value) == 3961


def test_where_snapshot_is_not_allowed_it_is_3952(drivers_of: Callable[[StandInProcess], Drivers]) -> None:
    with StandInProcess(allow_snapshot=False) as server:
        server.execute("CREATE TABLE dbo.t (a int)")
        connect = drivers_of(server)
        snapshot = at_level(connect, "SNAPSHOT")
        with pytest.raises(pyodbc.Error) as caught:
            snapshot.execute("SELECT * FROM dbo.t")
        assert number_of(caught.value) == 3952
        plain = connect.odbc()
        state = "SELECT snapshot_isolation_state FROM sys.databases WHERE name = DB_NAME()"
        assert plain.execute(state).fetchval() == 0
        plain.execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON")
        assert plain.execute(state).fetchval() == 1
        snapshot.rollback()
        assert snapshot.execute("SELECT COUNT(*) FROM dbo.t").fetchval() == 0


def test_a_savepoint_takes_back_what_came_after_it(connect: Drivers, rows: str) -> None:
    connection = connect.odbc()
    connection.execute(
        f"BEGIN TRAN; UPDATE {rows} SET v = N'kept' WHERE id = 1; SAVE TRAN s; DELETE FROM {rows}; "
        "ROLLBACK TRAN s; COMMIT"
    )
    assert values(connection, rows) == [(1, "kept"), (2, "two")]


def test_a_failed_statement_leaves_the_rest_of_its_transaction(connect: Drivers, rows: str) -> None:
    connection = connect.odbc(autocommit=False)
    connection.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'three')")
    with pytest.raises(pyodbc.IntegrityError):
        connection.execute(f"INSERT INTO {rows} (id, v) VALUES (4, N'four'), (1, N'double')")
    connection.commit()
    assert [row[0] for row in values(connection, rows)] == [1, 2, 3]


def test_nested_transactions_commit_with_the_outermost(connect: Drivers, rows: str) -> None:
    writer, reader = connect.odbc(), connect.odbc()
    writer.execute(f"BEGIN TRAN; BEGIN TRAN; DELETE FROM {rows}; COMMIT")
    assert writer.execute("SELECT @@TRANCOUNT").fetchval() == 1
    assert len(values(reader, rows)) == 2
    writer.execute("COMMIT")
    assert values(reader, rows) == []


def test_a_connection_that_ends_rolls_back(connect: Drivers, rows: str) -> None:
    writer = connect.odbc(autocommit=False)
    writer.execute(f"DELETE FROM {rows}")
    writer.close()
    reader = connect.odbc()
    reader.execute("SET LOCK_TIMEOUT 5000")
    reader.execute(f"UPDATE {rows} SET v = N'free' WHERE id = 1")
    assert values(reader, rows) == [(1, "free"), (2, "two")]


def test_an_alter_inside_a_transaction_is_seen_when_it_commits(connect: Drivers, rows: str) -> None:
    writer, reader = connect.odbc(autocommit=False), connect.odbc()
    writer.execute(f"UPDATE {rows} SET v = N'x' WHERE id = 1")
    writer.execute(f"ALTER TABLE {rows} ADD extra int NOT NULL DEFAULT 7")
    writer.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'three')")
    assert writer.execute(f"SELECT id, v, extra FROM {rows} ORDER BY id").fetchall()[0][2] == 7
    assert len(reader.execute(f"SELECT * FROM {rows}").description) == 3
    writer.commit()
    found = [tuple(row) for row in reader.execute(f"SELECT id, v, extra FROM {rows} ORDER BY id").fetchall()]
    assert found == [(1, "x", 7), (2, "two", 7), (3, "three", 7)]
    with pytest.raises(pyodbc.IntegrityError):
        reader.execute(f"INSERT INTO {rows} (id, v) VALUES (3, N'again')")


def test_identity_goes_on_after_a_rollback(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int IDENTITY(10,5) PRIMARY KEY, v int)")
    connection = connect.odbc(autocommit=False)
    connection.execute(f"INSERT INTO {table} (v) VALUES (1), (2)")
    connection.rollback()
    connection.execute(f"INSERT INTO {table} (v) VALUES (3)")
    connection.commit()
    assert sql(f"SELECT id, v FROM {table}") == [(20, 3)]


def test_many_writers_and_readers_lose_nothing(connect: Drivers, sql: Sql, table: str) -> None:
    """Each reader sees the sum of a transfer unchanged, under READ COMMITTED (one statement) as under SNAPSHOT."""
    sql(f"CREATE TABLE {table} (id int PRIMARY KEY, v int)")
    sql(f"INSERT INTO {table} VALUES (1, 500), (2, 500)")
    stop = threading.Event()
    writers = [connect.odbc(autocommit=False) for _ in range(2)]
    readers = [at_level(connect, level) for level in ("READ COMMITTED", "SNAPSHOT")]

    def transfer(connection: pyodbc.Connection) -> int:
        done = 0
        while not stop.is_set():
            connection.execute(f"UPDATE {table} SET v = v - 1 WHERE id = 1")
            connection.execute(f"UPDATE {table} SET v = v + 1 WHERE id = 2")
            connection.commit()
            done += 1
        return done

    with ThreadPoolExecutor() as pool:
        working = [pool.submit(transfer, connection) for connection in writers]
        sums = set()
        for _ in range(50):
            for reader in readers:
                sums.add(reader.execute(f"SELECT SUM(v) FROM {table}").fetchval())
                reader.commit()
        stop.set()
        moved = sum(future.result(timeout=10) for future in working)
    assert sums == {1000}
    assert sql(f"SELECT v FROM {table} ORDER BY id") == [(500 - moved,), (500 + moved,)]
