"""Checks what mode, key, order and names of a table ask of one another. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from etl_cli.runtime.found_table import FoundTable
from etl_cli.runtime.names import collisions, fold
from etl_cli.runtime.plan import DELETED_AT, LINEAGE, ColumnPlan
from etl_cli.runtime.type_map import can_be_key

CUT_TYPES = ("datetime2(7)", "datetimeoffset(7)", "time(7)")
"""Types of which Postgres keeps six digits of a second."""

FIRST_WITH_UTF8 = 15
"""SQL Server 2019: the first whose collations can turn text into UTF-8."""


def check_mode(table: FoundTable, key: tuple[str, ...]) -> None:
    """What the mode needs of the key."""
    mode = table.entry.mode
    if mode in ("upsert", "sync", "changes") and not key:
        table.problem(f"mode {mode} needs a key to tell rows apart: name its columns under `key`")
    if mode in ("upsert", "append", "changes", "sync"):
        _refuse_cut_keys(table, key)
    if mode == "append" and table.entry.lookback and not key:
        table.problem("a lookback in mode append needs a key, or rows would come twice: name it under `key`")
    if mode == "changes":
        others = [shard for shard, found in table.by_shard.items() if key and set(found.primary_key) != set(key)]
        if others:
            table.problem(f"mode changes goes by the primary key, which is another on {', '.join(others)}")


def _refuse_cut_keys(table: FoundTable, key: tuple[str, ...]) -> None:
    """Two keys that differ in the seventh digit of a second would become one row (trap 8 cuts it)."""
    for name in key:
        kinds = [column.type for column in table.columns(name).values()]
        if any(str(kind) in CUT_TYPES for kind in kinds):
            table.problem(
                f"key column {name} is {kinds[0]}, of which Postgres keeps six digits: rows could fall together: "
                "choose another `key`, or mode replace"
            )


def check_settings(table: FoundTable) -> None:
    """What settings need of one another, and of the shards' servers."""
    if table.config.error_handling.on_shard_failure == "continue" and not table.entry.shard_column:
        table.problem("on_shard_failure: continue needs a shard_column to keep a failed shard's rows apart")
    if table.entry.validate_ == "checksums":
        old = [c.shard for c in table.catalogues if c.server.major_version < FIRST_WITH_UTF8]
        if old:
            table.problem(f"validate: checksums needs SQL Server 2019 or newer, {', '.join(old)} is older: use counts")


def check_order(table: FoundTable, names: Sequence[str]) -> None:
    """A place in the order is written in one type and collation: they must be those of every shard."""
    for name in dict.fromkeys(names):
        types = {shard: column.type for shard, column in table.columns(name).items()}
        alike = len({(str(kind), kind.collation) for kind in types.values()}) == 1
        if not alike and not table.problems and all(can_be_key(kind) for kind in types.values()):
            told = ", ".join(f"{shard} {kind} {kind.collation or ''}".strip() for shard, kind in types.items())
            table.problem(f"columns differ: {name} orders the rows and must be alike on all shards ({told})")


def check_names(table: FoundTable, columns: Sequence[ColumnPlan]) -> None:
    """No two columns of the target may have one name."""
    names = [fold(column.source, table.entry.names) for column in columns]
    shard_column = table.entry.shard_column
    if shard_column:
        folded = fold(shard_column, table.entry.names)
        if folded in names:
            table.problem(
                f"has a column {folded} of its own: give the shard's another name with `shard_column`, or null"
            )
        else:
            names.append(folded)
    own = [*(LINEAGE if table.entry.lineage else ()), *((DELETED_AT,) if table.entry.soft_delete else ())]
    for name in own:
        if name in names:
            table.problem(f"has a column {name} of its own, which `lineage` and `soft_delete` use: leave it out")
    for short, meeting in collisions(names):
        table.problem(
            f"columns {' and '.join(meeting)} are one name in Postgres ({short}): leave one out with `columns`, "
            "or use names: keep"
        )
