"""The keys of config.yaml, their types and defaults: what `check` validates and editors complete."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from etl_cli.runtime.config.databases import NO_SINK, NO_SOURCE, ConnectionRetries, SinkConfig, SourceConfig
from etl_cli.runtime.config.schedule_syntax import check_schedule
from etl_cli.runtime.config.section import Section
from etl_cli.runtime.config.tables import TableConfig, TableDefaults
from etl_cli.runtime.config.units import Duration, Size


class ScheduleEntry(Section):
    """One line of a schedule list: when, and what that slot runs."""

    at: str
    tables: list[str] | None = None
    full: bool = False
    params: dict[str, Any] = {}

    @field_validator("at")
    @classmethod
    def _at_is_known(cls, value: str) -> str:
        return check_schedule(value)


class ErrorHandling(Section):
    """How a failed run is tried again."""

    max_retries: Annotated[int, Field(ge=0)] = 3
    retry_delay: Duration = 5.0
    max_retry_delay: Duration = 900.0
    exponential_backoff: bool = True
    retry_timeout: Duration = 3600.0
    on_shard_failure: Literal["fail", "continue"] = "fail"


class Parallelism(Section):
    """How much runs at the same time."""

    shards: Annotated[int, Field(ge=1)] = 4
    streams_per_shard: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] = 4


class History(Section):
    """How long the ledger remembers."""

    keep: Duration = 90 * 86400.0


class Alerts(Section):
    """Where alerts go (Apprise URLs) and which."""

    urls: list[SecretStr] = []
    on: list[Literal["failure", "recovery", "missed", "dead", "stalled"]] = [
        "failure",
        "recovery",
        "missed",
        "dead",
        "stalled",
    ]


class Health(Section):
    """The health endpoint."""

    listen: Annotated[str, Field(pattern=r"^.+:\d+$")] | None = None


class Logging(Section):
    """What is logged, and where to."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    directory: str | None = None
    max_bytes: Size = 10_000_000
    backups: Annotated[int, Field(ge=0)] = 5
    format: Literal["text", "json"] = "text"


class Config(Section):
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
