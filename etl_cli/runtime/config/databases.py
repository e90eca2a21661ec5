"""The blocks `source`, `sink` and `connection` of config.yaml: which databases, and how they are reached."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from etl_cli.runtime.config.section import Section
from etl_cli.runtime.config.units import Duration


class ConnectionRetries(Section):
    """How a connection is tried again, to a shard or the sink; separate from the retries of a run."""

    retries: Annotated[int, Field(ge=0)] = 3
    retry_delay: Duration = 1.0
    timeout: Duration = 15.0


Port = Annotated[int, Field(ge=1, le=65535)]


class ShardConfig(Section):
    """One of the SQL Server databases; what it leaves out comes from `source`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
    host: str
    port: Port = 1433
    user: str | None = None
    password: SecretStr | None = None
    database: str | None = None


_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)


def _hide_secrets(value: object) -> object:
    """Options are free keywords of a driver; those that are named like a secret are kept like one."""
    if not isinstance(value, dict):
        return value
    return {k: SecretStr(v) if isinstance(v, str) and _SECRET.search(str(k)) else v for k, v in value.items()}


def plain(value: SecretStr | bool | int | str) -> str:
    """An option's value as the driver wants it. Not for messages."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


Options = Annotated[dict[str, SecretStr | bool | int | str], BeforeValidator(_hide_secrets)]


class SourceConfig(Section):
    """How every shard is reached and read."""

    type: Literal["sqlserver"] = "sqlserver"
    driver: str = "auto"
    user: str | None = None
    password: SecretStr | None = None
    database: str
    encrypt: bool | Literal["strict"] = True
    trust_server_certificate: bool = False
    isolation: Literal["auto", "snapshot", "read_committed"] = "auto"
    options: Options = {}
    lock_timeout: Duration = 30.0
    query_timeout: Duration | None = None
    max_rows_per_s: Annotated[int, Field(gt=0)] | None = None
    max_connections: Annotated[int, Field(ge=1)] = 8
    shards: Annotated[list[ShardConfig], Field(min_length=1)]

    @field_validator("shards")
    @classmethod
    def _names_are_unique(cls, shards: list[ShardConfig]) -> list[ShardConfig]:
        names = [shard.name for shard in shards]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two shards have the name {', '.join(twice)}; names must be unique")
        return shards


NO_SOURCE = SourceConfig.model_construct(database="", shards=[])
"""Of a pipeline that copies no tables: its etl.py has sources of its own."""


class SinkConfig(Section):
    """The Postgres database that is written."""

    type: Literal["postgres"] = "postgres"
    host: str = "localhost"
    port: Port = 5432
    user: str
    password: SecretStr | None = None
    database: str
    schema_: Annotated[str, Field(alias="schema")] = "public"
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    options: Options = {}
    max_connections: Annotated[int, Field(ge=4)] = 8


NO_SINK = SinkConfig.model_construct(user="", database="")
"""Of a program whose own sources feed own writers alone; it has no ledger."""
