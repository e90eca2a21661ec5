"""The keys of config.yaml, their types and defaults: what `check` validates and editors complete."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from etl_cli.runtime.config.schedule_syntax import check_schedule
from etl_cli.runtime.config.units import Duration, Size, parse_duration


class _Section(BaseModel):
    """A block of config.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleEntry(_Section):
    """One line of a schedule list: when, and what that slot runs."""

    at: str
    tables: list[str] | None = None
    full: bool = False
    params: dict[str, Any] = {}

    @field_validator("at")
    @classmethod
    def _at_is_known(cls, value: str) -> str:
        return check_schedule(value)


class ErrorHandling(_Section):
    """How a failed run is tried again."""

    max_retries: Annotated[int, Field(ge=0)] = 3
    retry_delay: Duration = 5.0
    max_retry_delay: Duration = 900.0
    exponential_backoff: bool = True
    retry_timeout: Duration = 3600.0
    on_shard_failure: Literal["fail", "continue"] = "fail"


class ConnectionRetries(_Section):
    """How a connection is tried again, to a shard or the sink; separate from the retries of a run."""

    retries: Annotated[int, Field(ge=0)] = 3
    retry_delay: Duration = 1.0
    timeout: Duration = 15.0


Port = Annotated[int, Field(ge=1, le=65535)]


class ShardConfig(_Section):
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


class SourceConfig(_Section):
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


class SinkConfig(_Section):
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


def _lookback(value: object) -> object:
    """A number stays a number (an integer cursor), a text is a duration; neither may be negative."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_number else parse_duration(value)


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[str],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


TypeRequest = Literal["varchar", "offset", "postgis", "vector"]
"""Another Postgres type than the usual one for a column: see docs/types.md."""


class TableDefaults(_Section):
    """What `defaults` may say for all tables."""

    target: str | None = None
    mode: Literal["replace", "append", "upsert", "sync", "changes"] = "replace"
    names: Literal["fold", "keep"] = "fold"
    exclude: list[str] = []
    apply: Literal["auto", "swap", "difference"] = "auto"
    key: Names | None = None
    cursor: str | None = None
    lookback: Annotated[float | int, BeforeValidator(_lookback)] = 0
    shard_column: str | None = "shard"
    columns: Names | None = None
    types: dict[str, TypeRequest] = {}
    where: str | None = None
    chunk_rows: Annotated[int, Field(ge=1)] = 100_000
    chunk_bytes: Size = 64_000_000
    schema_: Annotated[Literal["evolve", "freeze", "discard"], Field(alias="schema")] = "evolve"
    validate_: Annotated[Literal["none", "counts", "checksums"], Field(alias="validate")] = "counts"
    allow_empty: bool = False
    on_bad_row: Literal["fail", "reject"] = "fail"
    nul_characters: Literal["fail", "strip"] = "fail"
    max_rejects: Annotated[int, Field(ge=0)] = 0
    soft_delete: bool = False
    track_changes: bool = False
    lineage: bool = False


class TableConfig(TableDefaults):
    """A source table (or a pattern of them), its target and how it is copied."""

    source: Annotated[str, Field(min_length=1)]

    @property
    def is_pattern(self) -> bool:
        """Whether `source` stands for many tables."""
        return any(letter in self.source for letter in "*?")

    @model_validator(mode="after")
    def _fits_together(self) -> TableConfig:
        if self.mode in ("append", "upsert") and self.cursor is None:
            raise ValueError(f"mode {self.mode} needs a cursor: name the column that grows, e.g. cursor: updated_at")
        if (self.soft_delete or self.track_changes) and self.mode not in ("sync", "changes"):
            key = "soft_delete" if self.soft_delete else "track_changes"
            raise ValueError(f"{key} goes with the modes that see deletes: use mode: sync or changes")
        if self.is_pattern and self.target is not None:
            raise ValueError("a pattern has no target: each of its tables keeps its own name")
        if self.exclude and not self.is_pattern:
            raise ValueError("exclude stands beside a pattern only; this source names one table")
        return self


class Parallelism(_Section):
    """How much runs at the same time."""

    shards: Annotated[int, Field(ge=1)] = 4
    streams_per_shard: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] = 4


class History(_Section):
    """How long the ledger remembers."""

    keep: Duration = 90 * 86400.0


class Alerts(_Section):
    """Where alerts go (Apprise URLs) and which."""

    urls: list[SecretStr] = []
    on: list[Literal["failure", "recovery", "missed", "dead", "stalled"]] = [
        "failure",
        "recovery",
        "missed",
        "dead",
        "stalled",
    ]


class Health(_Section):
    """The health endpoint."""

    listen: Annotated[str, Field(pattern=r"^.+:\d+$")] | None = None


class Logging(_Section):
    """What is logged, and where to."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    directory: str | None = None
    max_bytes: Size = 10_000_000
    backups: Annotated[int, Field(ge=0)] = 5
    format: Literal["text", "json"] = "text"


