"""What Postgres says when it does not let anybody in: which of it passes, which does not."""

from __future__ import annotations

import psycopg
import pytest

from etl_cli.runtime.sink.connect import is_transient, translate

ADDRESS = 'connection to server at "10.0.0.1", port 5432 failed: '

PASSES = {
    "starting": "FATAL:  the database system is starting up",
    "stopping": "FATAL:  the database system is shutting down",
    "recovering": "FATAL:  the database system is in recovery mode",
    "full": "FATAL:  sorry, too many clients already",
    "full for a role": 'FATAL:  too many connections for role "etl"',
    "reserved": "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
    "refused": "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
    "no name": 'could not translate host name "nowhere" to address: Name or service not known',
    "timeout": "timeout expired",
    "cut off": "server closed the connection unexpectedly",
}
PASSES_TOO = {
    "hot standby": "FATAL:  the database system is not yet accepting connections",
    "standby without queries": "FATAL:  the database system is not accepting connections",
    "slow login": "FATAL:  canceling authentication due to timeout",
    "ended meanwhile": "FATAL:  terminating connection due to administrator command",
    "a pooler that is full": "FATAL:  no more connections allowed (max_client_conn)",
    "a pooler whose server is down": "FATAL:  server login has been failing, try again later (server_login_retry)",
}
STAYS = {
    "password": 'FATAL:  password authentication failed for user "etl"',
    "none": "fe_sendauth: no password supplied",
    "database": 'FATAL:  database "sinkdb" does not exist',
    "role": 'FATAL:  role "etl" does not exist',
    "hba": 'FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "etl", database "sinkdb", no encryption',
    "right": 'FATAL:  permission denied for database "sinkdb"\nDETAIL:  User does not have CONNECT privilege.',
    "login": 'FATAL:  role "etl" is not permitted to log in',
}


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_is_tried_again(name: str) -> None:
    assert is_transient(psycopg.OperationalError(ADDRESS + PASSES[name]))


@pytest.mark.parametrize("name", PASSES_TOO)
def test_what_a_server_says_that_will_come_back_is_tried_again(name: str) -> None:
    assert is_transient(psycopg.OperationalError(ADDRESS + PASSES_TOO[name]))


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_refused_is_not_tried_again(name: str) -> None:
    assert not is_transient(psycopg.OperationalError(ADDRESS + STAYS[name]))


def test_a_refusal_is_one_line() -> None:
    error = translate(psycopg.OperationalError(ADDRESS + PASSES["refused"]), "connecting to 10.0.0.1:5432/sinkdb")
    assert "\n" not in str(error)
    assert str(error).endswith(": check host and port, and that Postgres is up")
