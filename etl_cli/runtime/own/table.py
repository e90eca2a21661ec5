"""The table of an own source as the run's main process knows it, without Arrow: that is the workers' alone."""

from __future__ import annotations

from collections.abc import Sequence

from etl_cli.runtime.names import cut, fold
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.program.sources import Source

FROM_PROGRAM = "of etl.py"
"""The source type of a column of an own source."""


def member_column_of(source: Source, names: str) -> str | None:
    """The target's column for the member's name."""
    return cut(fold(source.member_column, names)) if source.member_column else None


def table_plan(
    source: Source, columns: Sequence[ColumnPlan], key: Sequence[str], *, schema: str, names: str
) -> TablePlan:
    """The plan of these columns; `key` is the target's, without the member's column."""
    member = member_column_of(source, names)
    target_schema, target_name = source.target_name(schema)
    return TablePlan(
        source_schema="",
        source_name=source.name,
        target_schema=target_schema,
        target_name=target_name,
        mode=source.mode,
        columns=tuple(columns),
        key=(*key, member) if key and member else tuple(key),
        order=(),
        shard_column=member,
        where=None,
        chunk_rows=1,
        chunk_bytes=1,
        apply="auto",
        validate="none",
        allow_empty=source.allow_empty,
        nul_characters=source.nul_characters,
        contract=source.schema,
        on_bad_row=source.on_bad_row,
        max_rejects=source.max_rejects,
        soft_delete=source.soft_delete,
        track_changes=source.track_changes,
        lineage=source.lineage,
    )