class Config(_Section):
    """All of config.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    schedule: str | list[ScheduleEntry] | None = None
    timezone: str = "UTC"
    catchup: Literal["none", "latest", "all"] = "latest"
    overlap: Literal["skip", "queue", "allow"] = "skip"
    jitter: Duration = 0.0
    start_at: str | None = None
    end_at: str | None = None
    run_timeout: Duration | None = None
    stall_timeout: Duration = 600.0
    stop_grace: Duration = 20.0
    resume_within: Duration = 86400.0
    max_resumptions: Annotated[int, Field(ge=0)] = 20
    error_handling: ErrorHandling = ErrorHandling()
    connection: ConnectionRetries = ConnectionRetries()
    source: SourceConfig = NO_SOURCE
    sink: SinkConfig = NO_SINK
    defaults: TableDefaults = TableDefaults()
    tables: list[TableConfig] = []
    parallelism: Parallelism = Parallelism()
    params: dict[str, Any] = {}
    fail_fast: bool = True
    history: History = History()
    engine: Literal["local", "procrastinate"] = "local"
    alerts: Alerts = Alerts()
    health: Health = Health()
    logging: Logging = Logging()
    _directory: Path | None = PrivateAttr(default=None)
    _text: str | None = PrivateAttr(default=None)

    @property
    def directory(self) -> Path | None:
        """Where it was read from; None for one that was made in a program."""
        return self._directory

    @property
    def has_sink(self) -> bool:
        """Whether there is a Postgres, and with it a ledger."""
        return bool(self.sink.database)

    @property
    def text(self) -> str | None:
        """What config.yaml held when it was read: other processes of the run go by the same."""
        return self._text

    def read_from(self, directory: Path, text: str) -> Config:
        """The same, which remembers where it was read from."""
        self._directory, self._text = directory, text
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults_hold_for_all_tables(cls, data: Any) -> Any:
        """Put `defaults` under every table before the tables are validated."""
        if not isinstance(data, dict) or not isinstance(data.get("defaults") or {}, dict):
            return data
        tables = data.get("tables")
        if not isinstance(tables, list):
            return data
        known = {field.alias or name for name, field in TableDefaults.model_fields.items()}
        defaults = {key: value for key, value in (data.get("defaults") or {}).items() if key in known}
        merged = [{**defaults, **t} if isinstance(t, dict) else t for t in tables]
        return {**data, "tables": merged}

    @model_validator(mode="after")
    def _tables_have_both_sides(self) -> Config:
        if self.tables and not self.source.shards:
            raise ValueError("tables are read from `source`, which is missing: name its shards")
        if self.tables and not self.has_sink:
            raise ValueError("tables are copied to `sink`, which is missing: name the Postgres database")
        return self

    @field_validator("id", mode="before")
    @classmethod
    def _id_is_text(cls, value: object) -> object:
        """YAML reads an id of eight digits as a number."""
        return f"{value:08d}" if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("schedule")
    @classmethod
    def _schedule_is_known(cls, value: str | list[ScheduleEntry] | None) -> str | list[ScheduleEntry] | None:
        return check_schedule(value) if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone; use a name such as Europe/Berlin") from error
        return value

    @field_validator("start_at", "end_at", mode="before")
    @classmethod
    def _instant_is_text(cls, value: object) -> object:
        """YAML reads a date as a date; it is kept as ISO text."""
        return value.isoformat() if hasattr(value, "isoformat") else value

    @field_validator("start_at", "end_at")
    @classmethod
    def _instant_is_iso(cls, value: str | None) -> str | None:
        try:
            dt.datetime.fromisoformat(value or "2026-01-31")
        except ValueError as error:
            raise ValueError(f"{value!r} is not a time such as 2026-01-31 or 2026-01-31T06:00:00") from error
        return value
