"""Decides by which columns the rows of a table are told apart, and along which they are read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from etl_cli.runtime.found_table import FoundTable
from etl_cli.runtime.source.catalogue import SourceColumn
from etl_cli.runtime.type_map import can_be_key, why_no_cursor


def key_of(table: FoundTable) -> tuple[str, ...]:
    """The key's source columns: the configured ones, else the primary key, else ()."""
    key = []
    for name in table.entry.key or table.first.primary_key:
        column = table.first.column(name)
        if column is None or column.name not in table.copied:
            why = "is not copied: add it to `columns`" if column else "does not exist: name the columns under `key`"
            table.problem(f"key column {name} {why}")
        else:
            key.append(column.name)
            _check_key_column(table, table.columns(name))
    if not key and not table.problems:
        table.note("has no key: copied as one chunk, and not resumable in mid-table")
    return tuple(key)


def _check_key_column(table: FoundTable, columns: Mapping[str, SourceColumn]) -> None:
    first = next(iter(columns.values()))
    orderless = [shard for shard, column in columns.items() if not can_be_key(column.type)]
    nullable = [shard for shard, column in columns.items() if column.nullable]
    if orderless:
        kind = columns[orderless[0]].type
        table.problem(f"key column {first.name} is {kind}, which has no order: choose another `key`")
    elif nullable:
        table.problem(f"key column {first.name} may be NULL on {', '.join(nullable)}: choose another `key`")
    elif "_ci" in (first.type.collation or "").lower():
        table.note(
            f"key column {first.name} ignores case on the source ({first.type.collation}), "
            "in Postgres 'a' and 'A' are two keys"
        )


def cursor_of(table: FoundTable) -> str | None:
    """The source column along which append and upsert move; None in other modes, and where none is configured."""
    name = table.entry.cursor
    if table.entry.mode not in ("append", "upsert") or not name:
        return None
    columns = table.columns(name)
    first = columns.get(table.first_shard)
    if first is None or first.name not in table.copied:
        why = "is not copied: add it to `columns`" if first else "does not exist: name another under `cursor`"
        table.problem(f"cursor column {name} {why}")
        return None
    reason = why_no_cursor(first.type)
    if reason:
        table.problem(f"cursor column {name} is {first.type}, {reason}: choose another `cursor`, or mode sync")
    elif any(column.nullable for column in columns.values()):
        table.note(f"cursor column {name} may be NULL: rows without it are never read")
    return first.name


def order_of(table: FoundTable, key: tuple[str, ...], cursor: str | None) -> tuple[str, ...]:
    """The source columns along which rows are read; () = no order.

    (cursor, key) for what moves along a cursor, the key for what asks for changes by it, else as the rows lie.
    """
    if cursor is not None:
        return (cursor, *(name for name in key if name != cursor))
    return key if table.entry.mode == "changes" else _order_on_disk(table, key)


def _order_on_disk(table: FoundTable, key: tuple[str, ...]) -> tuple[str, ...]:
    """The clustered unique index where every shard has it and all of its columns are copied, else the key.

    A column that may be NULL has no place in the order: a comparison with it is neither true nor false.
    """
    tables = table.by_shard.values()
    clustered = {found.clustered_unique for found in tables}
    if not key or len(clustered) != 1:
        return key
    names = next(iter(clustered))
    columns = [found.column(name) for found in tables for name in names]
    usable = names and all(
        c is not None and not c.nullable and can_be_key(c.type) and c.name in table.copied for c in columns
    )
    return names if usable else key
