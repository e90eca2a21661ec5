"""SQL Server shards for tests: stand-ins in this process, or databases of the server that ETL_TEST_MSSQL names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyodbc
from pydantic import SecretStr

from etl_cli.runtime.config.databases import ConnectionRetries, ShardConfig, SourceConfig
from etl_cli.runtime.source.connect import Shard, connect_odbc
from etl_cli.sandbox.standin import StandIn

USER = "sa"
PASSWORD = "YourStrong@Passw0rd"


@dataclass(frozen=True)
class Server:
    """A server that speaks TDS; `standin` is None where it is a real one."""

    host: str
    port: int
    standin: StandIn | None


@dataclass(frozen=True)
class TestShard:
    """A database of its own on a server."""

    __test__ = False

    name: str
    server: Server
    database: str

    def connect(self, database: str | None = None, *, user: str = USER, password: str = PASSWORD) -> pyodbc.Connection:
        """An autocommitting connection through the Microsoft driver."""
        return connect_odbc(self.as_shard(database or self.database, user=user, password=password), attempts=1)

    def execute(self, *statements: str) -> None:
        """Run statements, each on its own."""
        connection = self.connect()
        try:
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    def as_shard(self, database: str, *, user: str = USER, password: str = PASSWORD, driver: str = "auto") -> Shard:
        """The shard as the runtime sees it."""
        config = ShardConfig(name=self.name, host=self.server.host, port=self.server.port)
        source = SourceConfig(
            user=user,
            password=SecretStr(password),
            database=database,
            driver=driver,
            trust_server_certificate=True,
            shards=[config],
        )
        return Shard(config, source, ConnectionRetries(retries=0))

    def config(self) -> dict[str, Any]:
        """The shard's entry in config.yaml."""
        return {"name": self.name, "host": self.server.host, "port": self.server.port, "database": self.database}


@dataclass
class Shards:
    """The four shards of a test."""

    all: Sequence[TestShard]
    extra: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[TestShard]:
        return iter(self.all)

    def __getitem__(self, index: int) -> TestShard:
        return self.all[index]

    def execute(self, *statements: str) -> None:
        """Run the same statements on every shard."""
        for shard in self.all:
            shard.execute(*statements)

    def config(self, **changes: Any) -> dict[str, Any]:
        """The `source` block of config.yaml."""
        return {
            "user": USER,
            "password": PASSWORD,
            "database": "unused",
            "trust_server_certificate": True,
            "shards": [shard.config() for shard in self.all],
            **changes,
        }


@contextmanager
def servers() -> Iterator[list[Server]]:
    """Four stand-ins, or four times the server of ETL_TEST_MSSQL (host:port)."""
    named = os.environ.get("ETL_TEST_MSSQL")
    if named:
        host, _, port = named.rpartition(":")
        yield [Server(host, int(port), None)] * 4
        return
    with ExitStack() as stack:
        yield [
            Server("127.0.0.1", standin.port, standin)
            for standin in (stack.enter_context(StandIn(port=0, user=USER, password=PASSWORD)) for _ in range(4))
        ]


@contextmanager
def fresh_shards(servers: Sequence[Server], number: int) -> Iterator[Shards]:
    """A new database on each server, dropped at the end."""
    shards = [
        TestShard(f"shard{n}", server, f"etl_test_{os.getpid()}_{number}_{n}")
        for n, server in enumerate(servers, start=1)
    ]
    for shard in shards:
        _master(shard, f"CREATE DATABASE {shard.database}")
        _master(shard, f"ALTER DATABASE {shard.database} SET ALLOW_SNAPSHOT_ISOLATION ON")
    try:
        yield Shards(shards)
    finally:
        for shard in shards:
            if shard.server.standin is None:  # the stand-in forgets everything when it ends
                _master(shard, f"DROP DATABASE {shard.database}")


def _master(shard: TestShard, statement: str) -> None:
    connection = shard.connect("master")
    try:
        connection.execute(statement)
    finally:
        connection.close()
