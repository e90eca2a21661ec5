"""A fresh database in the session's Postgres, made for one test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from pydantic import SecretStr

from etl_cli.runtime.config.model import ConnectionRetries, SinkConfig
from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.sink.connect import Sink, SinkConnection, connect_sink
from etl_cli.sandbox.postgres import PostgresServer

SUPERUSER = "postgres"


@dataclass(frozen=True)
class SinkDatabase:
    """A database that etl_user owns; `connect` gives plain connections, `open` those of the runtime."""

    host: str
    port: int
    database: str
    user: str
    password: str

    def connect(self, user: str | None = None, **options: Any) -> SinkConnection:
        """An autocommitting connection, as the sink's user by default."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=self.database,
            user=user or self.user,
            password=self.password,
            autocommit=True,
            **options,
        )

    def config(self, **changes: Any) -> SinkConfig:
        """What config.yaml would say."""
        return SinkConfig.model_validate(
            {
                "host": self.host,
                "port": self.port,
                "user": self.user,
                "password": SecretStr(self.password),
                "database": self.database,
                "sslmode": "disable",
                **changes,
            }
        )

    def sink(self, *, retries: int = 0, retry_delay: float = 0.01, **changes: Any) -> Sink:
        """The sink as a run knows it; a refused connection is not tried again by default."""
        return Sink(
            self.config(**changes), ConnectionRetries(retries=retries, retry_delay=f"{retry_delay}s", timeout="5s")
        )

    def open(self, application: str = "etl-cli test") -> SinkConnection:
        """A connection with the settings of a run."""
        return connect_sink(self.sink(), application)

    def role(self, name: str) -> str:
        """A login of that name for this test alone, with the password of all; its full name."""
        full = f"{name} {self.database}"
        with self.connect(SUPERUSER) as connection:
            connection.execute(f"CREATE ROLE {quote_sink(full)} LOGIN PASSWORD {quote_text(self.password)}")
        return full


@contextlib.contextmanager
def fresh_database(server: PostgresServer, name: str) -> Iterator[SinkDatabase]:
    """A new database, dropped at the end with whoever is still connected and with its roles."""
    with server.connect(SUPERUSER, SUPERUSER) as connection:
        connection.execute(f"CREATE DATABASE {quote_sink(name)} OWNER {quote_sink(server.user)}")
        connection.execute(f"GRANT CREATE ON DATABASE {quote_sink(name)} TO {quote_sink(server.user)}")
    with server.connect(SUPERUSER, name) as connection:
        connection.execute(f"GRANT ALL ON SCHEMA public TO {quote_sink(server.user)}")
    try:
        yield SinkDatabase("127.0.0.1", server.port, name, server.user, server.password)
    finally:
        with server.connect(SUPERUSER, SUPERUSER) as connection:
            connection.execute(f"DROP DATABASE {quote_sink(name)} WITH (FORCE)")
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"% {name}"]).fetchall()
            for (role,) in roles:
                connection.execute(f"DROP ROLE {quote_sink(str(role))}")
