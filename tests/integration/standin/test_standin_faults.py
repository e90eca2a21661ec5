"""Faults to order, through the real drivers: what the client sees is what it would see of a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mssql_python
import pyodbc
import pytest

from etl_cli.sandbox.standin import ControlError, StandIn, StandInProcess
from tests.integration.standin.drivers import Drivers, number_of

Sql = Callable[..., list[Any]]
ROWS = 5000


@pytest.fixture
def numbers(sql: Sql, connect: Drivers, table: str) -> str:
    """A table of 5,000 rows."""
    sql(f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, v nvarchar(20) NOT NULL)")
    for start in range(0, ROWS, 1000):
        rows = ", ".join(f"({n}, N'row {n}')" for n in range(start, start + 1000))
        sql(f"INSERT INTO {table} VALUES {rows}")
    return table


def fetched(connection: pyodbc.Connection, table: str, count: int = ROWS) -> list[int]:
    """Fetch ids in portions until the end or an error, which is raised with what came before it noted."""
    cursor = connection.execute(f"SELECT id, v FROM {table} ORDER BY id")
    found: list[int] = []
    try:
        while rows := cursor.fetchmany(100):
            found += [row[0] for row in rows]
    except pyodbc.Error as error:
        error.add_note(str(len(found)))
        raise
    return found


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("encrypt", ["no", "yes"])
def test_a_cut_link_is_an_error_and_never_an_end_of_rows(
    connect: Drivers, numbers: str, how: str, encrypt: str
) -> None:
    connect.server.call("drop", table=numbers, after_rows=1234, how=how)
    with pytest.raises(pyodbc.Error) as caught:
        fetched(connect.odbc(encrypt=encrypt), numbers)
    assert caught.value.args[0] == "08S01"
    assert int(caught.value.__notes__[-1]) <= 1234
    assert fetched(connect.odbc(), numbers) == list(range(ROWS))


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_link_cut_behind_the_last_row_is_an_error_too(connect: Drivers, numbers: str, how: str) -> None:
    connect.server.call("drop", table=numbers, after_rows=ROWS, how=how)
    with pytest.raises(pyodbc.Error):
        fetched(connect.odbc(), numbers)


def _arrow_rows(cursor: Any) -> int:
    count = 0
    while found := cursor.arrow_batch(1000).num_rows:
        count += found
    return count


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_row_torn_by_a_cut_is_an_error_of_mssql_pythons_arrow_reader(
    connect: Drivers, numbers: str, how: str
) -> None:
    connect.server.call("drop", table=numbers, after_rows=1234, how=how, within_row=True)
    cursor = connect.mssql().cursor()
    cursor.execute(f"SELECT id, v FROM {numbers} ORDER BY id")
    with pytest.raises(mssql_python.Error, match="Communication link failure"):
        _arrow_rows(cursor)


def test_a_cut_between_two_rows_looks_like_the_end_to_mssql_pythons_arrow_reader(
    connect: Drivers, numbers: str
) -> None:
    """The reason why completeness is proved by a count: the driver tells nothing. When this fails, it has learned."""
    connect.server.call("drop", table=numbers, after_rows=1234, how="fin")
    cursor = connect.mssql().cursor()
    cursor.execute(f"SELECT id, v FROM {numbers} ORDER BY id")
    assert _arrow_rows(cursor) == 1234


def test_a_cut_link_is_an_error_of_freetds(connect: Drivers, numbers: str) -> None:
    connect.server.call("drop", table=numbers, after_rows=1234, how="fin")
    with pytest.raises(pyodbc.Error):
        fetched(connect.freetds(), numbers)


@pytest.mark.parametrize("number", [1205, 1222, 40613, 3958, 596])
def test_an_error_in_mid_result_rolls_the_transaction_back(
    connect: Drivers, sql: Sql, numbers: str, number: int
) -> None:
    connect.server.call("error", table=numbers, number=number, after_rows=100)
    connection = connect.odbc(autocommit=False)
    connection.execute(f"UPDATE {numbers} SET v = N'gone' WHERE id = 1")
    with pytest.raises(pyodbc.Error) as caught:
        fetched(connection, numbers)
    assert number_of(caught.value) == number
    assert sql(f"SELECT v FROM {numbers} WHERE id = 1") == [("row 1",)]
    assert len(fetched(connection, numbers)) == ROWS


def test_a_deadlock_is_40001_for_microsofts_driver(connect: Drivers, numbers: str) -> None:
    connect.server.call("error", table=numbers, after_rows=0)
    with pytest.raises(pyodbc.Error) as caught:
        fetched(connect.odbc(), numbers)
    assert caught.value.args[0] == "40001"


def test_a_stall_lasts_as_long_as_ordered(connect: Drivers, numbers: str) -> None:
    connect.server.call("stall", table=numbers, after_rows=10, seconds=0.5)
    started = time.monotonic()
    assert len(fetched(connect.odbc(), numbers)) == ROWS
    assert 0.5 <= time.monotonic() - started < 5


def test_slow_rows_come_at_their_pace(connect: Drivers, numbers: str) -> None:
    connect.server.call("slow_rows", table=numbers, rows_per_s=10_000)
    started = time.monotonic()
    assert len(fetched(connect.odbc(), numbers)) == ROWS
    assert 0.4 <= time.monotonic() - started < 5


def test_an_order_fires_as_often_as_it_says_and_no_more(connect: Drivers, numbers: str) -> None:
    connect.server.call("error", table=numbers.removeprefix("dbo."), number=1205, after_rows=5, times=2)
    connection = connect.odbc()
    for _ in range(2):
        with pytest.raises(pyodbc.Error):
            fetched(connection, numbers)
    assert len(fetched(connection, numbers)) == ROWS
    [order] = connect.server.call("faults")
    assert (order["kind"], order["fired"], order["times"]) == ("error", 2, 0)


def test_totals_do_not_count_as_scans(connect: Drivers, numbers: str) -> None:
    connect.server.call("error", table=numbers, after_rows=1)
    assert connect.odbc().execute(f"SELECT COUNT(*), MAX(id) FROM {numbers}").fetchone()[0] == ROWS


def test_a_fault_of_one_table_leaves_the_others_alone(connect: Drivers, sql: Sql, numbers: str) -> None:
    connect.server.call("drop", table="dbo.another", after_rows=0)
    assert len(fetched(connect.odbc(), numbers)) == ROWS


@pytest.mark.parametrize("number", [18456, 40613])
def test_logins_are_refused_with_a_number_for_a_while(connect: Drivers, number: int) -> None:
    connect.server.call("refuse_logins", number=number, times=1)
    with pytest.raises(pyodbc.Error) as caught:
        connect.odbc(ConnectRetryCount="0")
    assert f"({number})" in str(caught.value.args[1])
    connect.odbc()


def test_logins_are_refused_by_a_closed_socket(connect: Drivers) -> None:
    connect.server.call("refuse_logins", seconds=60)
    with pytest.raises(pyodbc.Error):
        connect.odbc(ConnectRetryCount="0")
    connect.server.call("clear")
    connect.odbc()


def test_a_pause_holds_everything_until_it_ends(connect: Drivers, numbers: str) -> None:
    connection = connect.odbc()
    connect.server.call("pause")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fetched, connection, numbers)
        time.sleep(0.2)
        assert not waiting.done()
        connect.server.call("resume")
        assert len(waiting.result(timeout=10)) == ROWS


def test_the_counters_tell_rows_statements_and_connections(connect: Drivers, numbers: str) -> None:
    connect.server.call("reset_counters")
    connection = connect.odbc()
    connection.execute(f"SELECT TOP (7) id FROM {numbers}").fetchall()
    counters = connect.server.call("counters")
    assert counters["rows_sent"] == {numbers: 7}
    assert f"SELECT TOP (7) id FROM {numbers}" in counters["statements"]
    assert counters["open_connections"] >= 1


def test_faults_are_ordered_in_process_by_the_same_names() -> None:
    with StandIn(port=0) as server:
        server.database.execute("CREATE TABLE dbo.t (a int); INSERT INTO dbo.t VALUES (1), (2)")
        order = server.faults.error("dbo.t", 1205, after_rows=1)
        from tests.integration.standin.drivers import microsoft_driver

        connection = pyodbc.connect(server.connection_string(microsoft_driver(), Encrypt="no"), timeout=10)
        with pytest.raises(pyodbc.Error, match="deadlock"):
            connection.execute("SELECT a FROM dbo.t").fetchall()
        assert order.fired == 1
        connection.close()


def test_the_control_socket_says_what_it_does_not_do(standin: StandInProcess) -> None:
    with pytest.raises(ControlError, match="nonsense"):
        standin.call("nonsense")
    with pytest.raises(ControlError, match="rst or fin"):
        standin.call("drop", table="t", after_rows=1, how="nonsense")
    with pytest.raises(ControlError, match="Incorrect syntax") as caught:
        standin.execute("SELECT FROM")
    assert caught.value.number == 102


def test_a_killed_child_resets_its_connections(drivers_of: Callable[[StandInProcess], Drivers]) -> None:
    with StandInProcess() as server:
        connection = drivers_of(server).odbc()
        server.kill()
        with pytest.raises(pyodbc.Error) as caught:
            connection.execute("SELECT 1")
        assert caught.value.args[0] in ("08S01", "HY000")
