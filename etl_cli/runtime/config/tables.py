"""The blocks `tables` and `defaults` of config.yaml: what is copied, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from etl_cli.runtime.config.section import Section
from etl_cli.runtime.config.units import Size, parse_duration


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


class TableDefaults(Section):
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
