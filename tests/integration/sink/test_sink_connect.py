"""Connecting to the sink: what a refusal says, what is tried again, and what a session is set to."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from etl_cli.runtime.config.databases import ConnectionRetries
from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.sink.connect import connect_sink, is_transient, name_session, translate
from tests.conftest import free_port
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.publishing import value


def refused(where: SinkDatabase, **changes: Any) -> tuple[SinkError, float]:
    """The error of a connection with 2 retries, after 0.3 s and 0.6 s, and how long it took."""
    sink = replace(where.sink(**changes), retries=ConnectionRetries(retries=2, retry_delay="300ms", timeout="5s"))
    began = time.monotonic()
    with pytest.raises(SinkError) as caught:
        connect_sink(sink, "etl-cli test")
    return caught.value, time.monotonic() - began


def test_a_wrong_password_is_one_line_with_its_remedy_and_not_tried_again(shared_sink: SinkDatabase) -> None:
    error, seconds = refused(shared_sink, password="wrong")
    assert "\n" not in str(error)
    assert f"connecting to 127.0.0.1:{shared_sink.port}/{shared_sink.database} failed" in str(error)
    assert 'password authentication failed for user "etl_user"' in str(error)
    assert error.remedy == "check sink.user and sink.password in .env"
    assert (error.sqlstate, error.exit_code) == ("28P01", 1)
    assert seconds < 0.8


def test_a_missing_password_is_refused_like_a_wrong_one(shared_sink: SinkDatabase) -> None:
    error, seconds = refused(shared_sink, password=None, options={"passfile": "/dev/null"})
    assert error.remedy == "check sink.user and sink.password in .env"
    assert seconds < 0.8


def test_an_unknown_database_is_not_tried_again(shared_sink: SinkDatabase) -> None:
    error, seconds = refused(shared_sink, database="nowhere")
    assert 'database "nowhere" does not exist' in str(error)
    assert error.remedy == "create the database, or check sink.database"
    assert seconds < 0.8


def test_an_unknown_user_is_not_tried_again(shared_sink: SinkDatabase) -> None:
    # scram does not tell an unknown user from a wrong password
    error, seconds = refused(shared_sink, user="nobody here")
    assert error.sqlstate == "28P01"
    assert seconds < 0.8


def test_a_user_who_may_not_connect_is_not_tried_again(sink: SinkDatabase) -> None:
    reader = sink.role("reader")
    with sink.connect(SUPERUSER) as connection:
        connection.execute(f'REVOKE CONNECT ON DATABASE "{sink.database}" FROM PUBLIC')
    error, seconds = refused(sink, user=reader)
    assert "permission denied for database" in str(error)
    assert seconds < 0.8
    assert error.sqlstate == "42501"


def test_a_role_without_login_is_not_tried_again(sink: SinkDatabase) -> None:
    reader = sink.role("reader")
    with sink.connect(SUPERUSER) as connection:
        connection.execute(f'ALTER ROLE "{reader}" NOLOGIN')
    error, seconds = refused(sink, user=reader)
    assert seconds < 0.8
    assert error.sqlstate == "28000"


def test_an_option_that_libpq_does_not_know_is_not_tried_again(shared_sink: SinkDatabase) -> None:
    error, seconds = refused(shared_sink, options={"aplication_name": "x"})
    assert 'invalid connection option "aplication_name"' in str(error)
    assert seconds < 0.8
    assert "sink.options" in error.remedy


def test_a_closed_port_is_tried_again_and_names_the_remedy(shared_sink: SinkDatabase) -> None:
    port = free_port()
    error, seconds = refused(shared_sink, port=port)
    assert "\n" not in str(error)
    assert f"connecting to 127.0.0.1:{port}/{shared_sink.database} failed" in str(error)
    assert error.remedy == "check host and port, and that Postgres is up"
    assert error.sqlstate is None
    assert seconds > 0.8


def test_an_unknown_host_names_the_remedy(shared_sink: SinkDatabase) -> None:
    error, _ = refused(shared_sink, host="nowhere.invalid")
    assert error.remedy == "check host and port, and that Postgres is up"


def test_a_server_that_comes_up_meanwhile_is_reached(shared_sink: SinkDatabase) -> None:
    """A proxy on a fixed port drops the first connection and passes the second on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = replace(shared_sink.sink(retries=3, retry_delay=0.05), config=shared_sink.config(port=port))
        import threading

        proxy = threading.Thread(target=_drop_one_then_pass, args=(listener, shared_sink.port), daemon=True)
        proxy.start()
        with connect_sink(config, "etl-cli test") as connection:
            assert value(connection, "SELECT 1") == 1
        proxy.join(10)


