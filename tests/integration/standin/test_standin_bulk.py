"""The bulk path: loaded columns answer as inserted rows do, whatever is asked and whatever changed since."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyodbc
import pytest

from etl_cli.sandbox.standin import StandIn, StandInProcess
from etl_cli.sandbox.standin.errors import SqlError
from tests.integration.standin.drivers import microsoft_driver

ROWS = 3000
COLUMNS = (
    "id bigint NOT NULL PRIMARY KEY, customer int NULL, status varchar(16) NOT NULL, amount decimal(18,4) NULL, "
    "updated_at datetime2(7) NOT NULL, note nvarchar(100) NULL, big nvarchar(max) NULL, g uniqueidentifier NOT NULL, "
    "at datetimeoffset(3) NULL, wide decimal(38,10) NULL, tag hierarchyid NULL"
)
START = dt.datetime(2024, 1, 1)


def loaded_columns() -> dict[str, Any]:
    """Values of each kind, with NULLs and ties, not in the order of the key."""
    numbers = np.arange(ROWS)[::-1]
    return {
        "id": numbers * 3,
        "customer": np.ma.array(numbers % 50, mask=numbers % 7 == 0),
        "status": [("new", "paid", "Shipped", "")[n % 4] for n in numbers],
        "amount": [None if n % 11 == 0 else Decimal(int(n) - 1500) / 8 for n in numbers],
        "updated_at": [START + dt.timedelta(seconds=int(n) // 3, microseconds=int(n)) for n in numbers],
        "note": [None if n % 5 == 0 else f"note {n % 100} ж" for n in numbers],
        "big": [None if n % 3 == 0 else "x" * int(n % 40) for n in numbers],
        "g": [uuid.UUID(int=int(n) * 2**70 + int(n)) for n in numbers],
        "at": [START.replace(tzinfo=dt.timezone(dt.timedelta(hours=int(n) % 5))) for n in numbers],
        "wide": [None if n % 2 else Decimal(int(n)) * 10**20 for n in numbers],
        "tag": [f"/{n}/" for n in numbers],
    }


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """dbo.bulk was loaded, dbo.rows has the same rows by INSERT; then both are changed alike."""
    with StandIn(port=0) as server:
        database = server.database
        for name in ("bulk", "plain", "bulk_changed", "plain_changed"):
            database.execute(f"CREATE TABLE dbo.{name} ({COLUMNS})")
        database.load_columns("dbo.bulk", loaded_columns())
        database.load_columns("dbo.bulk_changed", loaded_columns())
        database.execute("INSERT INTO dbo.plain SELECT * FROM dbo.bulk WHERE id >= 0")
        database.execute("INSERT INTO dbo.plain_changed SELECT * FROM dbo.bulk")
        for name in ("bulk_changed", "plain_changed"):
            database.execute(f"UPDATE dbo.{name} SET note = N'changed', amount = amount * 2 WHERE id % 30 = 0")
            database.execute(f"DELETE FROM dbo.{name} WHERE customer = 13 OR id BETWEEN 300 AND 600")
            database.execute(f"INSERT INTO dbo.{name} SELECT id + 1, customer, status, amount, updated_at, note, big, "
                             f"g, at, wide, tag FROM dbo.bulk WHERE id % 45 = 0")  # fmt: skip
        yield server


@pytest.fixture(scope="module")
def connection(server: StandIn) -> Iterator[pyodbc.Connection]:
    text = server.connection_string(microsoft_driver(), Encrypt="no")
    with closing(pyodbc.connect(text, autocommit=True, timeout=10)) as connection:
        connection.add_output_converter(-155, bytes)
        yield connection


def answer(connection: pyodbc.Connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(query, *parameters).fetchall()]


ALL = "id, customer, status, amount, updated_at, note, big, g, at, wide, tag.ToString() AS tag"
QUERIES = [
    f"SELECT {ALL} FROM {{t}} ORDER BY id",
    f"SELECT {ALL} FROM {{t}} ORDER BY updated_at DESC, id DESC",
    "SELECT id FROM {t} ORDER BY status, note, id",
    "SELECT id, note FROM {t} ORDER BY note DESC, customer, id",
    "SELECT id FROM {t} ORDER BY g",
    "SELECT id, at FROM {t} ORDER BY at, id",
    "SELECT id FROM {t} ORDER BY wide DESC, id",
    "SELECT id FROM {t} WHERE id > 100 AND id <= 1000 ORDER BY id",
    "SELECT id FROM {t} WHERE NOT (id > 100) ORDER BY id",
    "SELECT id FROM {t} WHERE customer = 7 ORDER BY id",
    "SELECT id FROM {t} WHERE customer <> 7 ORDER BY id",
    "SELECT id FROM {t} WHERE customer IS NULL AND note IS NOT NULL ORDER BY id",
    "SELECT id FROM {t} WHERE NOT (customer = 7 OR note = N'NOTE 9 Ж') ORDER BY id",
    "SELECT id FROM {t} WHERE status = 'shipped ' ORDER BY id",
    "SELECT id FROM {t} WHERE status COLLATE Latin1_General_BIN2 = 'Shipped' ORDER BY id",
    "SELECT id FROM {t} WHERE status IN ('PAID', '') ORDER BY id",
    "SELECT id FROM {t} WHERE customer NOT IN (1, 2, NULL) ORDER BY id",
    "SELECT id FROM {t} WHERE amount > 12.5 ORDER BY id",
    "SELECT id FROM {t} WHERE amount > CAST(12.125 AS decimal(10,3)) ORDER BY id",
    "SELECT id FROM {t} WHERE amount > 1e1 ORDER BY id",
    "SELECT id FROM {t} WHERE customer > 20.5 ORDER BY id",
    "SELECT id FROM {t} WHERE id < 99999999999999999999 ORDER BY id",
    "SELECT id FROM {t} WHERE note LIKE N'note 1%' ORDER BY id",
    "SELECT id FROM {t} WHERE LEN(big) = 12 AND id > 50 ORDER BY id",
    "SELECT id FROM {t} WHERE updated_at >= '2024-01-01 00:10:00' ORDER BY updated_at, id",
    "SELECT id FROM {t} WHERE (updated_at > CAST('2024-01-01 00:05:00.000900' AS datetime2(7)) OR (updated_at = "
    "CAST('2024-01-01 00:05:00.000900' AS datetime2(7)) AND id > 2700)) ORDER BY updated_at, id",
    "SELECT TOP (10) id FROM {t} ORDER BY id DESC",
    "SELECT id FROM {t} ORDER BY id OFFSET 290 ROWS FETCH NEXT 20 ROWS ONLY",
    "SELECT TOP (5) id FROM {t} WHERE id > 290 ORDER BY id",
    "SELECT id * 2, UPPER(note), CONVERT(varchar(40), updated_at, 121) FROM {t} ORDER BY id",
    "SELECT COUNT(*), COUNT(customer), MIN(customer), MAX(amount), SUM(amount), AVG(customer), "
    "MIN(note), MAX(g) FROM {t}",
    "SELECT COUNT_BIG(*), MIN(id), MAX(updated_at), SUM(CAST(id AS bigint)) FROM {t} WHERE status = 'new' AND id > 77",
    "SELECT status, COUNT(*), SUM(amount) FROM {t} GROUP BY status ORDER BY status",
    "SELECT DISTINCT customer FROM {t} ORDER BY customer",
    "SELECT a.id, b.id FROM {t} a JOIN {t} b ON a.id + 1 = b.id ORDER BY a.id",
    "SELECT MAX(id) FROM (SELECT TOP (100) id FROM {t} ORDER BY id) AS q",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("suffix", ["", "_changed"])
def test_loaded_columns_answer_as_inserted_rows_do(connection: pyodbc.Connection, query: str, suffix: str) -> None:
    expected = answer(connection, query.format(t=f"dbo.plain{suffix}"))
    for _ in range(2):  # encoded, then replayed
        assert answer(connection, query.format(t=f"dbo.bulk{suffix}")) == expected


@pytest.mark.parametrize(
    ("condition", "parameters"),
    [
        ("id > ? AND id <= ?", (500, 2000)), ("updated_at > ?", (START + dt.timedelta(minutes=10),)),
        ("status = ?", ("new",)), ("note > ?", ("note 5",)), ("amount >= ?", (Decimal("1.5"),)),
        ("g > ?", (uuid.UUID(int=700 * 2**70 + 700),)), ("customer = ?", (None,)),
        ("(updated_at > ? OR (updated_at = ? AND id > ?))", (START, START, 0)),
    ],
)  # fmt: skip
def test_parameters_bound_a_range(connection: pyodbc.Connection, condition: str, parameters: tuple[Any, ...]) -> None:
    query = f"SELECT id FROM dbo.{{}} WHERE {condition} ORDER BY id"
    expected = answer(connection, query.format("plain"), *parameters)
    assert answer(connection, query.format("bulk"), *parameters) == expected
    assert bool(expected) == (parameters != (None,))


def test_values_come_out_as_they_were_loaded(connection: pyodbc.Connection) -> None:
    columns = loaded_columns()
    found = answer(
        connection, "SELECT id, customer, status, amount, updated_at, note, big, g, wide FROM dbo.bulk ORDER BY id"
    )
    for place, number in enumerate(range(ROWS)):
        row, source = found[place], ROWS - 1 - number
        assert row == (
            number * 3, None if number % 7 == 0 else number % 50, columns["status"][source], columns["amount"][source],
            columns["updated_at"][source], columns["note"][source], columns["big"][source],
            str(columns["g"][source]).upper(), columns["wide"][source],
        )  # fmt: skip


def test_a_snapshot_reads_the_old_rows_while_new_ones_are_loaded(server: StandIn) -> None:
    server.database.execute("CREATE TABLE dbo.growing (id int NOT NULL PRIMARY KEY)")
    server.database.load_columns("dbo.growing", {"id": np.arange(100)})
    text = server.connection_string(microsoft_driver(), Encrypt="no")
    with closing(pyodbc.connect(text, timeout=10, autocommit=True)) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN")
        assert reader.execute("SELECT COUNT(*) FROM dbo.growing").fetchval() == 100
        server.database.load_columns("dbo.growing", {"id": np.arange(100, 250)})
        server.database.execute("DELETE FROM dbo.growing WHERE id < 10")
        assert len(reader.execute("SELECT id FROM dbo.growing").fetchall()) == 100
        reader.execute("COMMIT")
        assert [row[0] for row in reader.execute("SELECT id FROM dbo.growing").fetchall()] == list(range(10, 250))
    assert server.database.row_count("dbo.growing") == 240


def test_a_body_grows_from_many_inserts_and_keeps_its_keys(server: StandIn, connection: pyodbc.Connection) -> None:
    connection.execute("CREATE TABLE dbo.inserted (id int NOT NULL PRIMARY KEY, v nvarchar(10))")
    for start in range(0, 6000, 500):
        connection.execute(
            "INSERT INTO dbo.inserted VALUES " + ", ".join(f"({n}, N'{n}')" for n in range(start, start + 500))
        )
        assert len(connection.execute("SELECT * FROM dbo.inserted").fetchall()) == start + 500
    assert server.database.memory("dbo.inserted")["rows"] > 2000
    with pytest.raises(pyodbc.IntegrityError):
        connection.execute("INSERT INTO dbo.inserted VALUES (5, N'again')")
    connection.execute("DELETE FROM dbo.inserted WHERE id = 5; INSERT INTO dbo.inserted VALUES (5, N'again')")
    connection.execute("UPDATE dbo.inserted SET v = N'x' WHERE id = 5")
    assert answer(connection, "SELECT v FROM dbo.inserted WHERE id BETWEEN 4 AND 6 ORDER BY id") == [
        ("4",),
        ("x",),
        ("6",),
    ]


def test_loading_refuses_what_the_table_refuses(server: StandIn) -> None:
    database = server.database
    database.execute("CREATE TABLE dbo.strict (id int NOT NULL PRIMARY KEY, v varchar(3) NOT NULL, n tinyint NULL)")
    with pytest.raises(SqlError, match="duplicate key"):
        database.load_columns("dbo.strict", {"id": [1, 1], "v": ["a", "b"]})
    with pytest.raises(SqlError, match="does not allow nulls"):
        database.load_columns("dbo.strict", {"id": [1], "v": [None]})
    with pytest.raises(ValueError, match="does not fit"):
        database.load_columns("dbo.strict", {"id": [1], "v": ["long"]})
    with pytest.raises(OverflowError):
        database.load_columns("dbo.strict", {"id": [1], "v": ["a"], "n": [256]})
    with pytest.raises(OverflowError):
        database.load_columns("dbo.strict", {"id": [1], "v": ["a"], "n": np.array([256])})
    with pytest.raises(SqlError, match="Invalid column name"):
        database.load_columns("dbo.strict", {"id": [1], "v": ["a"], "w": [1]})
    with pytest.raises(ValueError, match="unequal lengths"):
        database.load_columns("dbo.strict", {"id": [1, 2], "v": ["a"]})
    assert database.row_count("dbo.strict") == 0


def test_what_the_server_writes_is_filled_in(server: StandIn, connection: pyodbc.Connection) -> None:
    database = server.database
    database.execute(
        "CREATE TABLE dbo.filled (id int IDENTITY(5,2) PRIMARY KEY, v int NOT NULL, d nvarchar(5) NOT "
        "NULL DEFAULT N'x', "
        "twice AS (v * 2), rv rowversion)"
    )
    assert database.load_columns("dbo.filled", {"v": [1, 2]}) == 2
    database.execute("INSERT INTO dbo.filled (v) VALUES (3)")
    rows = answer(connection, "SELECT id, v, d, twice FROM dbo.filled ORDER BY id")
    assert rows == [(5, 1, "x", 2), (7, 2, "x", 4), (9, 3, "x", 6)]
    assert len({row[0] for row in answer(connection, "SELECT rv FROM dbo.filled")}) == 3


def test_encoded_rows_stay_within_their_budget() -> None:
    with StandIn(port=0, cache_bytes=200_000) as server:
        server.database.execute("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(50) NOT NULL)")
        server.database.load_columns("dbo.t", {"id": np.arange(5000), "v": ["x" * 50] * 5000})
        text = server.connection_string(microsoft_driver(), Encrypt="no")
        with closing(pyodbc.connect(text, timeout=10)) as connection:
            for _ in range(2):
                for query in ("SELECT id, v FROM dbo.t", "SELECT v FROM dbo.t", "SELECT id FROM dbo.t"):
                    assert len(connection.execute(query).fetchall()) == 5000
                    assert server.database.cached_bytes <= 200_000
        assert server.database.cached_bytes > 0


def test_two_readers_of_one_scan_get_all_rows(server: StandIn) -> None:
    text = server.connection_string(microsoft_driver(), Encrypt="no")
    found: list[int] = []

    def read() -> None:
        with closing(pyodbc.connect(text, timeout=10)) as connection:
            found.append(len(connection.execute("SELECT note, id, amount FROM dbo.bulk ORDER BY amount").fetchall()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ROWS] * 4


def test_a_child_process_loads_by_a_function_of_a_file(tmp_path: Path) -> None:
    seed = tmp_path / "seed.py"
    seed.write_text(
        "import numpy as np\n"
        "def fill(database, shard, rows):\n"
        "    database.execute('CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, shard int NOT NULL)')\n"
        "    database.load_columns('dbo.t', {'id': np.arange(rows), 'shard': np.full(rows, shard)})\n"
    )
    with StandInProcess(load=f"{seed}:fill", load_options={"shard": 3, "rows": 1000}) as server:
        assert server.call("row_count", table="dbo.t") == 1000
        text = server.connection_string(microsoft_driver(), Encrypt="no")
        with closing(pyodbc.connect(text, timeout=10)) as connection:
            assert connection.execute("SELECT COUNT(*), MIN(shard) FROM dbo.t").fetchone()[1] == 3


def test_a_script_with_go_seeds_a_child_process(tmp_path: Path) -> None:
    script = tmp_path / "seed.sql"
    script.write_text(
        "CREATE SCHEMA sales\nGO\nCREATE TABLE sales.t (a int)\ngo\nINSERT INTO sales.t VALUES (1), (2)\n"
    )
    with StandInProcess(script=script) as server:
        assert server.call("row_count", table="sales.t") == 2
