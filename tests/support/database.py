"""A fresh database in the session's Postgres, made for one test."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from pydantic import SecretStr

from etl_cli.runtime.config.databases import ConnectionRetries, SinkConfig
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


class Databases:
    """Makes databases ahead and drops them behind the tests' backs: both take longer than most tests."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._making = ThreadPoolExecutor(1, thread_name_prefix="make-databases")
        self._dropping = ThreadPoolExecutor(1, thread_name_prefix="drop-databases")
        self._numbers = itertools.count(1)
        self._next = self._making.submit(self._create)
        self._drops: list[Future[None]] = []

    @contextlib.contextmanager
    def lend(self) -> Iterator[SinkDatabase]:
        """A new database, dropped at the end with whoever is still connected and with its roles."""
        database = self._next.result()
        self._next = self._making.submit(self._create)
        try:
            yield database
        finally:
            self._drops.append(self._dropping.submit(self._drop, database.database))

    def settle(self) -> None:
        """Wait until none is being made or dropped: a writer anywhere in a server makes new snapshots look old."""
        self._next.result()
        for drop in self._drops:
            drop.result()

    def close(self) -> None:
        """Wait for what is under way, and tell what could not be dropped."""
        self.settle()
        self._making.shutdown()
        self._dropping.shutdown()

    def _create(self) -> SinkDatabase:
        name = f"sink{next(self._numbers)}"
        with self._server.connect(SUPERUSER, SUPERUSER) as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {quote_sink(self._server.user)}")
        return SinkDatabase("127.0.0.1", self._server.port, name, self._server.user, self._server.password)

    def _drop(self, name: str) -> None:
        with self._server.connect(SUPERUSER, SUPERUSER) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"% {name}"]).fetchall()
            for (role,) in roles:
                connection.execute(f"DROP ROLE {quote_sink(str(role))}")
