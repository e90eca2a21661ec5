"""Connections to the sink, and what its errors mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from etl_cli.runtime.config.databases import ConnectionRetries, SinkConfig, plain
from etl_cli.runtime.errors import ConfigError, SinkError

LOCK_TIMEOUT_S = 10
IDLE_IN_TRANSACTION_S = 300
CLIENT_CHECK_S = 5
"""A statement whose client is gone ends within this time (`client_connection_check_interval`)."""
SERIALIZATION_FAILURE = "40001"
"""The SQLSTATE of what another try may mend."""

SinkConnection = psycopg.Connection[tuple[Any, ...]]

_REMEDIES = {
    "28P01": "check sink.user and sink.password in .env",
    "28000": "check sink.user, and that pg_hba.conf lets it in",
    "3D000": "create the database, or check sink.database",
    "42501": "grant the right to the sink user",
    "53100": "free disk space on the sink",
    "57P03": "wait until it is up",
    "53300": "lower parallelism, or raise max_connections of the server",
    "23505": "another row has that value in a unique column; where such values change places between rows, use mode "
    "sync, which applies all changes at once",
    "55P03": "another session holds a lock on the table",
    "57014": "the statement was cancelled",
    "57P01": "the connection was ended by an administrator or by another attempt",
}
_PERMANENT_CLASSES = ("28", "3D", "42", "0A", "22", "23")


@dataclass(frozen=True)
class Sink:
    """The sink with all that it takes to reach it."""

    config: SinkConfig
    retries: ConnectionRetries

    @property
    def address(self) -> str:
        """`host:port/database`, for messages."""
        return f"{self.config.host}:{self.config.port}/{self.config.database}"


_SETTINGS = {
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
    "client_connection_check_interval": f"{CLIENT_CHECK_S}s",
    "timezone": "UTC",
    # what a role or database may have set for people, and what would stop or change a run
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}


def connect_sink(sink: Sink, application: str, *, attempts: int | None = None) -> SinkConnection:
    """An autocommitting connection named `application`, with the timeouts that a run relies on.

    Raises SinkError after the tries that `connection` allows (or `attempts`), at once for what
    another try cannot mend. Raises ConfigError where no sink is configured.
    """
    if not sink.config.database:
        raise ConfigError("no sink is configured, and with it no ledger", "name the Postgres database under `sink`")
    tries = Retrying(
        stop=stop_after_attempt(attempts or 1 + sink.retries.retries),
        wait=wait_exponential_jitter(multiplier=sink.retries.retry_delay, max=30, jitter=sink.retries.retry_delay / 4),
        retry=retry_if_exception(is_transient),
        reraise=True,
    )
    try:
        return tries(_opened, sink, application)
    except psycopg.Error as error:
        raise translate(error, f"connecting to {sink.address}") from error


def name_session(connection: SinkConnection, application: str) -> None:
    """Say in `pg_stat_activity` what the session works on now."""
    connection.execute("SELECT set_config('application_name', %s, false)", [application[:63]])


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: what is not of a permanent SQLSTATE class may."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state = error.sqlstate or _state_in(str(error))
    return state is None or not state.startswith(_PERMANENT_CLASSES)


def translate(error: psycopg.Error, doing: str) -> SinkError:
    """Psycopg's error as one line: what was being done, what Postgres said, what to do."""
    state = error.sqlstate or _state_in(str(error))
    said = error.diag.message_primary or " ".join(str(error).split())
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    remedy = _REMEDIES.get(state or "", "")
    if state is None:
        options = isinstance(error, psycopg.ProgrammingError)
        remedy = "check sink.options" if options else "check host and port, and that Postgres is up"
    return SinkError(f"sink: {doing} failed: {said}{detail}", remedy or f"SQLSTATE {state}", sqlstate=state)


def _state_in(text: str) -> str | None:
    """A refused login carries no SQLSTATE in libpq: its text tells.

    Only what is known to stay refused is permanent; what a server or a pooler says besides may pass.
    """
    if "too many" in text or "remaining connection slots" in text:
        return "53300"
    if any(passing in text for passing in ("starting up", "shutting down", "recovery mode")):
        return "57P03"
    if "permission denied for database" in text:
        return "42501"
    if "is not permitted to log in" in text:
        return "28000"
    if "password authentication failed" in text or "no password supplied" in text:
        return "28P01"
    if "no pg_hba.conf entry" in text or ("role" in text and "does not exist" in text):
        return "28000"
    if "database" in text and "does not exist" in text:
        return "3D000"
    return None


def _opened(sink: Sink, application: str) -> SinkConnection:
    config = sink.config
    keywords: dict[str, Any] = {
        **{name: plain(value) for name, value in config.options.items()},
        "host": config.host,
        "port": config.port,
        "user": config.user,
        "dbname": config.database,
        "sslmode": config.sslmode,
        "application_name": application[:63],
        "client_encoding": "UTF8",
        "connect_timeout": max(2, int(sink.retries.timeout)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    if config.password is not None:
        keywords["password"] = config.password.get_secret_value()
    connection = psycopg.connect(autocommit=True, **keywords)
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS settings(name, value)"
        " WHERE name IN (SELECT s.name FROM pg_settings AS s)",
        [
            list(_SETTINGS),
            list(_SETTINGS.values()),
        ],
    )
    return connection
