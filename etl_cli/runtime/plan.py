"""What a run will do, as data: each table's columns on their way, its key, its order, its mode. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

LINEAGE = {"_etl_run_id": "bigint", "_etl_loaded_at": "timestamp with time zone"}
"""The columns that tell which run brought a row, and when."""

DELETED_AT = "_etl_deleted_at"
"""The column that `soft_delete` fills instead of deleting a row."""


@dataclass(frozen=True)
class ColumnPlan:
    """One column on its way: where it comes from, how it is selected, what it becomes."""

    source: str
    target: str
    source_type: str
    sink_type: str
    expression: str
    nullable: bool
    comment: str | None = None
    text: bool = False
    utf16: bool = False
    """The source keeps it as UTF-16, where half a surrogate pair may stand alone."""
    large: bool = False
    max_bytes: int = 16
    """What a value may take, by the column's declaration."""
    collation: str | None = None
    """The source's collation of a text column."""
    spatial: bool = False
    """Travels as WKB, which does not hold the SRID: that is read beside it."""
    derived: bool = False
    """Made by the query from another column: the source has none of that name."""


@dataclass(frozen=True)
class TablePlan:
    """One table from all shards into one target."""

    source_schema: str
    source_name: str
    target_schema: str
    target_name: str
    mode: str
    columns: tuple[ColumnPlan, ...]
    key: tuple[str, ...]
    """The target's key, the shard column last; () where rows have none."""
    order: tuple[str, ...]
    """The source columns along which a task is scanned; () = no order, one chunk."""
    shard_column: str | None
    where: str | None
    chunk_rows: int
    chunk_bytes: int
    apply: str
    validate: str
    allow_empty: bool
    nul_characters: str
    cursor: str | None = None
    """The source column along which append and upsert move."""
    lookback: float = 0
    contract: str = "evolve"
    on_bad_row: str = "fail"
    max_rejects: int = 0
    soft_delete: bool = False
    track_changes: bool = False
    lineage: bool = False
    comment: str | None = None
    row_estimates: Mapping[str, int | None] = field(default_factory=dict)
    reads: tuple[ColumnPlan, ...] = ()
    """The columns that are read, where etl.py makes others of them; () = those that are written."""
    reads_key: tuple[str, ...] = ()
    """The key of the rows that are read, where `reads` is given."""

    @property
    def source(self) -> str:
        """`schema.table`, as in config.yaml and in every message; an own source of etl.py has no schema."""
        return f"{self.source_schema}.{self.source_name}" if self.source_schema else self.source_name

    @property
    def target(self) -> str:
        """`schema.table` in the sink."""
        return f"{self.target_schema}.{self.target_name}"

    @property
    def reading(self) -> TablePlan:
        """The same table as its source has it."""
        if not self.reads:
            return self
        return replace(self, columns=self.reads, key=self.reads_key, reads=(), reads_key=())

    @property
    def incremental(self) -> bool:
        """Whether only rows above a watermark are read, and shown as each chunk commits."""
        return self.mode in ("append", "upsert", "changes")

    @property
    def target_columns(self) -> dict[str, str]:
        """The columns that a load writes and their Postgres types: the source's, the shard's, the lineage's."""
        columns = {column.target: column.sink_type for column in self.columns}
        if self.shard_column:
            columns[self.shard_column] = "text"
        return columns | (LINEAGE if self.lineage else {})

    @property
    def scope(self) -> str:
        """What a watermark tells of: another target, key or condition is another matter."""
        return json.dumps([self.target, sorted(self.key), self.where])

    @property
    def row_bytes(self) -> int:
        """What a row may take, by the declarations of its columns."""
        return sum(column.max_bytes for column in self.columns) or 1

    @property
    def has_large_columns(self) -> bool:
        """Whether any column is read piece by piece."""
        return any(column.large for column in self.columns)


@dataclass(frozen=True)
class Plan:
    """All tables of a run over all shards."""

    pipeline: str
    shards: tuple[str, ...]
    tables: tuple[TablePlan, ...]

    @property
    def fingerprint(self) -> str:
        """Changes with anything that decides which bytes land where; a run resumes only with its own."""
        facts = [asdict(table) for table in self.tables]
        for table in facts:
            table["row_estimates"] = table["comment"] = None
            for column in table["columns"]:
                column["comment"] = None
        return hashlib.sha256(json.dumps([facts, self.shards], sort_keys=True, default=str).encode()).hexdigest()[:16]