def _drop_one_then_pass(listener: socket.socket, port: int) -> None:
    import threading

    listener.accept()[0].close()
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_a_session_is_set_to_what_a_run_relies_on(shared_sink: SinkDatabase) -> None:
    with connect_sink(shared_sink.sink(), "etl-cli orders run 7 dbo.orders shard1") as connection:
        shown = {
            name: value(connection, f"SHOW {name}")
            for name in (
                *("lock_timeout", "idle_in_transaction_session_timeout", "client_connection_check_interval"),
                *("TimeZone", "application_name", "client_encoding"),
            )
        }
        assert connection.autocommit
    assert shown == {
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "5min",
        "client_connection_check_interval": "5s",
        "TimeZone": "UTC",
        "application_name": "etl-cli orders run 7 dbo.orders shard1",
        "client_encoding": "UTF8",
    }


def test_the_settings_outlive_a_rolled_back_transaction(shared_sink: SinkDatabase) -> None:
    with shared_sink.open() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("SELECT 1/0")
        assert value(connection, "SHOW lock_timeout") == "10s"


def test_a_long_application_name_is_cut_not_refused(shared_sink: SinkDatabase) -> None:
    with connect_sink(shared_sink.sink(), "etl-cli " + "x" * 100) as connection:
        assert len(value(connection, "SHOW application_name")) == 63
        name_session(connection, "etl-cli " + "y" * 100)
        assert value(connection, "SHOW application_name") == "etl-cli " + "y" * 55


def test_further_keywords_of_libpq_are_handed_on(shared_sink: SinkDatabase) -> None:
    with connect_sink(
        shared_sink.sink(options={"options": "-c work_mem=7MB", "keepalives_idle": 7}), "x"
    ) as connection:
        assert value(connection, "SHOW work_mem") == "7MB"


@pytest.mark.parametrize("way", ["role", "environment"])
def test_text_is_sent_as_utf8_whatever_the_role_or_the_environment_says(
    sink: SinkDatabase, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    else:
        with sink.connect(SUPERUSER) as connection:
            connection.execute(f"ALTER ROLE etl_user IN DATABASE {sink.database} SET client_encoding = 'LATIN1'")
    with sink.open() as connection:
        assert value(connection, "SHOW client_encoding") == "UTF8"


@pytest.mark.parametrize("setting", ["statement_timeout = '1s'", "default_transaction_isolation = 'serializable'"])
def test_a_roles_own_settings_do_not_hold_for_a_run(sink: SinkDatabase, setting: str) -> None:
    with sink.connect(SUPERUSER) as connection:
        connection.execute(f"ALTER ROLE etl_user IN DATABASE {sink.database} SET {setting}")
    name, default = setting.split()[0], {"statement_timeout": "0"}.get(setting.split()[0], "read committed")
    with sink.open() as connection:
        assert value(connection, f"SHOW {name}") == default


def test_a_refused_session_leaves_no_connection_open(sink: SinkDatabase) -> None:
    for _ in range(3):
        refused(sink, password="wrong")
    with sink.connect() as connection:
        assert value(connection, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == 1


@pytest.mark.parametrize(
    ("statement", "transient"),
    [
        ("SELECT 1/0", False),
        ("SELECT * FROM nowhere", False),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '08006'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '55P03'; END $$", True),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42501'; END $$", False),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '23505'; END $$", False),
    ],
)
def test_an_error_is_transient_by_its_sqlstate(shared_sink: SinkDatabase, statement: str, transient: bool) -> None:
    with shared_sink.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    assert is_transient(caught.value) is transient


def test_other_errors_are_not_transient() -> None:
    assert not is_transient(ValueError("x"))


def test_a_translated_error_says_what_was_done_what_postgres_said_and_what_to_do(shared_sink: SinkDatabase) -> None:
    with shared_sink.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '42501', DETAIL = 'more'; END $$")
    error = translate(caught.value, "doing it")
    assert str(error) == "sink: doing it failed: said (more): grant the right to the sink user"
    assert error.sqlstate == "42501"


def test_a_statement_that_is_ended_from_outside_says_so(shared_sink: SinkDatabase) -> None:
    with shared_sink.open() as connection, shared_sink.connect(SUPERUSER) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT 1")
    error = translate(caught.value, "loading")
    assert error.sqlstate == "57P01"
    assert "ended by an administrator or by another attempt" in error.remedy
