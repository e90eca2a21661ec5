"""Logging in: three drivers, four kinds of encryption, and the refusals with their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mssql_python
import pyodbc
import pytest

from etl_cli.sandbox.standin import StandIn, StandInProcess
from tests.integration.standin.drivers import Drivers, microsoft_driver, number_of


@pytest.mark.parametrize("encrypt", ["no", "yes"])
def test_microsofts_driver_connects_and_selects(connect: Drivers, encrypt: str) -> None:
    assert tuple(connect.odbc(encrypt=encrypt).execute("SELECT 1, N'ö😀'").fetchone()) == (1, "ö😀")


def test_microsofts_driver_connects_strictly_with_the_servers_certificate(connect: Drivers, tmp_path: Path) -> None:
    certificate = tmp_path / "standin.pem"
    certificate.write_bytes(connect.server.certificate_pem)
    connection = connect.odbc(encrypt="strict", ServerCertificate=str(certificate))
    assert connection.execute("SELECT COUNT(*) FROM sys.databases").fetchval() >= 5


@pytest.mark.parametrize("encrypt", ["no", "yes"])
def test_mssql_python_reads_rows_and_arrow(connect: Drivers, encrypt: str) -> None:
    cursor = connect.mssql(encrypt=encrypt).cursor()
    cursor.execute("SELECT 1 AS a, N'ö' AS b")
    assert [tuple(row) for row in cursor.fetchall()] == [(1, "ö")]
    cursor.execute("SELECT 1 AS a, N'ö' AS b")
    assert cursor.arrow_batch(10).to_pylist() == [{"a": 1, "b": "ö"}]


@pytest.mark.parametrize("encryption", ["off", "request", "require"])
def test_freetds_connects_and_selects(connect: Drivers, encryption: str) -> None:
    assert tuple(connect.freetds(Encryption=encryption).execute("SELECT 1, N'ö'").fetchone()) == (1, "ö")


@pytest.mark.parametrize(
    ("mode", "encrypt"), [("none", "no"), ("login", "no"), ("required", "no"), ("required", "yes")]
)
def test_each_mode_of_encryption_lets_its_clients_in(
    drivers_of: Callable[[StandInProcess], Drivers], mode: str, encrypt: str
) -> None:
    with StandInProcess(encryption=mode) as server:
        connect = drivers_of(server)
        assert connect.odbc(encrypt=encrypt).execute("SELECT 7").fetchval() == 7


def test_a_wrong_password_is_18456(connect: Drivers) -> None:
    with pytest.raises(pyodbc.Error, match="Login failed for user 'sa'") as caught:
        connect.odbc(PWD="wrong")
    assert number_of(caught.value) == 18456
    assert caught.value.args[0] == "28000"


def test_an_unknown_database_is_4060(connect: Drivers) -> None:
    with pytest.raises(pyodbc.Error, match='Cannot open database "nowhere"') as caught:
        connect.odbc(DATABASE="nowhere")
    assert "(4060)" in str(caught.value.args[1])


def test_mssql_python_is_refused_with_the_text(connect: Drivers) -> None:
    with pytest.raises(mssql_python.Error, match="Login failed for user 'sa'"):
        connect.mssql(PWD="wrong")


def test_a_password_never_shows_in_a_login(standin: StandInProcess) -> None:
    from etl_cli.sandbox.standin.wire.login import Login

    login = Login("sa", "secret", "db", "app", "host", 4096, 0x74000004, ())
    assert "secret" not in repr(login)


@pytest.mark.parametrize("size", [512, 4096, 8000, 32767])
def test_the_packet_size_is_agreed_on(connect: Drivers, size: int) -> None:
    connection = connect.odbc(PacketSize=str(size))
    text = connection.execute("SELECT REPLICATE(CAST(N'x' AS nvarchar(max)), 100000)").fetchval()
    assert text == "x" * 100_000


def test_two_statements_may_not_be_open_at_once_without_mars(connect: Drivers) -> None:
    connection = connect.odbc()
    first = connection.execute("SELECT name FROM sys.types")
    with pytest.raises(pyodbc.Error, match="busy"):
        connection.execute("SELECT 1")
    assert len(first.fetchall()) == 34


def test_a_pooled_connection_starts_afresh(connect: Drivers) -> None:
    """mssql-python's pool sends RESETCONNECTION: the open transaction is gone, and so are the settings."""
    mssql_python.pooling(enabled=True)
    try:
        for _ in range(3):
            connection = connect.mssql(autocommit=False)
            cursor = connection.cursor()
            cursor.execute("SET LOCK_TIMEOUT 5; SELECT @@TRANCOUNT, @@LOCK_TIMEOUT")
            assert cursor.nextset() is not None
            connection.close()
        cursor = connect.mssql(autocommit=False).cursor()
        cursor.execute("SELECT @@LOCK_TIMEOUT")
        assert cursor.fetchval() == -1
    finally:
        mssql_python.pooling(enabled=False)


def test_a_stand_in_works_in_this_process_too() -> None:
    with StandIn(port=0) as server:
        text = server.connection_string(microsoft_driver(), Encrypt="no")
        connection = pyodbc.connect(text, timeout=10)
        assert connection.execute("SELECT DB_NAME()").fetchval() == server.database.name
        connection.close()


def test_it_listens_on_the_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        StandIn(port=0, host="0.0.0.0")


def test_the_server_tells_who_and_what_it_is(sql: Callable[..., list[Any]]) -> None:
    assert sql(
        "SELECT DB_NAME(), SUSER_SNAME(), USER_NAME(), SCHEMA_NAME(), CAST(SERVERPROPERTY('EngineEdition') AS int), "
        "CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(30)), @@SERVERNAME, CAST(DATABASEPROPERTYEX(DB_NAME(), "
        "'Collation') AS nvarchar(60))"
    ) == [("sourcedb", "sa", "dbo", "dbo", 3, "16.0.4175.1", "standin", "SQL_Latin1_General_CP1_CI_AS")]
