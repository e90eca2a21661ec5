"""ATTENTION: a statement ends when its client says so, wherever it is, and the connection stays good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pyodbc
import pytest

from tests.integration.standin.drivers import Drivers

Sql = Callable[..., list[Any]]


def _cancel_after(cursor: pyodbc.Cursor, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, cursor.cancel)
    timer.start()
    return timer


@pytest.mark.parametrize("driver", ["odbc", "freetds"])
def test_a_waiting_statement_ends_at_once_when_it_is_cancelled(connect: Drivers, driver: str) -> None:
    connection = getattr(connect, driver)()
    cursor = connection.cursor()
    timer = _cancel_after(cursor, 0.3)
    started = time.monotonic()
    with pytest.raises(pyodbc.Error):
        cursor.execute("WAITFOR DELAY '00:00:20'")
    timer.join()
    assert time.monotonic() - started < 5
    assert connection.execute("SELECT 1").fetchval() == 1


def test_a_query_timeout_cancels(connect: Drivers) -> None:
    connection = connect.odbc()
    connection.timeout = 1
    with pytest.raises(pyodbc.Error) as caught:
        connection.execute("WAITFOR DELAY '00:00:20'")
    assert caught.value.args[0] == "HYT00"
    assert connection.execute("SELECT 2").fetchval() == 2


def test_a_result_may_be_left_in_its_middle(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int, v nvarchar(max))")
    sql(
        f"INSERT INTO {table} VALUES "
        + ", ".join(f"({n}, REPLICATE(CAST(N'x' AS nvarchar(max)), 50000))" for n in range(200))
    )
    connection = connect.odbc()
    cursor = connection.execute(f"SELECT id, v FROM {table}")
    assert len(cursor.fetchmany(2)) == 2
    cursor.close()
    assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchval() == 200


def test_an_arrow_reader_may_be_left_in_its_middle(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int, v nvarchar(100))")
    sql(f"INSERT INTO {table} SELECT 1, N'x' FROM sys.types a, sys.types b, (VALUES (1), (2), (3)) AS v(n)")
    connection = connect.mssql()
    cursor = connection.cursor()
    cursor.execute(f"SELECT id, v FROM {table}")
    assert cursor.arrow_batch(10).num_rows == 10
    cursor.close()
    again = connection.cursor()
    again.execute("SELECT 3")
    assert again.fetchval() == 3


def test_a_wait_for_a_lock_is_cancelled(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1)")
    holder = connect.odbc(autocommit=False)
    holder.execute(f"DELETE FROM {table}")
    cursor = connect.odbc().cursor()
    timer = _cancel_after(cursor, 0.3)
    with pytest.raises(pyodbc.Error):
        cursor.execute(f"DELETE FROM {table}")
    timer.join()
    holder.rollback()
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(1,)]


def test_a_cancelled_transaction_stays_open(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int)")
    connection = connect.odbc(autocommit=False)
    connection.execute(f"INSERT INTO {table} VALUES (1)")
    cursor = connection.cursor()
    timer = _cancel_after(cursor, 0.2)
    with pytest.raises(pyodbc.Error):
        cursor.execute("WAITFOR DELAY '00:00:20'")
    timer.join()
    connection.commit()
    assert sql(f"SELECT COUNT(*) FROM {table}") == [(1,)]


def test_a_client_that_goes_away_in_mid_result_leaves_no_connection(connect: Drivers, sql: Sql, table: str) -> None:
    sql(f"CREATE TABLE {table} (id int, v nvarchar(max))")
    sql(
        f"INSERT INTO {table} VALUES "
        + ", ".join(f"({n}, REPLICATE(CAST(N'x' AS nvarchar(max)), 50000))" for n in range(50))
    )
    before = connect.server.call("counters")["open_connections"]
    connection = connect.odbc()
    connection.execute(f"SELECT id, v FROM {table}").fetchone()
    connection.close()
    deadline = time.monotonic() + 10
    while connect.server.call("counters")["open_connections"] > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert connect.server.call("counters")["open_connections"] == before
